// ---------------------------------------------------------------- one pair, large, with file names and labels

const zoom = { action: null, query: 0, box: null, drawn: false };

/** Enlarge a query and a gallery box; without one the query's nearest. */
function openZoom(action, query, box = null) {
  Object.assign(zoom, { action, query, box, drawn: false });
  if (!$("zoom").open) $("zoom").showModal();
  load(actions.part[action]);
  drawZoom();
  remember();
}

function drawZoom() {
  const content = contentOf(zoom.action);
  if (!content) return;
  zoom.drawn = true;
  const order = ranked(content, zoom.query);
  zoom.box ??= order[0];
  const place = order.indexOf(zoom.box) + 1;
  $("zoom-before").disabled = place === 1;
  $("zoom-after").disabled = place === content.gallery;
  $("zoom-title").textContent = `Rank ${ranksText(content, zoom.query, zoom.box)} of ${content.gallery}`;
  const verdict = [`distance ${distance(content, zoom.query, zoom.box)}`];
  if (labels) {
    const match = isMatch(content, zoom.query, zoom.box);
    verdict.unshift(mark(match), ` ${verdictOf(match)}, `);
  }
  $("zoom-about").replaceChildren(...verdict);
  $("zoom-pair").replaceChildren(figure(content, zoom.query, "query"), figure(content, content.queries + zoom.box, "gallery"));
}

function figure(content, i, role) {
  const image = el("span", { class: "thumb", role: "img", "aria-label": `${role} ${content.bbox[i]}` });
  paint(image, content, i);
  const game = data.games[actions.game[zoom.action]];
  const facts = {
    action: actions.idx[zoom.action], class: readable(data.classes[content.class[i]]), id: data.jerseys[content.jersey[i]],
    person: content.uid[i], frame: content.frame[i], UAI: content.uai[i],
    size: `${content.height[i]} × ${content.width[i]} px`, championship: readable(game[0]), game: game[1],
    file: content.file[i],
  };
  const known = Object.entries(facts).filter(([, value]) => value !== null && value !== "");
  const lines = known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))));
  return el("figure", {}, image, el("figcaption", {}, el("b", {}, `${role} ${content.bbox[i]}`), el("dl", {}, ...lines)));
}

/** From rank to rank of the query. */
function otherRank(step) {
  const content = contentOf(zoom.action);
  if (!content) return;
  const order = ranked(content, zoom.query);
  const box = order[order.indexOf(zoom.box) + step];
  if (box !== undefined) openZoom(zoom.action, zoom.query, box);
}

function zoomKey(event) {
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") otherRank(event.key === "ArrowRight" ? 1 : -1);
  else if (event.key === "o") zoomToAction();
  else return;
  event.preventDefault();
}

function zoomToAction() {
  const { action, query, box } = zoom;
  $("zoom").close();
  openView(action, query, box);
}
