function makeRow(position) {
  const query = shown[position];
  const action = queries.action[query];
  const size = gallerySize(query);
  const image = el("span", { class: "thumb" });
  const ask = el("button", { class: "ask", type: "button", tabindex: -1, "aria-label": `query ${queries.bbox[query]}, enlarge`,
    onclick: () => openZoom(action, queries.place[query]) }, image);
  const strips = RUNS.map((run) => makeStrip(query, run));
  const whole = strips.every(({ boxes }) => boxes.length === size);
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
    ask,
    about(query, action, size, whole),
    el("div", { class: "strips" }, ...strips.map(({ element }) => element)),
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
    const ranks = RUNS.map(({ key }) => ranked(content, place, key));
    paint(image, content, place);
    strips.forEach(({ boxes }, run) => {
      const other = ranks[1 - run]; // of the other run
      for (const [made, i] of boxes) {
        const box = ranks[run][i];
        fillBox(made, content, action, place, box, i + 1);
        if (other) fillMove(made, run, i + 1, other.indexOf(box) + 1);
      }
    });
    if (!performance.getEntriesByName("first images").length) performance.mark("first images");
  };
  return { element, query, fill: fillRow };
}

/** The ranked gallery of a query in one run, its boxes still empty: {element, boxes: [element, position in the order]}. */
function makeStrip(query, run) {
  const [count, late] = places(query, run);
  const boxes = [];
  const box = (place) => {
    const made = el("button", { class: "box", type: "button", tabindex: -1 }, el("span", { class: "thumb" }));
    made.append(el("span", { class: "place" }, el("b", {}, String(place)), el("span", {})));
    boxes.push([made, place - 1]);
    return el("li", {}, made);
  };
  const name = compared ? `gallery in ${run.name}, nearest first` : "gallery, nearest first";
  const strip = el("ol", { class: "strip", "aria-label": name });
  for (let place = 1; place <= count; place++) strip.append(box(place));
  if (late !== null) strip.append(el("li", { class: "gap", "aria-hidden": "true" }, "…"), box(late));
  const head = compared ? el("span", { class: "run", title: run.title, "aria-hidden": "true" }, run.name) : null;
  return { element: el("div", { class: "ranking" }, head, strip), boxes };
}

/** What both runs say of a box: where it stands in the other one, and in B whether that is better. */
function fillMove(made, run, place, other) {
  const before = run === 0 ? place : other;
  const after = run === 0 ? other : place;
  const moved = Math.sign(before - after); // 1: nearer in B
  const arrow = ["▼", "=", "▲"][moved + 1];
  made.querySelector(".place span").textContent = moved === 0 ? arrow : run === 0 ? `→${after}` : `${arrow}${before}`;
  made.classList.toggle("moved", moved !== 0);
  if (moved !== 0 && made.classList.contains("match")) made.classList.add(moved > 0 ? "better" : "worse");
  made.title = `${made.title}, rank ${before} in A and ${after} in B`;
  made.setAttribute("aria-label", made.title);
}

function about(query, action, size, whole) {
  const lines = [];
  if (labels) {
    const first = queries.firstMatchRank[query];
    const firsts = RUNS.map(({ scores }) => scores.firstMatchRank[query]);
    const who = person(queries.class[query], queries.jersey[query]).join(", ");
    lines.push(...apLines(query));
    lines.push(el("span", { title: who }, who));
    lines.push(el("span", { class: "quiet" }, `query ${queries.bbox[query]}, action ${actions.idx[action]}`));
    lines.push(el("span", { class: first > 1 ? "late" : "quiet" }, `first match: ${compared ? firsts.join(" → ") : `rank ${first}`} of ${size}`));
  } else {
    lines.push(el("span", { class: "ap" }, String(queries.bbox[query]), el("small", {}, " query")));
    lines.push(el("span", { class: "quiet" }, `action ${actions.idx[action]}`));
    lines.push(el("span", { class: "quiet" }, `${size} gallery ${size === 1 ? "box" : "boxes"}`));
  }
  const label = opened === query ? "Less" : `All ${size}`;
  const all = el("button", { type: "button", class: "all", onclick: () => toggle(query),
    "aria-expanded": String(opened === query), "aria-label": `${label} of the gallery` }, label);
  const matrix = el("button", { type: "button", class: "whole", "aria-haspopup": "dialog",
    onclick: () => openView(action, queries.place[query]) }, "Action");
  const buttons = el("div", { class: "actions" }, matrix, !whole || opened === query ? all : null);
  return el("div", { class: "about" }, ...lines, buttons);
}

/** The AP of a query; of both runs, and their difference in a line of its own. */
function apLines(query) {
  const values = RUNS.map(({ scores }) => scores.ap[query].toFixed(3));
  const line = el("span", { class: "ap" }, values.join(" → "), el("small", {}, " AP"));
  if (!compared) return [line];
  const more = gain(query);
  const text = more === 0 ? "= the same AP" : `${more > 0 ? "▲ +" : "▼ −"}${Math.abs(more).toFixed(3)} in B`;
  return [line, el("span", { class: more > 0 ? "gained" : more < 0 ? "late" : "quiet" }, text)];
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
  made.addEventListener("click", () => openZoom(action, query, box));
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
  remember();
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
  remember();
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
