"use strict";
// Sorting and filtering of the tables. The state is in the address, so that a view can be sent to somebody.

const FIELDS = ["method", "model", "source", "badge"];
const boards = [...document.querySelectorAll("[data-board]")].map((section, number) => new Board(section, number));

function Board(section, number) {
  this.number = number;
  this.form = section.querySelector("form");
  this.count = section.querySelector(".count");
  this.intervals = section.querySelector(".intervals");
  this.heads = [...section.querySelectorAll("thead th")];
  this.groups = [...section.querySelectorAll("tbody")].map((body) => ({ body, heading: body.rows[0], rows: [] })); // each comparable
  this.rows = [...section.querySelectorAll("tbody tr:not(.group)")].map((row, place) => {
    const cells = [...row.cells];
    const texts = cells.map((cell) => (cell.firstElementChild || cell).textContent.replace(/\s+/g, " ").trim());
    const ties = (cell) => new Set((cell.dataset.t || "").split(",").filter(Boolean).map(Number));
    const number = (cell) => (cell.dataset.v === undefined ? "" : Number(cell.dataset.v));
    const item = {
      row, place, cells,
      fields: [texts[0], texts[1], row.dataset.source, texts[6]],
      values: cells.map((cell, i) => (this.heads[i].hasAttribute("data-text") ? texts[i] : number(cell))),
      ties: cells.map(ties), // places of best rows that it can't be told from
    };
    this.groups.find((group) => group.body === row.parentElement).rows.push(item);
    return item;
  });
  this.sort = null;
  this.intervals.addEventListener("change", remember);
  this.heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => this.turn(column)));
  if (this.form) {
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", () => this.changed());
    this.form.addEventListener("reset", () => setTimeout(() => { this.sort = null; this.intervals.checked = false; this.changed(); }));
  }
}

// Numbers begin with the largest, names with the first.
Board.prototype.turn = function (column) {
  const first = this.heads[column].hasAttribute("data-text") ? 1 : -1;
  if (!this.sort || this.sort.column !== column) this.sort = { column, way: first };
  else if (this.sort.way === first) this.sort.way = -first;
  else this.sort = null;
  this.changed();
};

Board.prototype.changed = function () {
  this.show();
  remember();
};

Board.prototype.wanted = function (field) {
  const select = this.form && this.form.elements.namedItem(field);
  return select ? select.value : "";
};

Board.prototype.show = function () {
  const wanted = FIELDS.map((field) => this.wanted(field));
  const property = this.wanted("property");
  let shown = 0;
  for (const item of this.rows) {
    item.row.hidden = wanted.some((value, i) => value && item.fields[i] !== value);
    shown += !item.row.hidden;
  }
  for (const group of this.groups) {
    const order = [...group.rows].sort((a, b) => this.compare(a, b));
    group.body.append(...order.map((item) => item.row));
    group.heading.hidden = group.rows.every((item) => item.row.hidden);
  }
  this.heads.forEach((head, column) => {
    const off = Boolean(property && head.dataset.property && head.dataset.property !== property);
    head.hidden = off;
    for (const item of this.rows) item.cells[column].hidden = off;
    head.removeAttribute("aria-sort");
    if (this.sort && this.sort.column === column) head.setAttribute("aria-sort", this.sort.way > 0 ? "ascending" : "descending");
  });
  this.mark();
  if (this.count) this.count.textContent = shown === this.rows.length ? `${shown} rows` : `${shown} of ${this.rows.length} rows`;
};

Board.prototype.compare = function (a, b) {
  if (!this.sort) return a.place - b.place;
  const { column, way } = this.sort;
  const [x, y] = [a.values[column], b.values[column]];
  const numbers = typeof x === "number" && typeof y === "number";
  if (!numbers && typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what has no value comes last, either way
  const order = numbers ? x - y : String(x).localeCompare(String(y), "en");
  return order * way || a.place - b.place;
};

// The best of the rows that are shown, and those that can't be told from it; each comparable group for itself.
Board.prototype.mark = function () {
  this.heads.forEach((head, column) => {
    if (!head.dataset.property || head.hasAttribute("data-unranked")) return;
    for (const item of this.rows) item.cells[column].classList.remove("best", "tie");
    for (const { rows } of this.groups) {
      const able = rows.filter((item) => !item.row.hidden && item.fields[3] !== "baseline");
      this.markColumn(column, able.filter((item) => typeof item.values[column] === "number"));
    }
  });
};

Board.prototype.markColumn = function (column, able) {
  const best = able.reduce((top, item) => (top === null || item.values[column] > top.values[column] ? item : top), null);
  for (const item of able) {
    const [value, most] = [item.values[column], best.values[column]];
    if (value.toFixed(1) === most.toFixed(1)) item.cells[column].classList.add("best");
    else if (item.ties[column].has(best.place)) item.cells[column].classList.add("tie");
  }
};

function remember() {
  const state = new URLSearchParams();
  for (const board of boards) {
    for (const field of [...FIELDS, "property"]) if (board.wanted(field)) state.set(`${board.number}.${field}`, board.wanted(field));
    if (board.sort) state.set(`${board.number}.sort`, `${board.sort.column}${board.sort.way > 0 ? "up" : "down"}`);
    if (board.intervals.checked) state.set(`${board.number}.intervals`, "1");
  }
  history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
}

function recall() {
  if (location.hash && !location.hash.includes("=")) return; // a place in the page
  const state = new URLSearchParams(location.hash.slice(1));
  for (const board of boards) {
    for (const field of [...FIELDS, "property"]) {
      const select = board.form && board.form.elements.namedItem(field);
      if (!select) continue;
      const value = state.get(`${board.number}.${field}`) || "";
      select.value = [...select.options].some((option) => option.value === value) ? value : "";
    }
    const sort = /^(\d+)(up|down)$/.exec(state.get(`${board.number}.sort`) || "");
    board.sort = sort && Number(sort[1]) < board.heads.length ? { column: Number(sort[1]), way: sort[2] === "up" ? 1 : -1 } : null;
    board.intervals.checked = state.get(`${board.number}.intervals`) === "1";
    board.show();
  }
}

addEventListener("hashchange", recall);
recall();
