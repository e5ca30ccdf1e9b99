"use strict";
// The case browser. What is chosen is in the address, so that a view can be sent to somebody.

const MOST = LETTERS.length; // results side by side
const form = document.getElementById("choice");
const chosenList = document.getElementById("chosen");
const section = document.getElementById("case");
const counter = form.querySelector(".count");
const state = { group: null, chosen: [], text: "", id: "" }; // chosen: {files, only}; id: of the case
let index, order, rows, view;
const latest = { choice: 0, filter: 0, case: 0 }; // number of what was asked for last: what comes late for something else is dropped

function complain(error) {
  const place = document.getElementById("failed");
  place.textContent = `The cases can't be shown: ${error.message}.`;
  place.hidden = false;
}

// Address ---------------------------------------------------------------------------------------------------------------

function remember() {
  const address = new URLSearchParams();
  address.set("with", state.chosen.map(({ files }) => files.id).join("."));
  if (state.chosen.some(({ only }) => only)) address.set("only", state.chosen.map(({ only }) => only).join("."));
  if (state.text) address.set("text", state.text);
  if (state.id) address.set("case", state.id);
  history.replaceState(null, "", `#${address}`);
}

async function recall() {
  const address = new URLSearchParams(location.hash.slice(1));
  const wanted = (address.get("with") || "").split(".");
  const only = (address.get("only") || "").split(".");
  const group = index.groups.find(({ results }) => results.some(({ id }) => wanted.includes(id))) || index.groups[0];
  const known = [];
  wanted.forEach((id, i) => {
    const listed = group.results.find((result) => result.id === id);
    if (listed && known.length < MOST && known.every((one) => one.listed !== listed)) known.push({ listed, only: only[i] });
  });
  for (const listed of group.results) {
    if (known.length < 2 && known.every((one) => one.listed !== listed)) known.push({ listed, only: "" });
  }
  state.text = address.get("text") || "";
  state.id = address.get("case") || "";
  form.elements.text.value = state.text;
  await choose(group, known);
}

// Results ---------------------------------------------------------------------------------------------------------------

async function choose(group, known) {
  const turn = ++latest.choice;
  const [ids, ...files] = await Promise.all([
    shared(group.order),
    ...known.map(({ listed }) => opened(listed)),
  ]);
  if (turn !== latest.choice) return;
  order = ids;
  state.group = group;
  state.chosen = files.map((one, i) => ({ files: one, only: one.told.includes(known[i].only) ? known[i].only : "" }));
  form.elements.group.value = index.groups.indexOf(group);
  showChoice();
  await filter();
}

const openFiles = new Map(); // by id, with what has come of them

function opened(listed) {
  if (!openFiles.has(listed.id)) openFiles.set(listed.id, new CaseFiles(listed, index.chunk));
  const files = openFiles.get(listed.id);
  return files.marks ? files : files.open();
}

function again(changed) {
  const known = state.chosen.map(({ files, only }) => ({ listed: files, only }));
  choose(state.group, changed(known)).catch(complain);
}

function showChoice() {
  const name = chosenList.contains(document.activeElement) ? document.activeElement.name : "";
  chosenList.replaceChildren(...state.chosen.map(({ files, only }, i) => chooser(files, only, i)));
  document.getElementById("add").disabled = state.chosen.length >= Math.min(MOST, state.group.results.length);
  if (name) form.elements.namedItem(name)?.focus();
}

function select(options, value, name) {
  const made = element("select", undefined, { name });
  for (const [key, text, disabled] of options) {
    const option = element("option", text, { value: key });
    option.disabled = Boolean(disabled);
    made.append(option);
  }
  made.value = value;
  return made;
}

function labelled(text, control) {
  const made = element("label", `${text} `);
  made.append(control);
  return made;
}

function chooser(files, only, i) {
  const letter = LETTERS[i];
  const item = element("li");
  const taken = new Set(state.chosen.map((one) => one.files.id));
  const results = select(state.group.results.map(({ id, name }) => [id, name, id !== files.id && taken.has(id)]), files.id, `result-${letter}`);
  results.addEventListener("change", () => again((known) => known.map((one, k) => (k === i ? { ...one, listed: state.group.results.find(({ id }) => id === results.value) } : one))));
  const outcomes = Object.keys(index.bits).map((name) => [name, files.told.includes(name) ? `${name.replace("-", " ")} by ${letter}` : `${name.replace("-", " ")} (not measured)`, !files.told.includes(name)]);
  const filterBy = select([["", "all"], ...outcomes], only, `only-${letter}`);
  filterBy.addEventListener("change", () => {
    state.chosen[i].only = filterBy.value;
    filter().catch(complain);
  });
  item.append(element("span", letter, { class: "letter" }), labelled("Result", results), labelled("Only cases", filterBy));
  if (state.chosen.length > 1) {
    const away = element("button", "Remove", { type: "button", "aria-label": `Remove ${letter}` });
    away.addEventListener("click", () => {
      again((known) => known.filter((_, k) => k !== i));
      document.getElementById("add").focus();
    });
    item.append(away);
  }
  return item;
}

// Cases -----------------------------------------------------------------------------------------------------------------

function fits(place) {
  const chosen = state.chosen.filter(({ files }) => files.marks[place] !== null);
  if (!chosen.length) return false;
  if (state.chosen.some(({ files, only }) => only && !(files.marks[place] & index.bits[only]))) return false;
  const text = state.text.trim().toLowerCase();
  return !text || order[place].toLowerCase().includes(text) || chosen.some(({ files }) => files.text(place).includes(text));
}

async function filter() {
  const turn = ++latest.filter;
  if (state.text.trim()) {
    counter.textContent = "Searching";
    await Promise.all(state.chosen.map(({ files }) => files.loadAll()));
    if (turn !== latest.filter) return;
  }
  const places = order.map((_, place) => place).filter(fits);
  const cases = `${order.length} ${order.length === 1 ? "case" : "cases"}`;
  counter.textContent = places.length === order.length ? cases : `${places.length} of ${cases}`;
  rows.show(places);
  const at = places.findIndex((place) => order[place] === state.id);
  await go(Math.max(0, at));
}

async function go(number) {
  const turn = ++latest.case;
  const place = rows.places[number];
  if (place === undefined) {
    section.replaceChildren(element("p", "No case fits all filters."));
    remember();
    return;
  }
  state.id = order[place];
  rows.mark(number);
  remember();
  await Promise.all(state.chosen.map(({ files }) => files.loadFor(place)));
  if (turn !== latest.case) return;
  const where = `${number + 1} of ${rows.places.length}`;
  view.show(state.id, place, state.chosen.map(({ files }) => files), state.group.heads, where, step);
  rows.clear(); // their texts have come
}

function step(by) {
  const number = Math.min(Math.max(rows.at + by, 0), rows.places.length - 1);
  const button = section.contains(document.activeElement) ? document.activeElement.textContent : "";
  if (number === rows.at) return;
  go(number).then(() => {
    if (button) [...section.querySelectorAll(".turn button")].find((one) => one.textContent === button)?.focus({ preventScroll: true });
  }).catch(complain);
}

function fill(row, place) {
  const shown = state.chosen.map(({ files }) => files).find((files) => files.marks[place] !== null);
  const put = () => {
    const one = shown.at(place);
    if (!one) return false;
    const [prompt, , target, language] = one.edit;
    const edit = view.spoken("span", `${prompt} → `, language, { class: "row-edit" });
    edit.append(element("strong", target));
    const marks = element("small");
    state.chosen.forEach(({ files }, i) => {
      const told = files.marks[place] === null ? "no such case" : view.outcomes(files.marks[place]).join(", ") || "–";
      marks.append(element("b", LETTERS[i]), ` ${told}  `);
    });
    row.replaceChildren(edit, marks);
    return true;
  };
  if (put()) return;
  row.textContent = `Case ${order[place]}`;
  shown.loadFor(place).then(put).catch(complain);
}

// Keys ------------------------------------------------------------------------------------------------------------------

function listKey(event) {
  const page = Math.max(1, Math.floor(rows.list.clientHeight / ROW) - 1);
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  step(by);
}

function letterKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (!document.getElementById("letters").checked || event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "/") {
    event.preventDefault();
    form.elements.text.focus();
  } else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
}

// Beginning -------------------------------------------------------------------------------------------------------------

async function begin() {
  index = await fetchJson("cases/index.json");
  const groups = form.elements.group;
  index.groups.forEach(({ name }, i) => groups.append(element("option", name, { value: i })));
  view = new CaseView(section, index);
  rows = new CaseRows(document.getElementById("list"), fill, (number) => go(number).catch(complain));
  groups.addEventListener("change", () => {
    const group = index.groups[Number(groups.value)];
    state.id = "";
    choose(group, group.results.slice(0, 2).map((listed) => ({ listed, only: "" }))).catch(complain);
  });
  document.getElementById("add").addEventListener("click", () => {
    again((known) => [...known, { listed: state.group.results.find(({ id }) => known.every((one) => one.listed.id !== id)), only: "" }]);
  });
  form.elements.text.addEventListener("input", () => {
    state.text = form.elements.text.value;
    filter().catch(complain);
  });
  form.elements.text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") rows.list.focus();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  rows.list.addEventListener("keydown", listKey);
  addEventListener("keydown", letterKey);
  addEventListener("hashchange", () => recall().catch(complain));
  await recall();
}

if (location.protocol === "file:") {
  document.getElementById("browser").hidden = true;
  document.getElementById("unserved").hidden = false;
} else begin().catch(complain);
