"use strict";
// The pictures stand in the page as they are. This adds: a key brings its series forward; a picture as PNG.

const SCALE = 3;
const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight", "opacity"];

function bringForward(figure, key) {
  const marks = [...figure.querySelectorAll(".plots .mark, .plots .shape, .plots .shade")];
  const classes = key ? key.dataset.series.split(" ") : [];
  for (const mark of marks) mark.classList.toggle("away", Boolean(key) && !classes.every((name) => mark.classList.contains(name)));
  for (const other of figure.querySelectorAll(".key")) other.setAttribute("aria-pressed", other === key);
}

function standing(svg) {
  const copy = svg.cloneNode(true);
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", width * SCALE);
  copy.setAttribute("height", height * SCALE);
  const shown = [...svg.querySelectorAll("*")];
  [...copy.querySelectorAll("*")].forEach((part, i) => {
    const look = getComputedStyle(shown[i]); // the style sheet stays behind
    for (const name of LOOKS) part.style.setProperty(name, look.getPropertyValue(name));
  });
  return { text: new XMLSerializer().serializeToString(copy), width: width * SCALE, height: height * SCALE };
}

async function png(svg, name) {
  const { text, width, height } = standing(svg);
  const image = new Image(width, height);
  image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ground");
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  URL.revokeObjectURL(image.src);
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(await new Promise((done) => canvas.toBlob(done, "image/png")));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const keys = [...figure.querySelectorAll(".key")];
  if (keys.length > 1) {
    for (const key of keys) {
      key.tabIndex = 0;
      key.setAttribute("role", "button");
      key.setAttribute("aria-pressed", "false");
      const turn = () => bringForward(figure, key.getAttribute("aria-pressed") === "true" ? null : key);
      key.addEventListener("click", turn);
      key.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        turn();
      });
    }
  }
  const panels = [...figure.querySelectorAll(".plots svg")];
  panels.forEach((svg, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = panels.length > 1 ? `PNG ${i + 1}` : "PNG";
    button.addEventListener("click", () => png(svg, `${figure.dataset.chart}${panels.length > 1 ? `-${i + 1}` : ""}.png`));
    const whole = document.createElement("span"); // a button and its comma, which may begin no line
    whole.append(button, i + 1 < panels.length ? "," : "");
    figure.querySelector(".pngs").append(i ? " " : ", ", whole);
  });
}
