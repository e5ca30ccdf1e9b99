"use strict";
// In which characters a text differs from another: the longest common subsequence of their characters, as a reader sees them.

const MOST_CELLS = 1000000; // of the table; longer texts are marked as a whole between their common ends
const characters = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

function split(text) {
  return characters ? [...characters.segment(text)].map((one) => one.segment) : [...text];
}

// Parts of the text in order, and between them what it lacks: [kind, characters], of kind "same", "extra" or "missing".
function differences(text, expected) {
  const [a, b] = [split(text), split(expected)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = subsequence(a.slice(start, a.length - end), b.slice(start, b.length - end));
  return joined([["same", a.slice(0, start).join("")], ...tidy(middle), ["same", end ? a.slice(-end).join("") : ""]]);
}

function subsequence(a, b) {
  if (!a.length || !b.length || a.length * b.length > MOST_CELLS) return [["extra", a.join("")], ["missing", b.join("")]];
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width); // of the common subsequence of what follows
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const [skipA, skipB] = [lengths[(i + 1) * width + j], lengths[i * width + j + 1]];
      lengths[i * width + j] = a[i] === b[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(skipA, skipB);
    }
  }
  const parts = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      parts.push(["same", a[i++]]);
      j++;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) parts.push(["extra", a[i++]]);
    else parts.push(["missing", b[j++]]);
  }
  return [...parts, ["extra", a.slice(i).join("")], ["missing", b.slice(j).join("")]];
}

// Between two differences, a letter or two in common say nothing, unless each is a word as in Chinese.
function tidy(parts) {
  const runs = joined(parts);
  return runs.flatMap(([kind, text], i) => {
    const between = i > 0 && i < runs.length - 1;
    if (kind !== "same" || !between || split(text).length > 2 || /[\p{Script=Han}\p{Number}]/u.test(text)) return [[kind, text]];
    return [["extra", text], ["missing", text]];
  });
}

// Neighbours of a kind become one; of a stretch without anything in common, what is extra comes before what is missing.
function joined(parts) {
  const found = [];
  let [extra, missing] = ["", ""];
  const flush = () => {
    if (extra) found.push(["extra", extra]);
    if (missing) found.push(["missing", missing]);
    [extra, missing] = ["", ""];
  };
  for (const [kind, text] of parts) {
    if (!text) continue;
    if (kind === "extra") extra += text;
    else if (kind === "missing") missing += text;
    else {
      flush();
      if (found.length && found[found.length - 1][0] === "same") found[found.length - 1][1] += text;
      else found.push(["same", text]);
    }
  }
  flush();
  return found;
}

// The text with its differences marked. What is missing is no text of the answer, so it stands in a title only.
function marked(text, expected) {
  const made = document.createDocumentFragment();
  for (const [kind, part] of differences(text, expected)) {
    if (kind === "same") made.append(part);
    else if (kind === "extra") {
      const mark = document.createElement("mark");
      mark.className = "extra";
      mark.textContent = part;
      made.append(mark);
    } else {
      const gap = document.createElement("span");
      gap.className = "missing";
      gap.title = `missing: ${part}`;
      made.append(gap);
    }
  }
  return made;
}
