// Every class as a bar: its mean probability, its spread, every pass as a dot, the plain answer.

import { h, panel, s } from "./dom.js";
import { percent } from "./format.js";

const MOST = 12; // classes shown; of more, the most probable
const WIDE = 1000; // the drawing's own units: it is stretched to its place
const TALL = 24;

/** The bars for `model`'s classes. */
export function createClasses(model) {
  const rows = model.classes.slice(0, MOST).map(createRow);
  const body = h("ol", { class: "classes" }, ...rows.map((row) => row.element));
  const legend = h("p", { class: "legend" },
    h("span", { class: "key-mean" }, "mean of the passes"),
    h("span", { class: "key-dot" }, "one pass"),
    h("span", { class: "key-std" }, "spread: ± one standard deviation"),
    h("span", { class: "key-fixed" }, "dropout off"));
  const hint = "How probable each class is. Dots that lie apart are networks that disagree.";
  return {
    element: panel("Every class, every pass", hint, body, legend),
    show(answer, row) {
      const order = model.classes.map((_, i) => i);
      if (order.length > MOST) {
        order.sort((a, b) => row.probabilities[model.classes[b]] - row.probabilities[model.classes[a]]);
      }
      rows.forEach((one, i) => one.show(model.classes[order[i]], order[i], row));
    },
  };
}

function createRow() {
  const name = h("span", { class: "name" });
  const value = h("span", { class: "value" });
  const bar = s("rect", { class: "bar", x: 0, y: 3, height: TALL - 6 });
  const dots = s("path", { class: "passes" });
  const spread = s("path", { class: "spread" });
  const plain = s("path", { class: "fixed" });
  const drawing = s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, preserveAspectRatio: "none",
    "aria-hidden": "true" }, bar, dots, spread, plain);
  const element = h("li", {}, name, drawing, value);

  function show(label, index, row) {
    const [mean, std] = [row.probabilities[label], row.std[label]];
    const fixed = row.deterministic.probabilities[label];
    name.textContent = label;
    value.textContent = `${percent(mean)} ± ${(100 * std).toFixed(1)}`;
    element.classList.toggle("chosen", label === row.prediction);
    element.title = `${label}: ${percent(mean)} ± ${percent(std)}; with dropout off ${percent(fixed)}`;
    bar.setAttribute("width", WIDE * mean);
    const ends = [Math.max(0, mean - std), Math.min(1, mean + std)].map((p) => WIDE * p);
    spread.setAttribute("d", `M${ends[0]} ${TALL / 2}H${ends[1]}`);
    plain.classList.toggle("faint", fixed < 0.005); // it would only thicken the axis
    plain.setAttribute("d", `M${WIDE * fixed} 1V${TALL - 1}`);
    dots.setAttribute("d", row.passes.map((pass, t) => dot(pass[index], t)).join(""));
  }
  return { element, show };
}

/** A line of no length, which round caps make a dot; spread over the height by the golden ratio. */
const dot = (probability, t) =>
  `M${(WIDE * probability).toFixed(1)} ${(4 + (TALL - 8) * ((t * 0.618034) % 1)).toFixed(1)}h0`;
