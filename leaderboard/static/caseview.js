"use strict";
// One case, with the answers of the chosen results side by side. Everything is put in as text.

const LETTERS = "ABCDEF";

function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  if (content !== undefined) made.append(content);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class CaseView {
  // `index`: what `cases/index.json` says of marks and languages.
  constructor(section, index) {
    Object.assign(this, { section, bits: Object.entries(index.bits), rtl: new Set(index.rtl) });
  }

  // A text in a language, or in one that nobody knows.
  spoken(name, content, language, attributes = {}) {
    const dir = this.rtl.has(language.split("-")[0].toLowerCase()) ? "rtl" : "auto";
    return element(name, content, { lang: language, dir, ...attributes });
  }

  outcomes(bits) {
    return this.bits.filter(([, bit]) => bits & bit).map(([name]) => name.replace("-", " "));
  }

  // `results`: those chosen. `heads`: the metrics. `where`: "3 of 120". `turn`: goes to a neighbour.
  show(id, place, results, heads, where, turn) {
    const cases = results.map((result) => result.at(place));
    const told = cases.find(Boolean);
    const title = element("h2", "Case ");
    title.append(element("bdi", id));
    const bar = element("div", title, { class: "bar" });
    const turns = element("p", undefined, { class: "turn" });
    const [back, forth] = [element("button", "Previous", { type: "button" }), element("button", "Next", { type: "button" })];
    back.addEventListener("click", () => turn(-1));
    forth.addEventListener("click", () => turn(1));
    turns.append(back, " ", forth, " ", element("span", where));
    bar.append(turns);
    const [prompt, , target, language] = told.edit;
    const edit = this.spoken("p", `${prompt} → `, language, { class: "edit" });
    edit.append(element("strong", target));
    const scroll = element("div", undefined, { class: "scroll", role: "region", tabindex: "0", "aria-label": `Answers of ${results.length} results` });
    scroll.append(this.table(told, cases, results, heads));
    this.section.replaceChildren(bar, edit, scroll);
  }

  table(told, cases, results, heads) {
    const table = element("table", element("caption", "What was asked, and what each result answered before and after the edit"), { class: "answers" });
    table.style.setProperty("--columns", results.length);
    const head = table.createTHead().insertRow();
    head.append(element("td"));
    results.forEach((result, i) => {
      const cell = element("th", element("span", LETTERS[i], { class: "letter" }), { scope: "col" });
      cell.append(" ", element("a", element("bdi", result.name), { href: `results/${result.id}/index.html` }));
      head.append(cell);
    });
    told.asked.forEach((asked, i) => table.append(this.probe(asked, i, told, cases, heads)));
    return table;
  }

  probe([property, language, question, reference], i, told, cases, heads) {
    const body = element("tbody");
    const row = (name, ...cells) => {
      const made = body.insertRow();
      made.append(element("th", name, { scope: "row" }), ...cells);
      return made;
    };
    const wide = { colspan: cases.length };
    const title = body.insertRow();
    title.className = "probe";
    title.append(element("th", `${property}, asked in ${language}`, { scope: "rowgroup", colspan: cases.length + 1 }));
    row("Question", this.spoken("td", question, language, wide));
    row("Reference", this.spoken("td", reference, language, wide));
    // Another method may have been asked otherwise: then its answer is to another question, which is said.
    const found = cases.map((one) => {
      const at = one ? one.asked.findIndex(([name, code, text]) => name === property && code === language && (one === told || text === question)) : -1;
      return at < 0 ? null : { before: one.before[at], after: one.after[at] };
    });
    const none = (one) => element("td", one ? "was asked otherwise" : "has no such case", { class: "none" });
    const unrelated = property === "locality";
    row("Before", ...found.map((one, k) => {
      if (!one) return none(cases[k]);
      const [text] = one.before;
      return this.spoken("td", unrelated ? text : marked(text, reference), language);
    }));
    row("After", ...found.map((one, k) => {
      if (!one) return none(cases[k]);
      return this.spoken("td", marked(one.after[0], unrelated ? one.before[0] : reference), language);
    }));
    row(heads.join(" / "), ...found.map((one) => {
      const cell = element("td", undefined, { class: "figures" });
      if (!one) return cell;
      const numbers = one.after.slice(1, -1).map((value) => (value === null ? "–" : value.toFixed(1)));
      cell.append(numbers.join(" / "));
      for (const name of this.outcomes(one.after[one.after.length - 1])) cell.append(" ", element("span", name, { class: `outcome ${name.replace(" ", "-")}` }));
      return cell;
    }));
    return body;
  }
}
