"use strict";
// Draws the search that the element #data holds as JSON. Marks and lines of a trial carry data-trial, and light up together.
const D = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
let pinned = null;

function add(parent, tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

const short = (name) => name.replace(/^validation\//, "");
const words = (value) =>
  typeof value === "number" ? String(Number(value.toPrecision(4))) : value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value);

// A scale from values to [from, to]: linear, logarithmic where the space is, or one place a category.
function scale(values, from, to, logarithmic) {
  const present = values.filter((value) => value !== null && value !== undefined);
  if (present.some((value) => typeof value !== "number")) {
    const names = [...new Set(present.map(words))].sort();
    const place = (value) => (names.length < 2 ? (from + to) / 2 : from + ((to - from) * names.indexOf(words(value))) / (names.length - 1));
    return { place, ticks: names.map((name) => [name, place(name)]) };
  }
  const turned = (value) => (logarithmic ? Math.log10(value) : value);
  let low = Math.min(...present.map(turned)), high = Math.max(...present.map(turned));
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const place = (value) => from + ((to - from) * (turned(value) - low)) / (high - low);
  const ticks = [];
  for (let at = 0; at <= 4; at++) {
    const value = low + ((high - low) * at) / 4;
    ticks.push([words(logarithmic ? 10 ** value : value), from + ((to - from) * at) / 4]);
  }
  return { place, ticks };
}

function light(trial) {
  for (const node of document.querySelectorAll(".on")) node.classList.remove("on");
  const shown = document.getElementById("shown");
  if (trial === null) { shown.textContent = ""; return; }
  for (const node of document.querySelectorAll(`[data-trial="${trial}"]`)) node.classList.add("on");
  const found = D.trials.find((item) => item.number === trial);
  if (!found) return;
  shown.textContent = "";
  const name = document.createElement("b");
  name.textContent = `Trial ${trial} (${found.status}, ${found.epochs} epochs) `;
  shown.append(name, [...D.targets, ...D.parameters].filter((key) => found.values[key] !== undefined).map((key) => `${short(key)} ${words(found.values[key])}`).join(" · "));
}

function follow(node, trial) {
  node.setAttribute("data-trial", trial);
  node.addEventListener("mouseenter", () => light(trial));
  node.addEventListener("mouseleave", () => light(pinned));
  node.addEventListener("click", () => { pinned = pinned === trial ? null : trial; light(pinned); });
  return node;
}

function frame(svg, x, y, box, across, up) {
  for (const [name, at] of x.ticks) {
    add(svg, "line", { class: "grid", x1: at, x2: at, y1: box.top, y2: box.bottom });
    add(svg, "text", { x: at, y: box.bottom + 16, "text-anchor": "middle" }, name);
  }
  for (const [name, at] of y.ticks) {
    add(svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at });
    add(svg, "text", { x: box.left - 8, y: at + 4, "text-anchor": "end" }, name);
  }
  add(svg, "text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, across);
  add(svg, "text", { x: box.left - 8, y: box.top - 12, "text-anchor": "start" }, up);
}

function scatter() {
  const svg = document.getElementById("scatter");
  svg.textContent = "";
  const across = document.getElementById("x").value, up = document.getElementById("y").value;
  const value = (trial, key) => (key === "" ? trial.number : trial.values[key]);
  const trials = D.trials.filter((t) => [across, up].every((key) => value(t, key) !== null && value(t, key) !== undefined));
  const box = { left: 90, right: 880, top: 30, bottom: 310 };
  const x = scale(trials.map((t) => value(t, across)), box.left, box.right, D.logarithmic.includes(across));
  const y = scale(trials.map((t) => value(t, up)), box.bottom, box.top, D.logarithmic.includes(up));
  frame(svg, x, y, box, across === "" ? "trial" : short(across), up === "" ? "trial" : short(up));
  if (D.targets.length > 1 && across === D.targets[0] && up === D.targets[1]) {
    const front = trials.filter((t) => t.front).sort((a, b) => a.values[across] - b.values[across]);
    const path = front.map((t, at) => {
      const here = [x.place(t.values[across]), y.place(t.values[up])];
      if (at === 0) return `M${here}`;
      // The corner that is no better than either of its neighbours.
      return D.greater[0] ? `V${here[1]}H${here[0]}` : `H${here[0]}V${here[1]}`;
    });
    add(svg, "path", { class: "step", d: path.join("") });
  }
  for (const trial of [...trials].sort((a, b) => a.front - b.front)) {
    const kind = trial.front ? "front" : trial.status === "finished" ? "" : "stopped";
    follow(add(svg, "circle", { class: `mark ${kind}`, cx: x.place(value(trial, across)), cy: y.place(value(trial, up)), r: trial.front ? 6.5 : 5 }), trial.number);
  }
}

function parallel() {
  const svg = document.getElementById("parallel");
  const keys = [...D.parameters, ...D.targets];
  const width = Math.max(1060, keys.length * 130);
  svg.setAttribute("viewBox", `0 0 ${width} 330`);
  svg.style.minWidth = `${Math.min(width, 4000)}px`;
  const places = keys.map((_, at) => 60 + ((width - 140) * at) / Math.max(keys.length - 1, 1));
  const scales = keys.map((key) => scale(D.trials.map((t) => t.values[key]), 290, 50, D.logarithmic.includes(key)));
  for (const trial of [...D.trials].sort((a, b) => a.front - b.front)) {
    let pen = "M";
    const path = keys.map((key, at) => {
      const value = trial.values[key];
      if (value === null || value === undefined) { pen = "M"; return ""; }
      const step = `${pen}${places[at]},${scales[at].place(value)}`;
      pen = "L";
      return step;
    });
    follow(add(svg, "path", { class: `line ${trial.front ? "front" : ""}`, d: path.join("") }), trial.number);
  }
  keys.forEach((key, at) => {
    add(svg, "line", { class: "axis", x1: places[at], x2: places[at], y1: 50, y2: 290 });
    const parts = short(key).split(".");
    add(svg, "text", { x: places[at], y: 18, "text-anchor": "middle" }, parts.slice(0, -1).join(".") || " ");
    add(svg, "text", { x: places[at], y: 34, "text-anchor": "middle" }, parts[parts.length - 1]);
    for (const [name, y] of scales[at].ticks) add(svg, "text", { x: places[at] + 5, y: y + 4 }, name);
  });
}

function lines(svg, series, up, logarithmic) {
  const points = Object.values(series).flat().filter((point) => point[1] !== null && point[1] !== undefined);
  if (!points.length) return;
  const box = { left: 90, right: 880, top: 30, bottom: 270 };
  const epochs = [...new Set(points.map((point) => point[0]))].sort((a, b) => a - b);
  const x = scale(epochs, box.left, box.right, false);
  x.ticks = epochs.filter((_, at) => at % Math.ceil(epochs.length / 12) === 0).map((epoch) => [String(epoch), x.place(epoch)]);
  const y = scale(points.map((point) => point[1]), box.bottom, box.top, logarithmic);
  frame(svg, x, y, box, "epoch", up);
  const front = new Set(D.trials.filter((t) => t.front).map((t) => t.number));
  for (const [trial, own] of Object.entries(series)) {
    const shown = own.filter((point) => point[1] !== null && point[1] !== undefined).map((point) => [x.place(point[0]), y.place(point[1])]);
    const kind = front.has(Number(trial)) ? "front" : "";
    if (shown.length === 1) follow(add(svg, "circle", { class: `mark ${kind}`, cx: shown[0][0], cy: shown[0][1], r: 3 }), Number(trial));
    else follow(add(svg, "path", { class: `line ${kind}`, d: `M${shown.join("L")}` }), Number(trial));
  }
}

function choices(id, chosen) {
  const select = document.getElementById(id);
  for (const key of new Set(["", ...D.targets, ...D.parameters, ...D.metrics])) {
    const option = document.createElement("option");
    option.value = key;
    option.textContent = key === "" ? "trial" : short(key);
    option.selected = key === chosen;
    select.appendChild(option);
  }
  select.addEventListener("change", scatter);
}

choices("x", D.targets.length > 1 ? D.targets[0] : "");
choices("y", D.targets.length > 1 ? D.targets[1] : D.targets[0]);
if (D.trials.length) {
  scatter();
  parallel();
  lines(document.getElementById("curve"), D.curves, short(D.targets[0]), false);
  const histories = document.getElementById("histories");
  if (histories) {
    for (const [key, series] of Object.entries(D.history)) {
      const svg = add(histories, "svg", { class: "plot", viewBox: "0 0 900 320", role: "img", "aria-label": key });
      lines(svg, series, key, D.logarithmic.includes(key));
    }
  }
  for (const row of document.querySelectorAll("tr[data-trial]")) follow(row, Number(row.dataset.trial));
}
