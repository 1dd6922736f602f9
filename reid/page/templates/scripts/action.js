// ---------------------------------------------------------------- a whole action

const view = { action: null, query: 0, box: null, columns: [], drawn: false };

/** Open an action at a query and a gallery box; without one at the query's nearest. */
function openView(action, query, box = null) {
  Object.assign(view, { action, query, box, drawn: false });
  const game = data.games[actions.game[action]];
  $("view-title").textContent = `Action ${actions.idx[action]}`;
  const size = actions.gallery[action].length;
  const asked = queries.action.filter((other) => other === action).length;
  const count = `${asked} ${asked === 1 ? "query" : "queries"} × ${size} gallery ${size === 1 ? "box" : "boxes"}`;
  $("view-about").textContent = labels ? `${count} · ${readable(game[0])} · ${game[1]}` : count;
  $("view-before").disabled = action === 0;
  $("view-after").disabled = action === actions.idx.length - 1;
  $("matrix").replaceChildren();
  $("pair").replaceChildren("…");
  if (!$("view").open) $("view").showModal();
  load(actions.part[action]);
  drawView();
  remember();
}

function drawView() {
  const content = contentOf(view.action);
  if (!content) return;
  view.drawn = true;
  const { nearest, farthest } = content;
  $("nearest").textContent = short(content, nearest);
  $("farthest").textContent = short(content, farthest);
  // columns in the order of the queries they belong to, so that matches lie along the diagonal; those of no query last
  const owner = (box) => {
    const query = content.person ? content.person.indexOf(content.person[content.queries + box]) : 0;
    return query < content.queries ? query : Infinity;
  };
  view.columns = Array.from({ length: content.gallery }, (_, box) => box);
  view.columns.sort((a, b) => (owner(a) === owner(b) ? a - b : owner(a) - owner(b)));

  const thumb = (i) => {
    const made = el("span", { class: "thumb" });
    paint(made, content, i);
    return made;
  };
  const head = el("tr", {}, el("th", { scope: "col" }, "query ↓ gallery →"));
  for (const box of view.columns) {
    const i = content.queries + box;
    const title = describe(content, i);
    head.append(el("th", { scope: "col", "data-box": box, title }, thumb(i), String(content.bbox[i])));
  }
  const body = el("tbody");
  for (let query = 0; query < content.queries; query++) {
    const rank = [];
    ranked(content, query).forEach((box, place) => (rank[box] = place + 1));
    const name = el("div", {}, thumb(query), el("span", {}, String(content.bbox[query])));
    const line = el("tr", {}, el("th", { scope: "row", "data-query": query, title: describe(content, query) }, name));
    for (const box of view.columns) {
      const near = farthest > nearest ? (farthest - distance(content, query, box)) / (farthest - nearest) : 1;
      const name = pairText(content, query, box, rank[box]);
      const cell = el("td", { tabindex: -1, "data-query": query, "data-box": box, "aria-label": name }, String(rank[box]));
      cell.style.setProperty("--nearness", near.toFixed(3));
      // black and white meet at the same contrast (4.5) at these shares, on light pages and on dark ones
      cell.classList.toggle("dark", near > 0.66);
      cell.classList.toggle("middle", near > 0.52);
      cell.classList.toggle("match", labels && isMatch(content, query, box));
      line.append(cell);
    }
    body.append(line);
  }
  const table = el("table", { role: "grid", "aria-labelledby": "view-title" }, el("thead", {}, head), body);
  $("matrix").replaceChildren(table);
  select(view.query, view.box ?? ranked(content, view.query)[0]);
}

function pairText(content, query, box, rank) {
  const verdict = labels ? `, ${verdictOf(isMatch(content, query, box))}` : "";
  const pair = `query ${content.bbox[query]}, gallery ${content.bbox[content.queries + box]}`;
  return `${pair}: rank ${rank}, distance ${distance(content, query, box)}${verdict}`;
}

/** Choose a pair of the action: its cell gets the focus, its images are shown large. */
function select(query, box) {
  const content = contentOf(view.action);
  Object.assign(view, { query, box });
  const [left, right] = [query, content.queries + box].map((i) => {
    const made = el("span", { class: "thumb" });
    paint(made, content, i);
    return el("button", { class: "ask", type: "button", "aria-label": `${content.bbox[i]}, enlarge`,
      onclick: () => openZoom(view.action, query, box) }, made);
  });
  const far = distance(content, query, box);
  const match = labels ? isMatch(content, query, box) : null;
  const first = el("strong", {}, `Rank ${ranksText(content, query, box)} of ${content.gallery}, distance ${short(content, far)}`);
  if (match !== null) first.append(el("span", {}, mark(match), ` ${verdictOf(match)}`));
  $("pair").replaceChildren(
    left, right,
    el("div", {}, first,
      el("div", {}, `query ${content.bbox[query]}: ${describe(content, query)}`),
      el("div", {}, `gallery ${content.bbox[content.queries + box]}: ${describe(content, content.queries + box)}`)),
  );
  $("matrix").querySelectorAll(".current").forEach((head) => head.classList.remove("current"));
  $("matrix").querySelector(`th[data-query="${query}"]`).classList.add("current");
  $("matrix").querySelector(`th[data-box="${box}"]`).classList.add("current");
  const cell = $("matrix").querySelector(`td[data-query="${query}"][data-box="${box}"]`);
  if (!$("zoom").open) cell.focus({ preventScroll: true });
  reveal(cell);
  remember();
}

/** Scroll the matrix so that a cell is not below the headings, which stay in place. */
function reveal(cell) {
  const frame = $("matrix");
  const corner = frame.querySelector("th");
  const [top, left] = [cell.offsetTop - corner.offsetHeight, cell.offsetLeft - corner.offsetWidth];
  const within = (low, high, now) => Math.min(low, Math.max(high, now));
  frame.scrollTop = within(top, cell.offsetTop + cell.offsetHeight - frame.clientHeight, frame.scrollTop);
  frame.scrollLeft = within(left, cell.offsetLeft + cell.offsetWidth - frame.clientWidth, frame.scrollLeft);
}

function otherAction(step) {
  const action = view.action + step;
  if (action >= 0 && action < actions.idx.length) openView(action, 0);
}

function viewKey(event) {
  const content = contentOf(view.action);
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (event.key === "n" || event.key === "p") otherAction(event.key === "n" ? 1 : -1);
  else if (step && content) {
    const query = view.query + step[0];
    const column = view.columns.indexOf(view.box) + step[1];
    const inside = query >= 0 && query < content.queries && column >= 0 && column < content.gallery;
    if (inside) select(query, view.columns[column]);
  } else return;
  event.preventDefault();
}
