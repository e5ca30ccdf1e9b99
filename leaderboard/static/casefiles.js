"use strict";
// The files of the cases: each is asked for when it is needed, and once.

const fetched = new Map(); // address -> promise of what is in it

function fetchJson(address) {
  if (!fetched.has(address)) {
    const asked = fetch(address).then((answer) => {
      if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
      return answer.json();
    });
    asked.catch(() => fetched.delete(address)); // to be asked for again
    fetched.set(address, asked);
  }
  return fetched.get(address);
}

const shared = (name) => fetchJson(`cases/${name}.json`);

// One result: the mark of each case at once, the answers a chunk at a time.
class CaseFiles {
  constructor(listed, size) {
    Object.assign(this, listed);
    this.size = size; // of a chunk
    this.chunks = new Map(); // those that have come
    this.texts = new Map(); // what a search looks at, by chunk
  }

  async open() {
    const { marks, chunks } = await fetchJson(`results/${this.id}/cases.json`);
    this.marks = [...marks].map((mark) => (mark === "." ? null : Number.parseInt(mark, 16)));
    this.names = chunks;
    return this;
  }

  async load(chunk) {
    if (!this.chunks.has(chunk)) this.chunks.set(chunk, await Promise.all(this.names[chunk].map(shared)));
    return this.chunks.get(chunk);
  }

  loadFor(place) {
    return this.load(Math.floor(place / this.size));
  }

  // Questions, answers before and answers after of a case; null where it has none, or where they haven't come yet.
  at(place) {
    const chunk = this.chunks.get(Math.floor(place / this.size));
    if (!chunk || this.marks[place] === null) return null;
    const [questions, before, after] = chunk.map((part) => part[place % this.size]);
    return { ...questions, before, after };
  }

  loadAll() {
    return Promise.all(this.names.map((_, chunk) => this.load(chunk)));
  }

  // All that is said in a case, in small letters. Only after `loadAll`.
  text(place) {
    if (!this.texts.has(place)) {
      const one = this.at(place);
      const parts = one ? [...one.edit, ...one.asked.flat(), ...one.before.map(([text]) => text), ...one.after.map(([text]) => text)] : [];
      this.texts.set(place, parts.join("\n").toLowerCase());
    }
    return this.texts.get(place);
  }
}
