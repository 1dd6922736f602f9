"use strict";
// The list holds elements for the rows in view only; rankings and images of an action come with the script of its part
// (see reid/page/gallery.py). All text is set as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const { queries, actions, labels } = data;
const SPARE = 2; // rows kept above and below those in view
const KEPT = 24; // parts held in memory
const ROW_GAP = 10;

const $ = (id) => document.getElementById(id);
const gallerySize = (query) => actions.gallery[queries.action[query]].length;
const readable = (name) => (name === null ? "" : name.replaceAll("_", " "));

/** An element with attributes and children (elements or text). */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

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
  if (view.action !== null) used.add(actions.part[view.action]);
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
const ranked = (content, query) => content.order.slice(query * content.gallery, (query + 1) * content.gallery);

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

// ---------------------------------------------------------------- which queries, in what order

let shown = []; // numbers of the queries that fit, sorted
let current = 0; // position in shown
let opened = null; // number of the query whose whole gallery is shown

const numbers = (text) => (text === "" ? null : Number(text));
const ORDERS = {
  bbox: (q) => queries.bbox[q],
  action: (q) => actions.idx[queries.action[q]],
  size: gallerySize,
  ap: (q) => queries.ap[q],
  firstMatchRank: (q) => queries.firstMatchRank[q],
};

/** The action of a gallery box, or -1. */
function actionOfBox(bbox) {
  return actions.gallery.findIndex((steps) => {
    let value = 0;
    return steps.some((step) => (value += step) === bbox);
  });
}

/** A function that says whether a query is meant by the text of the search. */
function meant(text) {
  const words = /^(|query|bbox(?:_idx)?|action|a|gallery|box|g)\s*#?\s*(\d+)$/.exec(text);
  if (!words) {
    const games = data.games.map(([, game]) => game !== null && game.toLowerCase().includes(text));
    return (q) => games[actions.game[queries.action[q]]];
  }
  const number = Number(words[2]);
  if (/^a/.test(words[1])) return (q) => actions.idx[queries.action[q]] === number;
  if (/^(g|box)/.test(words[1])) {
    const action = actionOfBox(number);
    return (q) => queries.action[q] === action;
  }
  return (q) => queries.bbox[q] === number;
}

function choose() {
  const text = $("search").value.trim().toLowerCase();
  const tests = [];
  if (text) tests.push(meant(text));
  const low = numbers($("lowest").value);
  const high = numbers($("highest").value);
  if (low !== null) tests.push((q) => queries.height[q] >= low);
  if (high !== null) tests.push((q) => queries.height[q] <= high);
  if (labels) {
    const [rank1, clazz, league] = ["rank1", "class", "league"].map((id) => $(id).value);
    if (rank1) tests.push((q) => (queries.firstMatchRank[q] === 1) === (rank1 === "match"));
    if (clazz) tests.push((q) => queries.class[q] === Number(clazz));
    if (league) tests.push((q) => data.games[actions.game[queries.action[q]]][0] === league);
  }
  shown = queries.bbox.map((_, q) => q).filter((q) => tests.every((test) => test(q)));
  const order = $("sort").value;
  const key = ORDERS[order.replace("-", "")];
  const sign = order.startsWith("-") ? -1 : 1;
  shown.sort((a, b) => sign * (key(a) - key(b)) || a - b);
  current = 0;
  opened = null;
  scrollTo(0, Math.min(scrollY, list.offsetTop - $("tools").offsetHeight)); // the tools stay in view above the list
  loadedAt = scrollY;
  summarise();
  explainNothing(text);
  redraw();
}

function summarise() {
  const count = shown.length === queries.bbox.length ? "" : ` of ${queries.bbox.length.toLocaleString("en")}`;
  const text = [el("b", {}, shown.length.toLocaleString("en")), `${count} queries`];
  if (labels && shown.length) {
    const ap = shown.reduce((sum, q) => sum + queries.ap[q], 0) / shown.length;
    const first = shown.filter((q) => queries.firstMatchRank[q] === 1).length / shown.length;
    text.push(data.trainedOn ? " · of training data: mAP " : " · mAP ", el("b", {}, ap.toFixed(3)));
    text.push(" · rank-1 ", el("b", {}, first.toFixed(3)));
  }
  $("summary").replaceChildren(...text);
}

function explainNothing(text) {
  $("nothing").hidden = shown.length > 0;
  const number = /^\d+$/.test(text) ? Number(text) : null;
  const isBox = number !== null && !queries.bbox.includes(number) && actionOfBox(number) >= 0;
  const button = (label, act) => el("button", { type: "button", onclick: act }, label);
  $("nothing-hint").replaceChildren(
    ...(isBox
      ? [
          `${number} is a gallery box, not a query. `,
          button(`Queries that meet gallery ${number}`, () => search(`gallery ${number}`)),
        ]
      : [button("Show all queries", startOver)]),
  );
}

function startOver() {
  $("tools").reset();
  choose();
}

function search(text) {
  $("search").value = text;
  choose();
}

// ---------------------------------------------------------------- the list

const list = $("list");
const rows = new Map(); // position to {element, query, fill}: those in view and a few more
let rowHeight = 0;
let extra = 0; // what the opened row is higher than others
let boxesPerLine = 1;
let slack = 0; // pixels of a line beside its boxes
let loadTimer = 0;
let loadedAt = 0; // where the page was scrolled to when parts were last asked for

const openedAt = () => (opened === null ? Infinity : shown.indexOf(opened));
const topOf = (position) => position * rowHeight + (position > openedAt() ? extra : 0);

function positionAt(y) {
  const at = openedAt();
  const below = y > (at + 1) * rowHeight + extra;
  const position = below ? Math.floor((y - extra) / rowHeight) : Math.min(at, Math.floor(y / rowHeight));
  return Math.max(0, Math.min(shown.length - 1, position));
}

/** First and last position in view. */
function inView() {
  const above = list.getBoundingClientRect().top;
  return [positionAt($("tools").getBoundingClientRect().bottom - above), positionAt(innerHeight - above)];
}

/** Draw all rows again: after a change of order or size. */
function redraw() {
  const style = getComputedStyle(document.documentElement);
  rowHeight = parseFloat(style.getPropertyValue("--row"));
  const gap = parseFloat(style.getPropertyValue("--gap"));
  rows.forEach((row) => row.element.remove());
  rows.clear();
  if (shown.length) {
    const probe = makeRow(0);
    list.append(probe.element);
    const width = probe.element.querySelector(".thumb").getBoundingClientRect().width;
    const line = probe.element.querySelector(".strip").clientWidth - 8; // its padding
    boxesPerLine = Math.max(2, Math.floor((line + gap) / (width + gap)));
    slack = line - boxesPerLine * (width + gap) + gap;
    probe.element.remove();
  }
  draw();
}

function draw() {
  if (!shown.length) {
    list.style.height = 0;
    return;
  }
  if (opened !== null && !rows.has(openedAt())) measureOpened();
  list.style.height = `${shown.length * rowHeight - ROW_GAP + (opened === null ? 0 : extra)}px`;
  const [first, last] = inView();
  const from = Math.max(0, first - SPARE);
  const to = Math.min(shown.length - 1, last + SPARE);
  for (const [position, row] of rows) {
    if ((position < from || position > to) && !row.element.contains(document.activeElement)) {
      row.element.remove();
      rows.delete(position);
    }
  }
  for (let position = from; position <= to; position++) {
    if (rows.has(position)) continue;
    const row = makeRow(position);
    rows.set(position, row);
    const next = [...rows.keys()].filter((other) => other > position).sort((a, b) => a - b)[0];
    list.insertBefore(row.element, next === undefined ? null : rows.get(next).element);
    row.fill();
  }
  loadInView();
}

function measureOpened() {
  const probe = makeRow(openedAt());
  list.append(probe.element);
  extra = probe.element.offsetHeight + ROW_GAP - rowHeight;
  probe.element.remove();
}

/** Ask for the parts of the rows in view, but not while the page flies past them. */
function loadInView() {
  if (loadTimer) return;
  const flies = Math.abs(scrollY - loadedAt) > innerHeight / 2;
  loadedAt = scrollY;
  if (!flies) {
    const [first, last] = inView();
    for (const query of shown.slice(first, last + 1)) load(actions.part[queries.action[query]]);
  }
  loadTimer = setTimeout(() => {
    loadTimer = 0;
    if (flies || scrollY !== loadedAt) loadInView();
  }, 80);
}

/** Fill what has waited for a part. */
function fill() {
  rows.forEach((row) => row.fill());
  if (view.action !== null && !view.drawn) drawView();
}

/** Which places of the ranked gallery a row shows: [how many from the first on, the place of a late first match]. */
function places(query) {
  const size = gallerySize(query);
  if (opened === query) return [size, null];
  const count = Math.min(size, boxesPerLine);
  const first = labels ? queries.firstMatchRank[query] : 0;
  if (first <= count) return [count, null];
  return [slack >= 22 ? boxesPerLine - 1 : Math.max(1, boxesPerLine - 2), first]; // the dots take 22 pixels
}

function makeRow(position) {
  const query = shown[position];
  const action = queries.action[query];
  const size = gallerySize(query);
  const [count, late] = places(query);
  const image = el("span", { class: "thumb", role: "img", "aria-label": `query ${queries.bbox[query]}` });
  const boxes = [];
  const box = (place) => {
    const made = el("button", { class: "box", type: "button", tabindex: -1 }, el("span", { class: "thumb" }));
    made.append(el("span", { class: "place" }, el("b", {}, String(place)), el("span", {})));
    boxes.push([made, place - 1]);
    return el("li", {}, made);
  };
  const strip = el("ol", { class: "strip", "aria-label": "gallery, nearest first" });
  for (let place = 1; place <= count; place++) strip.append(box(place));
  if (late !== null) strip.append(el("li", { class: "gap", "aria-hidden": "true" }, "…"), box(late));
  const element = el(
    "div",
    {
      class: "row",
      role: "listitem",
      tabindex: position === current ? 0 : -1,
      "aria-posinset": position + 1,
      "aria-setsize": shown.length,
      "data-bbox": queries.bbox[query],
    },
    image,
    about(query, action, size, count),
    strip,
  );
  element.classList.toggle("current", position === current);
  element.classList.toggle("open", opened === query);
  element.style.transform = `translateY(${topOf(position)}px)`;
  element.addEventListener("pointerdown", () => setCurrent(position));
  element.addEventListener("focus", () => setCurrent(position));

  let waits = true;
  const fillRow = () => {
    const content = waits && contentOf(action);
    if (!content) return;
    waits = false;
    const place = queries.place[query];
    const order = ranked(content, place);
    paint(image, content, place);
    for (const [made, i] of boxes) fillBox(made, content, action, place, order[i], i + 1);
    if (!performance.getEntriesByName("first images").length) performance.mark("first images");
  };
  return { element, query, fill: fillRow };
}

function about(query, action, size, count) {
  const lines = [];
  if (labels) {
    const first = queries.firstMatchRank[query];
    const who = person(queries.class[query], queries.jersey[query]).join(", ");
    lines.push(el("span", { class: "ap" }, queries.ap[query].toFixed(3), el("small", {}, " AP")));
    lines.push(el("span", { title: who }, who));
    lines.push(el("span", { class: "quiet" }, `query ${queries.bbox[query]}, action ${actions.idx[action]}`));
    lines.push(el("span", { class: first > 1 ? "late" : "quiet" }, `first match: rank ${first} of ${size}`));
  } else {
    lines.push(el("span", { class: "ap" }, String(queries.bbox[query]), el("small", {}, " query")));
    lines.push(el("span", { class: "quiet" }, `action ${actions.idx[action]}`));
    lines.push(el("span", { class: "quiet" }, `${size} gallery ${size === 1 ? "box" : "boxes"}`));
  }
  const label = opened === query ? "Less" : `All ${size}`;
  const all = el("button", { type: "button", class: "all", onclick: () => toggle(query),
    "aria-expanded": String(opened === query), "aria-label": `${label} of the gallery` }, label);
  const whole = el("button", { type: "button", class: "whole", "aria-haspopup": "dialog",
    onclick: () => openView(action, queries.place[query]) }, "Action");
  const buttons = el("div", { class: "actions" }, whole, count < size || opened === query ? all : null);
  return el("div", { class: "about" }, ...lines, buttons);
}

function fillBox(made, content, action, query, box, place) {
  const i = content.queries + box;
  const far = distance(content, query, box);
  paint(made.querySelector(".thumb"), content, i);
  made.querySelector(".place span").textContent = short(content, far);
  let verdict = "";
  if (labels) {
    const match = isMatch(content, query, box);
    verdict = ` ${verdictOf(match)},`;
    made.classList.add(kind(match));
    made.append(mark(match));
  }
  const text = `rank ${place}:${verdict} gallery ${content.bbox[i]}, distance ${far}, ${describe(content, i)}`;
  made.setAttribute("aria-label", text);
  made.title = text;
  made.addEventListener("click", () => openView(action, query, box));
}

/** Show all of a query's gallery, or its beginning again. */
function toggle(query) {
  const hadFocus = document.activeElement.classList.contains("all");
  opened = opened === query ? null : query;
  if (opened !== null) measureOpened();
  current = shown.indexOf(query);
  redraw();
  show(current);
  const row = rows.get(current).element;
  (hadFocus ? row.querySelector(".all") : row).focus({ preventScroll: true });
}

function setCurrent(position) {
  if (position === current) return;
  const before = rows.get(current);
  current = position;
  for (const row of [before, rows.get(current)]) {
    const on = row === rows.get(current);
    row?.element.classList.toggle("current", on);
    row?.element.setAttribute("tabindex", on ? 0 : -1);
  }
}

/** Scroll as little as needed to have a row in view, below the tools. */
function show(position) {
  const above = $("tools").offsetHeight + 8;
  const top = list.offsetTop + topOf(position);
  const bottom = top + rowHeight + (position === openedAt() ? extra : 0);
  if (top - above < scrollY || bottom - top > innerHeight - above) scrollTo(0, Math.max(0, top - above));
  else if (bottom > scrollY + innerHeight) scrollTo(0, bottom - innerHeight);
  draw();
}

function moveTo(position) {
  if (!shown.length) return;
  setCurrent(Math.max(0, Math.min(shown.length - 1, position)));
  show(current);
  rows.get(current).element.focus({ preventScroll: true });
}

function move(step) {
  const [first, last] = inView();
  const away = current < first || current > last;
  moveTo(away ? (step > 0 ? first : last) : current + step);
}

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
  const rank = ranked(content, query).indexOf(box) + 1;
  const [left, right] = [query, content.queries + box].map((i) => {
    const made = el("span", { class: "thumb" });
    paint(made, content, i);
    return made;
  });
  const far = distance(content, query, box);
  const match = labels ? isMatch(content, query, box) : null;
  const first = el("strong", {}, `Rank ${rank} of ${content.gallery}, distance ${short(content, far)}`);
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
  cell.focus({ preventScroll: true });
  reveal(cell);
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

// ---------------------------------------------------------------- keys and events

function listKey(event) {
  const query = shown[current];
  const acts = {
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    Home: () => moveTo(0), End: () => moveTo(shown.length - 1),
    "/": () => { $("search").focus(); $("search").select(); },
    "?": () => $("help").showModal(),
  };
  if (query !== undefined) {
    acts.o = acts.Enter = () => openView(queries.action[query], queries.place[query]);
    acts.a = () => toggle(query);
    acts.Escape = () => opened !== null && toggle(opened);
  }
  if (!(event.key in acts) || (event.key === "Enter" && event.target.closest("button, summary"))) return;
  event.preventDefault();
  acts[event.key]();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if ($("view").open) viewKey(event);
  else if (!event.target.matches("input, select")) listKey(event);
  else if (event.target === $("search") && ["Enter", "ArrowDown", "Escape"].includes(event.key)) {
    event.preventDefault();
    if (event.key === "Escape" && $("search").value) search("");
    else if (shown.length) moveTo(0);
    else $("search").blur();
  }
});

function fillChoices() {
  const option = (select, value, text, count) => $(select).append(el("option", { value }, `${text} (${count})`));
  const counted = (keys) => keys.reduce((counts, key) => counts.set(key, (counts.get(key) ?? 0) + 1), new Map());
  const ofClass = counted(queries.class);
  data.classes.forEach((name, i) => ofClass.has(i) && option("class", i, readable(name), ofClass.get(i)));
  const leagues = counted(queries.action.map((action) => data.games[actions.game[action]][0]));
  [...leagues].sort().forEach(([name, count]) => option("league", name, readable(name), count));
}

document.documentElement.style.setProperty("--aspect", data.tile[1] / data.tile[0]);
if (labels) fillChoices();
const heights = queries.height.reduce(([low, high], h) => [Math.min(low, h), Math.max(high, h)], [Infinity, 0]);
[$("lowest").placeholder, $("highest").placeholder] = heights.map(String);

$("tools").addEventListener("input", choose);
$("tools").addEventListener("submit", (event) => event.preventDefault());
$("again").addEventListener("click", startOver);
$("filters-open").addEventListener("click", () => {
  const open = $("tools").classList.toggle("open");
  $("filters-open").setAttribute("aria-expanded", String(open));
});
$("help-open").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("view-close").addEventListener("click", () => $("view").close());
$("view-before").addEventListener("click", () => otherAction(-1));
$("view-after").addEventListener("click", () => otherAction(1));
$("view").addEventListener("close", () => {
  view.action = null;
  rows.get(current)?.element.focus({ preventScroll: true });
});
$("matrix").addEventListener("click", (event) => {
  const cell = event.target.closest("td");
  if (cell) select(Number(cell.dataset.query), Number(cell.dataset.box));
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const { clientX: x, clientY: y } = event; // a key press on a button has no place: 0, 0
    if (event.target === dialog && (x || y) && (x < left || x > right || y < top || y > bottom)) dialog.close();
  });
}
let frame = 0;
addEventListener("scroll", () => (frame ||= requestAnimationFrame(() => { frame = 0; draw(); })), { passive: true });
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return draw(); // a phone's address bar comes and goes
  width = innerWidth;
  if (opened !== null) measureOpened();
  redraw();
});
addEventListener("hashchange", () => search(decodeURIComponent(location.hash.slice(1))));

search(decodeURIComponent(location.hash.slice(1)));
performance.mark("first rows");
