"use strict";
// Tabs of links: without this script, each shows its section by :target. With it, arrow keys turn them, and nothing jumps.

const tabs = document.querySelector(".tabs");
const links = [...tabs.querySelectorAll("nav a[href^='#']")];
const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
const list = tabs.querySelector("nav ul");

function choose(number) {
  links.forEach((link, i) => {
    link.setAttribute("aria-selected", i === number);
    link.tabIndex = i === number ? 0 : -1;
    sections[i].hidden = i !== number;
  });
}

// A tab by its name, or the one that holds the place of an address.
function named() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const found = sections.findIndex((section) => target && section.contains(target));
  choose(Math.max(0, found));
}

function go(number) {
  history.pushState(null, "", links[number].hash);
  choose(number);
}

list.setAttribute("role", "tablist");
list.setAttribute("aria-label", "Views");
for (const item of list.children) item.setAttribute("role", "presentation");
links.forEach((link, i) => {
  link.id = `tab-${sections[i].id}`;
  link.setAttribute("role", "tab");
  link.setAttribute("aria-controls", sections[i].id);
  sections[i].setAttribute("role", "tabpanel");
  link.addEventListener("click", (event) => {
    event.preventDefault();
    go(i);
  });
  link.addEventListener("keydown", (event) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + links.length) % links.length;
    go(next);
    links[next].focus();
  });
});
// What leads elsewhere is no tab.
const away = list.querySelector("a:not([role])").parentElement;
list.after(away);
away.outerHTML = `<p class="away">${away.innerHTML}</p>`;
tabs.classList.add("ready");
addEventListener("popstate", named);
addEventListener("hashchange", named);
named();
