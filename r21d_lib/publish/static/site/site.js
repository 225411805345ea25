// On every page: dark or light, as the system says or the switch, and a search that asks no server.
"use strict";

const root = document.currentScript.dataset.root;
const page = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function remembered() {
  try {
    return localStorage.getItem("r21d-colours");
  } catch {
    return null; // some browsers keep nothing for pages from files
  }
}

function colour(choice) {
  page.dataset.colours = choice ?? remembered() ?? (system.matches ? "dark" : "light");
}

colour();
system.addEventListener("change", () => colour());

// Search ---------------------------------------------------------------------------------------------

let entries = null; // of search_index.js, which is loaded when somebody begins to search

function index() {
  entries ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${root}search_index.js`;
    script.onload = () => resolve(window.r21dSearch);
    script.onerror = reject;
    document.head.append(script);
  });
  return entries;
}

// The pages in this one's language: NAME.pt-BR.html are in Portuguese.
function spokenHere({ url }) {
  const language = /\.([a-z]{2}(?:-[A-Z]{2})?)\.html/.exec(url)?.[1] ?? "en";
  return language === page.lang;
}

// Every word must begin a word of the section; a hit in its heading counts for more.
async function find(query) {
  const words = query.toLowerCase().match(/[\p{L}\p{N}+()@.-]+/gu) ?? [];
  if (!words.length) return [];
  const scored = [];
  for (const entry of (await index()).filter(spokenHere)) {
    const heading = ` ${entry.page} ${entry.heading}`.toLowerCase();
    const text = ` ${entry.text}`.toLowerCase();
    let score = 0;
    for (const word of words) {
      const found = (where) => where.split(` ${word}`).length - 1 + (where.includes(word) ? 0.2 : 0);
      const its = 10 * found(heading) + Math.min(found(text), 8);
      score = its && score !== null ? score + its : null;
    }
    if (score) scored.push([score, entry]);
  }
  return scored.sort((a, b) => b[0] - a[0]).slice(0, 12).map(([, entry]) => entry);
}

async function search(input, list) {
  const query = input.value.trim();
  const found = await find(query);
  if (query !== input.value.trim()) return; // typed on
  list.hidden = !query;
  list.replaceChildren(
    ...found.map(({ page, heading, text, url }) => {
      const link = document.createElement("a");
      const where = document.createElement("small");
      link.href = root + url;
      link.textContent = heading;
      where.textContent = `${page}: ${text.slice(0, 90)}`;
      link.append(where);
      return link;
    }),
  );
  if (query && !found.length) list.textContent = list.dataset.none;
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".tools").hidden = false;
  const button = document.getElementById("colours");
  const name = () => {
    button.textContent = page.dataset.colours === "dark" ? button.dataset.light : button.dataset.dark;
  };
  name();
  system.addEventListener("change", name);
  button.addEventListener("click", () => {
    const choice = page.dataset.colours === "dark" ? "light" : "dark";
    colour(choice);
    name();
    try {
      localStorage.setItem("r21d-colours", choice);
    } catch {
      // it holds for this page only
    }
  });
  const input = document.getElementById("search");
  const list = document.getElementById("found");
  input.addEventListener("input", () => search(input, list));
  input.addEventListener("focus", index, { once: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") list.hidden = true;
    if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName)) {
      event.preventDefault();
      input.focus();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) list.hidden = true;
  });
});
