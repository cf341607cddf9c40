// A small line chart in SVG, drawn at the size it has: text stays text on every screen.

import { h, s } from "./dom.js";
import { scale, ticks } from "./format.js";

const HEIGHT = 190;
const EDGE = { left: 48, right: 20, top: 10 };
const LETTER = 8; // pixels a letter takes at most

/**
 * A chart with a place of its own, to be filled by `draw`:
 * { x, y, band?, other?, here?, span?, xTicks?, unit, runs?, range?, log?, label }.
 *
 * x: places; y: the line; band: [low, high] of each place; other: a second, thin line;
 * here: the place that is marked; span: places outside it are shaded; runs: words along the
 * bottom, one a place, each said once while it lasts; range: least [low, high] of the y axis.
 */
export function createChart() {
  const element = h("div", { class: "chart" });
  let data = null;
  const render = () => {
    if (data && element.clientWidth) element.replaceChildren(paint(data, element.clientWidth));
  };
  new ResizeObserver(render).observe(element);
  return {
    element,
    draw(now) {
      data = now;
      render();
    },
  };
}

function paint(data, width) {
  const { x, y, band, other, here, span } = data;
  const [low, high] = ends(data);
  const levels = ticks(low, high, 3);
  const names = scale(levels);
  const left = Math.max(EDGE.left, 8 + LETTER * Math.max(...names.map((name) => name.length)));
  const [toX, toY] = scales(data, left, width, low, high);
  const floor = bottom(data);
  const line = (values) => values.map((v, i) => `${i ? "L" : "M"}${toX(x[i])} ${toY(v)}`).join("");
  const parts = [];
  if (span) {
    const [from, to] = span.map(toX);
    const shade = (start, end) => s("rect", { class: "beyond", x: start, y: EDGE.top,
      width: Math.max(0, end - start), height: floor - EDGE.top });
    parts.push(shade(left, from), shade(to, width - EDGE.right));
  }
  names.forEach((name, i) => {
    const at = toY(levels[i]);
    parts.push(s("line", { class: "grid", x1: left, x2: width - EDGE.right, y1: at, y2: at }),
      text(left - 8, at + 4, name, "end"));
  });
  const places = data.xTicks ?? ticks(x[0], x.at(-1), width > 420 ? 6 : 4);
  scale(places).forEach((label, i) =>
    parts.push(text(toX(places[i]), HEIGHT - 6, label + data.unit, "middle")));
  if (band) {
    const edge = (side) => band.map((ends, i) => `${toX(x[i])} ${toY(ends[side])}`);
    parts.push(s("path", { class: "band", d: `M${[...edge(0), ...edge(1).reverse()].join("L")}Z` }));
  }
  if (other) parts.push(s("path", { class: "other", d: line(other) }));
  parts.push(s("path", { class: "line", d: line(y) }));
  if (y.length < 20) {
    y.forEach((value, i) => parts.push(s("circle", { class: "dot", r: 3, cx: toX(x[i]), cy: toY(value) })));
  }
  if (here != null && here >= x[0] && here <= x.at(-1)) {
    parts.push(s("line", { class: "here", x1: toX(here), x2: toX(here), y1: EDGE.top, y2: floor }));
  }
  if (data.runs) parts.push(...runs(data.runs, x, toX, floor + 15));
  const about = { width, height: HEIGHT, role: "img", "aria-label": data.label };
  return s("svg", about, ...parts);
}

/** Where the chart ends and its words begin. */
const bottom = (data) => HEIGHT - (data.runs ? 42 : 26);

/** The ends of the y axis. */
function ends({ y, band, other, range }) {
  const values = [...y, ...(other ?? []), ...(band ?? []).flat(), ...(range ?? [])];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) return [low - 1, high + 1];
  const margin = range ? 0 : 0.05 * (high - low);
  return [low - margin, high + margin];
}

/** From values to pixels. */
function scales(data, left, width, low, high) {
  const place = data.log ? Math.log : (value) => value;
  const [first, last] = [place(data.x[0]), place(data.x.at(-1))];
  const across = width - left - EDGE.right;
  const tall = bottom(data) - EDGE.top;
  const toX = (value) => round(left + (across * (place(value) - first)) / (last - first || 1));
  const toY = (value) => round(EDGE.top + (tall * (high - value)) / (high - low));
  return [toX, toY];
}

/** Each stretch of one word: the word in its middle where there is room, a line between two. */
function runs(words, x, toX, y) {
  const parts = [];
  let start = 0;
  for (let i = 1; i <= words.length; i += 1) {
    if (words[i] === words[start]) continue;
    const from = toX(start ? (x[start - 1] + x[start]) / 2 : x[0]);
    const to = toX(i < words.length ? (x[i - 1] + x[i]) / 2 : x.at(-1));
    if (start) parts.push(s("line", { class: "part", x1: from, x2: from, y1: y - 11, y2: y + 3 }));
    if (to - from > 7 * words[start].length) {
      parts.push(text((from + to) / 2, y, words[start], "middle", "run"));
    }
    start = i;
  }
  return parts;
}

const text = (x, y, content, anchor, kind = "tick") =>
  s("text", { x, y, "text-anchor": anchor, class: kind }, content);

const round = (pixels) => Math.round(pixels * 10) / 10;
