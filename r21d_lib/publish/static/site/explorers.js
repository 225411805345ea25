// What moves in the pages without a kernel. Every number was computed by the library when the site was
// built, and stands in data/*.js; here it is drawn.
"use strict";

const data = window.r21dData;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") Object.assign(element.style, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function slider(label, low, high, start, redraw) {
  const value = make("output", {}, String(start));
  const input = make("input", { type: "range", min: low, max: high, value: start });
  input.addEventListener("input", () => {
    value.textContent = input.value;
    redraw();
  });
  // Another highest value; who stood at the former one stands at this one.
  const limit = (highest) => {
    const atEnd = input.value === input.max;
    input.max = highest; // sets a greater value down to it
    if (atEnd) input.value = highest;
    value.textContent = input.value;
  };
  return [make("label", {}, label, input, value), () => Number(input.value), limit];
}

function menu(label, options, start, redraw) {
  const input = make("select", { onchange: redraw });
  options.forEach((option, place) => input.append(new Option(option, place, false, option === start)));
  return [make("label", {}, label, input), () => options[input.value], input];
}

const percent = (value) => `${(100 * value).toFixed(1)}%`;
const readable = (name) => name.replaceAll("_", " ");

// The moving square ----------------------------------------------------------------------------------

function square(place, { rows, colours }) {
  const frames = Object.values(Object.values(rows)[0])[0].length;
  // One scale for all maps: half the colour is half the response, whichever step it comes from.
  const all = Object.values(rows).flatMap(Object.values);
  const largest = Math.max(...all.flat(3).map(Math.abs));
  const pictures = [];
  const draw = () => pictures.forEach((paint) => paint(frame()));
  const [control, frame] = slider("frame", 0, frames - 1, 3, draw);
  const grid = make("div", { class: "maps" });
  for (const [row, maps] of Object.entries(rows)) {
    grid.append(make("div", { class: "row" }, row));
    for (const [name, map] of Object.entries(maps)) {
      const canvas = make("canvas", { role: "img", "aria-label": `${name}, ${row}` });
      [canvas.height, canvas.width] = [map[0].length, map[0][0].length];
      const context = canvas.getContext("2d");
      pictures.push((t) => {
        map[t].forEach((line, y) =>
          line.forEach((value, x) => {
            const shade = Math.round(((value / largest + 1) / 2) * (colours.length - 1));
            context.fillStyle = colours[shade];
            context.fillRect(x, y, 1, 1);
          }),
        );
      });
      grid.append(make("figure", {}, canvas, make("figcaption", {}, name)));
    }
  }
  place.append(make("div", { class: "controls" }, control), grid);
  place.append(make("p", { class: "small" }, "Orange is positive, purple negative, white zero."));
  draw();
}

// The middle width M ---------------------------------------------------------------------------------

function midplanes(place, { choices, blocks }) {
  const controls = [];
  const read = [];
  for (const [name, { label, options, start }] of Object.entries(choices)) {
    const [control, value] = menu(label, options, start, () => draw());
    controls.push(control);
    read.push(() => choices[name].options.indexOf(value()));
  }
  const sizes = Object.values(choices).map(({ options }) => options.length);
  const shown = make("div", { "aria-live": "polite" });
  place.append(make("div", { class: "controls" }, ...controls), shown);

  function bar(parts, total, largest, kinds) {
    const all = make("div", { class: "all" });
    parts.forEach((part, number) => {
      if (!part) return;
      const style = { width: `${(100 * part) / largest}%` };
      all.append(make("span", { class: `${kinds[number % 2]}${number > 1 ? " second" : ""}`, style }));
    });
    return [all, make("span", { class: "small" }, total)];
  }

  function draw() {
    const place_ = read.reduce((at, value, number) => at * sizes[number] + value(), 0);
    const [m1, m2, ...numbers] = blocks[place_];
    const sum = (parts) => parts.reduce((a, b) => a + b, 0);
    const groups = [0, 2, 6, 8].map((at, i) => numbers.slice(at, at + (i % 2 ? 4 : 2)));
    const [whole, pair, wholeWork, pairWork] = groups;
    const spread = ([first, second]) => [first, 0, second, 0];
    const table = (title, three, two, unit) => {
      const largest = Math.max(sum(three), sum(two));
      const text = (parts) => sum(parts).toLocaleString("en") + unit;
      return [
        make("p", { class: "small" }, title),
        make(
          "div",
          { class: "stack" },
          make("span", {}, "3D"),
          ...bar(spread(three), text(three), largest, ["of-both", "of-both"]),
          make("span", {}, "(2+1)D"),
          ...bar(two, text(two), largest, ["of-space", "of-time"]),
        ),
      ];
    };
    const share = sum(pair) / sum(whole);
    shown.replaceChildren(
      make("p", {}, make("strong", {}, `M = ${m1} and ${m2}`), `: (2+1)D has ${share.toFixed(4)} of 3D's weights`),
      ...table("weights of the block's two convolutions", whole, pair, ""),
      ...table("multiply-adds, millions", wholeWork, pairWork, " M"),
      make(
        "p",
        { class: "key" },
        ...["of-space", "of-time", "of-both"].map((kind, i) =>
          make("span", {}, make("i", { class: kind }), ["space", "time", "3D"][i]),
        ),
        "darker: the second convolution",
      ),
    );
  }
  draw();
}

// Classes, each with its interval --------------------------------------------------------------------

function classes(lists, number, order) {
  const tables = lists.map((list) => list.classes[number(list)]);
  const names = lists[0].names;
  const places = names.map((_, place) => place).filter((place) => tables[0][place][1]);
  if (order === "accuracy") {
    const accuracy = ([right, videos]) => right / videos;
    places.sort((a, b) => accuracy(tables[0][b]) - accuracy(tables[0][a]));
  }
  const grid = make("div", { class: "classes" });
  for (const place of places) {
    const track = make("div", { class: `track${lists.length > 1 ? " two" : ""}` });
    const counts = [];
    tables.forEach((table, which) => {
      const [right, videos, low, high, groups] = table[place];
      const style = { width: `${(100 * right) / videos}%` };
      track.append(make("div", { class: `fill${which ? " other" : ""}`, style }));
      const range = { left: `${100 * low}%`, width: `${100 * (high - low)}%` };
      track.append(make("div", { class: "range", style: range }));
      counts.push(which ? String(right) : `${right} of ${videos} (${groups})`);
    });
    grid.append(make("span", {}, readable(names[place])), track);
    grid.append(make("span", { class: "count" }, counts.join(" | ")));
  }
  return grid;
}

function total(list, number) {
  const [accuracy, low, high, groups] = list.total[number];
  return `${percent(accuracy)} [${percent(low)}, ${percent(high)}], ${groups} groups`;
}

const last = (list, count) => Math.min(count, list.total.length) - 1;

function clips(place, { lists }) {
  const list = lists[0];
  const shown = make("div", {});
  const [control, count] = slider("clips used of each video", 1, list.total.length, 1, () => draw());
  place.append(make("div", { class: "controls" }, control), shown);
  function draw() {
    const number = () => last(list, count());
    const heading = make("p", { "aria-live": "polite" }, `video@1 with ${count()}: ${total(list, number())}`);
    const below = make("p", { class: "small" }, `${list.title}. Each class: its accuracy, 95% interval, how many are right (of how many groups).`);
    shown.replaceChildren(heading, classes([list], number, "class"), below);
  }
  draw();
}

// Pairs of networks ----------------------------------------------------------------------------------

function pairs(place, { studies, colours }) {
  const shown = make("div", {});
  const [control, which] = menu("measured on", Object.keys(studies), Object.keys(studies)[0], () => draw());
  place.append(make("div", { class: "controls" }, control), shown);
  function draw() {
    const { networks, cells, note } = studies[which()];
    const said = make("p", { "aria-live": "polite" }, "Choose a cell to read what it says.");
    const table = make("table", { class: "matrix" });
    const head = make("tr", {}, make("td", {}));
    for (const name of networks) head.append(make("th", { scope: "col" }, name));
    table.append(make("thead", {}, head));
    const body = make("tbody", {});
    for (const row of networks) {
      const line = make("tr", {}, make("th", { scope: "row" }, row));
      for (const column of networks) {
        const cell = cells[`${row}|${column}`];
        line.append(make("td", {}, ...(cell ? [button(cell)] : [])));
      }
      body.append(line);
    }
    table.append(body);
    const seen = [...new Set(Object.values(cells).map((cell) => cell.verdict))];
    const key = make("p", { class: "key" });
    for (const verdict of seen) {
      key.append(make("span", {}, make("i", { style: { background: colours[verdict] } }), verdict));
    }
    shown.replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Pairs of networks" }, table), key, said);
    shown.append(make("p", { class: "small" }, note));

    function button(cell) {
      const points = `${cell.ours > 0 ? "+" : ""}${Math.round(cell.ours)}`;
      const style = { background: `color-mix(in srgb, ${colours[cell.verdict]} 45%, white)` };
      return make("button", { type: "button", style, "aria-label": `${points}: ${cell.text}`, "aria-pressed": "false", onclick: choose }, points);
      function choose(event) {
        for (const other of table.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
        event.target.setAttribute("aria-pressed", "true");
        said.textContent = cell.text;
      }
    }
  }
  draw();
}

// The dashboard --------------------------------------------------------------------------------------

function dashboard(place, { lists, films }) {
  const titles = lists.map(({ title }) => title);
  const shown = make("div", {});
  let open = null; // a cell of the matrix: [true class, said class]
  const redraw = () => draw();
  const [first, one] = menu("scores", titles, titles[0], () => {
    open = null;
    limitClips(lists[titles.indexOf(one())].total.length);
    draw();
  });
  const [second, other] = menu("beside them", ["none", ...titles], titles[1] ?? "none", redraw);
  const most = lists[0].total.length;
  const [count, clipsUsed, limitClips] = slider("clips used", 1, most, most, redraw);
  const [order, ordered] = menu("order", ["accuracy", "class"], "accuracy", redraw);
  place.append(make("div", { class: "controls" }, first, ...(titles.length > 1 ? [second] : []), count, order), shown);

  function draw() {
    const list = lists[titles.indexOf(one())];
    const beside = lists[titles.indexOf(other())];
    const number = (its) => last(its, clipsUsed());
    // Scores beside may have fewer clips than are asked for.
    const used = (its) => (number(its) ? `${number(its) + 1} clips` : "1 clip");
    const both = beside && beside !== list ? [list, beside] : [list];
    const summary = both.map((its, which) =>
      make("span", {}, make("i", { style: { background: which ? "var(--second)" : "var(--plain)" } }), `${its.title}: video@1 ${total(its, number(its))}, ${used(its)}`),
    );
    shown.replaceChildren(
      make("p", { class: "key", "aria-live": "polite" }, ...summary),
      make(
        "div",
        { class: "board" },
        make("section", {}, make("h2", {}, "Class by class"), classes(both, number, ordered()), make("p", { class: "small" }, "Bar: share of videos that are right. Line: its interval. Numbers: right of all videos (of so many groups)" + (both.length > 1 ? "; after the bar, the other scores' right." : "."))),
        make("section", {}, make("h2", {}, "What is taken for what"), ...matrix(list, list.said[number(list)])),
      ),
    );
  }

  function matrix(list, said) {
    const { names, labels, videos } = list;
    const behind = new Map();
    videos.forEach((_, video) => {
      const key = `${labels[video]}|${said[video]}`;
      behind.set(key, [...(behind.get(key) ?? []), video]);
    });
    const all = names.map((_, label) => labels.filter((its) => its === label).length);
    open ??= [...behind].filter(([key]) => key.split("|")[0] !== key.split("|")[1]).sort((a, b) => b[1].length - a[1].length)[0]?.[0] ?? null;
    const list_ = make("div", { "aria-live": "polite" });
    const head = make("tr", {}, make("td", {}));
    for (const name of names) head.append(make("th", { scope: "col" }, readable(name)));
    const body = make("tbody", {});
    names.forEach((name, label) => {
      if (!all[label]) return;
      const row = make("tr", {}, make("th", { scope: "row" }, readable(name)));
      names.forEach((found, column) => {
        const key = `${label}|${column}`;
        const its = behind.get(key);
        const cell = make("td", {});
        if (its) {
          const share = Math.round((100 * its.length) / all[label]);
          const style = { background: `color-mix(in srgb, #5B9BD5 ${share}%, #EEF2F6)` };
          const label_ = `${readable(name)} taken for ${readable(found)}: ${its.length} of ${all[label]}`;
          cell.append(make("button", { type: "button", style, "data-cell": key, "aria-label": label_, "aria-pressed": String(key === open), onclick: choose }, String(its.length)));
        }
        row.append(cell);
      });
      body.append(row);
    });
    const table = make("table", { class: "matrix" }, make("thead", {}, head), body);
    if (open && behind.has(open)) show(open);
    return [make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Confusion matrix: rows are true classes" }, table), list_];

    function choose({ target }) {
      open = target.dataset.cell;
      for (const button of table.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === target));
      show(open);
    }

    function show(key) {
      const [label, column] = key.split("|").map(Number);
      const items = behind.get(key).map((video) => {
        const item = make("li", {});
        const film = films[videos[video]];
        if (film) item.append(make("video", { src: film, controls: true, muted: true, loop: true, preload: "none", playsinline: true, "aria-label": videos[video] }));
        item.append(videos[video]);
        return item;
      });
      const relation = label === column ? "right" : `taken for ${readable(names[column])}`;
      const note = label !== column && Object.keys(films).length === 0 ? " Their films are not in this site." : "";
      list_.replaceChildren(make("p", {}, make("strong", {}, `${readable(names[label])}, ${relation}: ${items.length}.`), note), make("ul", { class: "clips" }, ...items));
    }
  }
  draw();
}

const KINDS = { square, midplanes, clips, pairs, dashboard };
for (const place of document.querySelectorAll("[data-explorer]")) {
  const kind = place.dataset.explorer;
  place.replaceChildren();
  place.classList.add("explorer");
  KINDS[kind](place, data[kind === "dashboard" ? "scores" : kind]);
}
