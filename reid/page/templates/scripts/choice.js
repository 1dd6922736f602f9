// ---------------------------------------------------------------- which queries, in what order

let shown = []; // numbers of the queries that fit, sorted
let current = 0; // position in shown
let opened = null; // number of the query whose whole gallery is shown

const gameOf = (q) => data.games[actions.game[queries.action[q]]];
const numbers = (text) => (text === "" ? null : Number(text));
const ORDERS = {
  bbox: (q) => queries.bbox[q],
  action: (q) => actions.idx[queries.action[q]],
  size: gallerySize,
  ap: (q) => queries.ap[q],
  firstMatchRank: (q) => queries.firstMatchRank[q],
  gain: (q) => gain(q),
  moved: (q) => Math.abs(gain(q)),
};

/** How much better a query's AP is in B; 0 where rounding makes the difference. */
function gain(q) {
  const difference = queries.ap[q] - queries.before.ap[q];
  return Math.abs(difference) > 1e-9 ? difference : 0;
}

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
  if (!words) return described(text);
  const number = Number(words[2]);
  if (/^a/.test(words[1])) return (q) => actions.idx[queries.action[q]] === number;
  if (/^(g|box)/.test(words[1])) {
    const action = actionOfBox(number);
    return (q) => queries.action[q] === action;
  }
  return (q) => queries.bbox[q] === number;
}

const plain = (text) => (text ?? "").normalize("NFD").replace(/\p{M}/gu, "").replaceAll("_", " ").toLowerCase();

/** A function that says whether all words stand in a query's class, championship or game, and its jersey is the one. */
function described(text) {
  const jersey = /(?:^|\s)(?:jersey|id)\s+(\S+)/.exec(text);
  const words = plain(jersey ? text.replace(jersey[0], "") : text).split(/\s+/);
  const classes = data.classes.map(plain);
  const games = data.games.map((names) => names.map(plain).join(" "));
  return (q) => {
    const known = `${classes[queries.class[q]]} ${games[actions.game[queries.action[q]]]}`;
    const worn = !jersey || plain(data.jerseys[queries.jersey[q]]) === jersey[1];
    return worn && words.every((word) => known.includes(word));
  };
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
    const [rank1, clazz, jersey, league, game] = ["rank1", "class", "jersey", "league", "game"].map((id) => $(id).value);
    if (rank1) tests.push((q) => (queries.firstMatchRank[q] === 1) === (rank1 === "match"));
    if (clazz) tests.push((q) => data.classes[queries.class[q]] === clazz);
    if (jersey) tests.push((q) => data.jerseys[queries.jersey[q]] === jersey);
    if (league) tests.push((q) => gameOf(q)[0] === league);
    if (game) tests.push((q) => gameOf(q)[1] === game);
    const change = $("change")?.value;
    if (change) tests.push((q) => Math.sign(gain(q)) === { better: 1, same: 0, worse: -1 }[change]);
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
  remember();
}

function summarise() {
  const count = shown.length === queries.bbox.length ? "" : ` of ${queries.bbox.length.toLocaleString("en")}`;
  const text = [el("b", {}, shown.length.toLocaleString("en")), `${count} queries`];
  if (labels && shown.length) {
    const mean = (of) => RUNS.map(({ scores }) => (shown.reduce((sum, q) => sum + of(scores, q), 0) / shown.length).toFixed(3));
    const ap = mean((scores, q) => scores.ap[q]);
    const first = mean((scores, q) => (scores.firstMatchRank[q] === 1 ? 1 : 0));
    text.push(data.trainedOn ? " · of training data: mAP " : " · mAP ", el("b", {}, ap.join(" → ")));
    text.push(" · rank-1 ", el("b", {}, first.join(" → ")));
  }
  if (compared) {
    const count = (sign) => shown.filter((q) => Math.sign(gain(q)) === sign).length.toLocaleString("en");
    text.push(` · AP: ${count(1)} better in B, ${count(-1)} worse, ${count(0)} the same`);
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
