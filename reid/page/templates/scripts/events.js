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
  if ($("zoom").open) zoomKey(event);
  else if ($("view").open) viewKey(event);
  else if (!event.target.matches("input, select")) listKey(event);
  else if (event.target === $("search") && ["Enter", "ArrowDown", "Escape"].includes(event.key)) {
    event.preventDefault();
    if (event.key === "Escape" && $("search").value) search("");
    else if (shown.length) moveTo(0);
    else $("search").blur();
  }
});

function fillChoices() {
  const option = (into, value, text, count) => $(into).append(el("option", { value }, `${text} (${count})`));
  const counted = (keys) => keys.reduce((counts, key) => counts.set(key, (counts.get(key) ?? 0) + 1), new Map());
  const ofClass = counted(queries.class);
  data.classes.forEach((name, i) => ofClass.has(i) && option("class", name, readable(name), ofClass.get(i)));
  const ofJersey = [...counted(queries.jersey)].map(([i, count]) => [data.jerseys[i], count]);
  ofJersey.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  ofJersey.forEach(([name, count]) => option("jersey", name, name, count));
  const leagues = counted(queries.action.map((action) => data.games[actions.game[action]][0]));
  [...leagues].sort().forEach(([name, count]) => option("league", name, readable(name), count));
  const games = counted(queries.action.map((action) => data.games[actions.game[action]][1]));
  [...games].sort().forEach(([name, count]) => option("game", name, name, count));
}

document.documentElement.classList.toggle("compared", compared);
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
  if ($("view").open) return; // again, for another action
  view.action = null;
  rows.get(current)?.element.focus({ preventScroll: true });
  remember();
});
$("zoom-close").addEventListener("click", () => $("zoom").close());
$("zoom-before").addEventListener("click", () => otherRank(-1));
$("zoom-after").addEventListener("click", () => otherRank(1));
$("zoom-action").addEventListener("click", zoomToAction);
$("zoom").addEventListener("close", () => {
  if ($("zoom").open) return; // again, for another pair
  zoom.action = null;
  if (!$("view").open) rows.get(current)?.element.focus({ preventScroll: true });
  remember();
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
addEventListener("hashchange", recall);

for (const [, field] of fields) usual.set(field, field.value);
recall();
performance.mark("first rows");
