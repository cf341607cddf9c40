// A regression's passes along the target's axis: dots, mean and spread, interval, plain answer.

import { h, panel, s } from "./dom.js";
import { plain, scale, ticks } from "./format.js";

const TALL = 150;
const LINES = { interval: 24, dots: [42, 98], axis: 122 };

/** The distribution of one target. */
export function createValues() {
  const place = h("div", { class: "distribution" });
  const legend = h("p", { class: "legend" },
    h("span", { class: "key-dot" }, "one pass"),
    h("span", { class: "key-std" }, "mean ± one standard deviation, noise included"),
    h("span", { class: "key-interval" }, "interval"),
    h("span", { class: "key-fixed" }, "dropout off"));
  let shown = null;
  const render = () => {
    if (shown && place.clientWidth) place.replaceChildren(paint(...shown, place.clientWidth));
  };
  new ResizeObserver(render).observe(place);
  const hint = "What each thinned network answers. Dots that lie apart are networks that disagree.";
  return {
    element: panel("Every pass", hint, place, legend),
    show(answer, row, target) {
      shown = [row, target, answer.targets.indexOf(target)];
      render();
    },
  };
}

function paint(row, target, index, width) {
  const [mean, std] = [row.mean[target], row.std[target]];
  const plainly = row.deterministic.mean[target];
  const passes = row.passes.map((pass) => pass[index]);
  const ends = row.interval[target];
  const all = [...passes, mean - std, mean + std, plainly, ...(ends ? [ends.lower, ends.upper] : [])];
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const toX = (value) => 12 + ((width - 24) * (value - least)) / (most - least || 1);
  const [top, bottom] = LINES.dots;
  const middle = (top + bottom) / 2;
  const dots = passes.map((value, t) =>
    `M${toX(value).toFixed(1)} ${(top + (bottom - top) * ((t * 0.618034) % 1)).toFixed(1)}h0`);
  const places = ticks(least, most, width > 420 ? 6 : 3);
  const label = `${passes.length} passes from ${plain(Math.min(...passes))} to `
    + `${plain(Math.max(...passes))}, mean ${plain(mean)}`;
  return s("svg", { width, height: TALL, role: "img", "aria-label": label },
    ends && s("path", { class: "interval", d: `M${toX(ends.lower)} ${LINES.interval - 6}v12m0-6`
      + `H${toX(ends.upper)}m0-6v12` }),
    s("path", { class: "passes", d: dots.join("") }),
    s("path", { class: "spread", d: `M${toX(mean - std)} ${middle}H${toX(mean + std)}` }),
    s("circle", { class: "mean", r: 5, cx: toX(mean), cy: middle }),
    s("path", { class: "fixed", d: `M${toX(plainly)} ${top - 6}V${bottom + 6}` }),
    s("path", { class: "grid", d: `M0 ${LINES.axis}H${width}` }),
    ...scale(places).map((text, i) => s("text",
      { class: "tick", x: toX(places[i]), y: LINES.axis + 18, "text-anchor": "middle" }, text)));
}
