"use strict";
// The list holds elements for the rows in view only; rankings and images of an action come with the script of its part
// (see reid/page/gallery.py). All text is set as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const { queries, actions, labels } = data;
const SPARE = 2; // rows kept above and below those in view
const KEPT = 24; // parts held in memory
const ROW_GAP = 10;

const compared = data.runs.length > 0; // two runs, A and B: the queries and the content of the parts have A's as "before"
const RUNS = compared
  ? [{ name: "A", title: data.runs[0], scores: queries.before, key: "before" },
     { name: "B", title: data.runs[1], scores: queries, key: "order" }]
  : [{ name: "", title: "", scores: queries, key: "order" }];

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
