"use strict";
// The list of cases: of thousands, only the rows that are seen are in the page.

const ROW = 56; // pixels, as the style sheet has it
const BEYOND = 4; // rows above and below those that are seen

class CaseRows {
  // `fill` puts a case into its row; `choose` is told which row was chosen.
  constructor(list, fill, choose) {
    Object.assign(this, { list, fill, choose, places: [], at: -1 });
    this.room = list.firstElementChild;
    this.rows = new Map(); // those in the page, by number
    list.addEventListener("scroll", () => this.draw(), { passive: true });
    addEventListener("resize", () => this.draw());
    list.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.choose(Number(row.dataset.number));
    });
  }

  show(places) {
    this.places = places;
    this.at = -1;
    this.room.style.height = `${places.length * ROW}px`;
    this.list.scrollTop = 0;
    this.clear();
  }

  // Draws all rows anew.
  clear() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - BEYOND);
    const last = Math.min(this.places.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW) + BEYOND);
    for (const [number, row] of this.rows) {
      if (number >= first && number < last) continue;
      row.remove();
      this.rows.delete(number);
    }
    for (let number = first; number < last; number++) {
      if (!this.rows.has(number)) this.add(number);
    }
    if (this.rows.has(this.at)) this.list.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  add(number) {
    const row = document.createElement("div");
    row.id = `row-${number}`;
    row.dataset.number = number;
    row.setAttribute("role", "option");
    row.setAttribute("aria-setsize", this.places.length);
    row.setAttribute("aria-posinset", number + 1);
    row.setAttribute("aria-selected", number === this.at);
    row.style.top = `${number * ROW}px`;
    this.fill(row, this.places[number]);
    this.rows.set(number, row);
    this.room.append(row);
  }

  // A case that is chosen is brought into sight.
  mark(number) {
    for (const old of [this.at, number]) this.rows.get(old)?.setAttribute("aria-selected", old === number);
    this.at = number;
    const [top, height] = [number * ROW, this.list.clientHeight];
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    else if (top + ROW > this.list.scrollTop + height) this.list.scrollTop = top + ROW - height;
    this.draw();
  }
}
