// ---------------------------------------------------------------- the address: a link to it shows others the same

// name in the address: id of the field
const FIELDS = {
  q: "search", sort: "sort", change: "change", rank1: "rank1", class: "class", jersey: "jersey", league: "league",
  game: "game", from: "lowest", to: "highest",
};
const fields = Object.entries(FIELDS).map(([name, id]) => [name, $(id)]).filter(([, field]) => field);
const usual = new Map(); // field to its value in an address that does not name it
let rememberTimer = 0;

/** Put into the address what is shown; a little later, for browsers refuse many changes at once. */
function remember() {
  clearTimeout(rememberTimer);
  rememberTimer = setTimeout(() => {
    const told = new URLSearchParams();
    for (const [name, field] of fields) if (field.value !== usual.get(field)) told.set(name, field.value);
    const query = shown[current];
    if (query !== undefined && (current > 0 || opened !== null)) told.set("query", queries.bbox[query]);
    if (opened !== null) told.set("opened", queries.bbox[opened]);
    const pair = $("zoom").open ? zoom : view;
    if (pair.action !== null) {
      told.set(pair === zoom ? "zoom" : "action", actions.idx[pair.action]);
      // without a box, while its part is under way, it is the query's nearest: there too
      told.set("at", pair.box === null ? pair.query : `${pair.query},${pair.box}`);
    }
    history.replaceState(null, "", told.size ? `#${told}` : location.href.split("#")[0]);
  }, 150);
}

/** Show what the address says. Without a name, as in #4711, it is a search. */
function recall() {
  const text = location.hash.slice(1);
  const told = new URLSearchParams(text.includes("=") ? text : `q=${text}`);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const [name, field] of fields) {
    field.value = told.get(name) ?? usual.get(field);
    if (field.selectedIndex === -1) field.value = usual.get(field); // a choice that this page does not have
  }
  choose();
  const position = (bbox) => shown.indexOf(queries.bbox.indexOf(Number(bbox ?? NaN)));
  const query = position(told.get("query"));
  const whole = position(told.get(told.get("all") ? "query" : "opened")); // all: so said older pages
  if (whole >= 0) toggle(shown[whole]);
  if (query >= 0) moveTo(query);
  const action = actions.idx.indexOf(Number(told.get("zoom") ?? told.get("action") ?? NaN));
  if (action < 0) return;
  const asked = queries.action.filter((other) => other === action).length;
  const [place, box] = (told.get("at") ?? "").split(",").map(Number);
  const fits = place >= 0 && place < asked && (box === undefined || (box >= 0 && box < actions.gallery[action].length));
  (told.has("zoom") ? openZoom : openView)(action, fits ? place : 0, fits ? (box ?? null) : null);
}
