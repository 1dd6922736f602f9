// ---------------------------------------------------------------- parts: loaded when in view, the oldest let go

const parts = new Map(); // number of the part to its actions, the one used longest ago first
const underWay = new Set();

/** What a part's script calls. */
function part(number, content) {
  underWay.delete(number);
  parts.set(number, content);
  for (const [old, held] of parts) {
    if (parts.size <= KEPT) break;
    if (inUse().has(old)) continue;
    Object.values(held).forEach((action) => action.url && URL.revokeObjectURL(action.url));
    parts.delete(old);
  }
  fill();
}

function inUse() {
  const used = new Set([...rows.values()].map((row) => actions.part[queries.action[row.query]]));
  for (const pair of [view, zoom]) if (pair.action !== null) used.add(actions.part[pair.action]);
  return used;
}

function load(number) {
  if (parts.has(number) || underWay.has(number)) return;
  underWay.add(number);
  const name = data.parts[number];
  const script = el("script", { src: `${encodeURIComponent(data.folder)}/${name}` });
  script.onload = () => script.remove();
  script.onerror = () => {
    script.remove();
    underWay.delete(number);
    if (!$("problem")) {
      const folder = data.folder;
      const text = `${folder}/${name} cannot be read. Keep the folder ${folder} beside this page: it holds the images.`;
      document.body.append(el("p", { id: "problem", role: "alert" }, text));
    }
  };
  document.head.append(script);
}

/** Rankings and images of an action, or undefined while its part is not there. */
function contentOf(action) {
  const number = actions.part[action];
  const held = parts.get(number);
  if (!held) return undefined;
  parts.delete(number); // to the end of the line
  parts.set(number, held);
  const content = held[action];
  if (!content.url) {
    const bytes = Uint8Array.from(atob(content.sprite), (c) => c.charCodeAt(0));
    content.url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    content.sprite = null;
    content.gallery = actions.gallery[action].length;
    content.queries = content.bbox.length - content.gallery;
    content.nearest = Math.min(...content.distance);
    content.farthest = Math.max(...content.distance);
  }
  return content;
}

/** Show thumbnail i of an action (its queries, then its gallery) in an element. */
function paint(thumb, content, i) {
  const columns = content.columns;
  const lines = Math.ceil(content.bbox.length / columns);
  const share = (position, count) => (count > 1 ? (100 * position) / (count - 1) : 0);
  thumb.style.backgroundImage = `url("${content.url}")`;
  thumb.style.backgroundSize = `${100 * columns}% ${100 * lines}%`;
  thumb.style.backgroundPosition = `${share(i % columns, columns)}% ${share(Math.floor(i / columns), lines)}%`;
}

/** A distance with as many decimals as distinguish the boxes of its action. */
function short(content, far) {
  const digits = 3 - Math.trunc(Math.log10(content.farthest || 1));
  return far.toFixed(Math.max(0, Math.min(4, digits)));
}

const isMatch = (content, query, box) => content.person[query] === content.person[content.queries + box];
const distance = (content, query, box) => content.distance[query * content.gallery + box];
const ranked = (content, query, key = "order") => content[key].slice(query * content.gallery, (query + 1) * content.gallery);

/** The rank of a box, of both runs where two are compared. */
function ranksText(content, query, box) {
  const of = (run) => ranked(content, query, run.key).indexOf(box) + 1;
  return compared ? `A ${of(RUNS[0])}, B ${of(RUNS[1])}` : String(of(RUNS[0]));
}

function describe(content, i) {
  const size = `${content.height[i]} × ${content.width[i]} px`;
  return [...person(content.class[i], content.jersey[i]), size].join(", ");
}

/** Class and jersey in words, as far as they are known. */
function person(clazz, jersey) {
  const name = data.jerseys[jersey];
  const known = name !== null && name !== "None";
  const id = known && (/^\d+$/.test(name) ? `jersey ${name}` : `id ${name}`);
  return [readable(data.classes[clazz]), id].filter(Boolean);
}

/** What a pair is, in words; as a class of elements see kind(). */
const verdictOf = (match) => (match ? "match" : "no match");
const kind = (match) => (match ? "match" : "no-match");

function mark(match) {
  return el("span", { class: `mark ${kind(match)}`, "aria-hidden": "true" }, match ? "✓" : "✕");
}
