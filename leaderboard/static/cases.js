"use strict";
// The cases of a result: search and paging. Everything is put in as text.

const SIZE = 10;
const form = document.getElementById("find");
const list = document.getElementById("cases");
const pager = document.getElementById("pager");
const RTL = new Set(list.dataset.rtl.split(" "));
const HEADS = ["Property", "In", "Question", "Reference", "Before", "After", "F1", "EM"];
let cases = [];
let found = [];
let page = 0;

function make(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function direction(language) {
  return RTL.has(language.split("-")[0].toLowerCase()) ? "rtl" : "auto";
}

function article(item) {
  const made = make("article", undefined, "case");
  const edit = make("p", `${item.edit[0]} → `, "edit");
  edit.lang = item.language;
  edit.dir = direction(item.language);
  edit.append(make("strong", item.edit[2]));
  const table = make("table");
  const head = table.createTHead().insertRow();
  HEADS.forEach((name, i) => {
    const cell = make("th", name, i > 5 ? "number" : "");
    cell.scope = "col";
    head.append(cell);
  });
  const body = table.createTBody();
  for (const probe of item.probes) {
    const row = body.insertRow();
    probe.forEach((value, i) => {
      const cell = make("td", i < 6 ? value : value === null ? "–" : value.toFixed(1), i > 5 ? "number" : "");
      if (i > 1 && i < 6) {
        cell.lang = probe[1];
        cell.dir = direction(probe[1]);
      }
      row.append(cell);
    });
  }
  const title = make("h3", "Case ");
  title.append(make("bdi", item.id));
  made.append(title, edit, table);
  return made;
}

const WHERE = {
  failed: (item, probe) => probe[0] === "reliability" && probe[7] !== null && probe[7] < 100,
  elsewhere: (item, probe) => probe[0] === "generality" && probe[1] !== item.language && probe[7] === 100,
  changed: (item, probe) => probe[0] === "locality" && probe[4] !== probe[5],
};

function fits(item, text, where) {
  return (!text || item.text.includes(text)) && (!where || item.probes.some((probe) => WHERE[where](item, probe)));
}

// The state is in the address, so that a view can be sent to somebody.
function remember() {
  const state = new URLSearchParams();
  for (const field of ["text", "where"]) if (form.elements[field].value) state.set(field, form.elements[field].value);
  if (page) state.set("page", page + 1);
  history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
}

function recall() {
  if (location.hash && !location.hash.includes("=")) return; // a place in the page
  const state = new URLSearchParams(location.hash.slice(1));
  form.elements.text.value = state.get("text") || "";
  form.elements.where.value = Object.hasOwn(WHERE, state.get("where")) ? state.get("where") : "";
  search();
  turn(Number.parseInt(state.get("page") || "1", 10) - 1);
}

function search() {
  const text = form.elements.text.value.trim().toLowerCase();
  found = cases.filter((item) => fits(item, text, form.elements.where.value));
  turn(0);
}

function turn(to) {
  const pages = Math.max(1, Math.ceil(found.length / SIZE));
  page = Math.min(Math.max(to || 0, 0), pages - 1);
  list.replaceChildren(...found.slice(page * SIZE, (page + 1) * SIZE).map(article));
  pager.querySelector("span").textContent = `Page ${page + 1} of ${pages}`;
  const [back, next] = pager.querySelectorAll("button");
  back.disabled = page === 0;
  next.disabled = page >= pages - 1;
  form.querySelector(".count").textContent = found.length === cases.length ? `${cases.length} cases` : `${found.length} of ${cases.length} cases`;
}

// Called by the file of the cases, which is loaded after this one.
function xkebCases(all) {
  cases = all;
  for (const item of cases) item.text = [item.id, ...item.edit, ...item.probes.flat()].join("\n").toLowerCase();
  document.getElementById("first").hidden = true;
  form.hidden = pager.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    search();
    remember();
  });
  for (const button of pager.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      turn(page + Number(button.value));
      remember();
      form.scrollIntoView();
    });
  }
  addEventListener("hashchange", recall);
  recall();
}
