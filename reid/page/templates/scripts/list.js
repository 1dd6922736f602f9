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
  if (zoom.action !== null && !zoom.drawn) drawZoom();
  if (view.action !== null && !view.drawn) drawView();
}

/** Which places of a ranked gallery a row shows: [how many from the first on, the place of a late first match]. */
function places(query, { scores }) {
  const size = gallerySize(query);
  if (opened === query) return [size, null];
  const count = Math.min(size, boxesPerLine);
  const first = labels ? scores.firstMatchRank[query] : 0;
  if (first <= count) return [count, null];
  return [slack >= 22 ? boxesPerLine - 1 : Math.max(1, boxesPerLine - 2), first]; // the dots take 22 pixels
}
