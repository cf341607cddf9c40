// A small line chart in SVG, drawn at the size it has: text stays text on every screen.

import { h, s } from "./dom.js";
import { scale, ticks } from "./format.js";

const HEIGHT = 190;
const EDGE = { left: 48, right: 20, top: 10 };

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
  const [toX, toY, low, high] = scales(data, width);
  const floor = bottom(data);
  const line = (values) => values.map((v, i) => `${i ? "L" : "M"}${toX(x[i])} ${toY(v)}`).join("");
  const parts = [];
  if (span) {
    const [from, to] = span.map(toX);
    const shade = (start, end) => s("rect", { class: "beyond", x: start, y: EDGE.top,
      width: Math.max(0, end - start), height: floor - EDGE.top });
    parts.push(shade(EDGE.left, from), shade(to, width - EDGE.right));
  }
  const levels = ticks(low, high, 3);
  scale(levels).forEach((label, i) => {
    const at = toY(levels[i]);
    parts.push(s("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: at, y2: at }),
      text(EDGE.left - 8, at + 4, label, "end"));
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

/** From values to pixels, and the ends of the y axis. */
function scales(data, width) {
  const { x, y, band, other, range, log } = data;
  const values = [...y, ...(other ?? []), ...(band ?? []).flat(), ...(range ?? [])];
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (!range) [low, high] = [low - 0.05 * (high - low), high + 0.05 * (high - low)];
  if (low === high) [low, high] = [low - 1, high + 1];
  const place = log ? Math.log : (value) => value;
  const [first, last] = [place(x[0]), place(x.at(-1))];
  const across = width - EDGE.left - EDGE.right;
  const tall = bottom(data) - EDGE.top;
  const toX = (value) => round(EDGE.left + (across * (place(value) - first)) / (last - first || 1));
  const toY = (value) => round(EDGE.top + (tall * (high - value)) / (high - low));
  return [toX, toY, low, high];
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
