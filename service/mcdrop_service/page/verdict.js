// The two answers side by side, and what they amount to in a sentence.

import { h } from "./dom.js";
import { percent, plain } from "./format.js";
import { describeClass, describeValue } from "./words.js";

function side(kind, title, hint) {
  const value = h("p", { class: "big" }, "–");
  const detail = h("p", { class: "detail" }, "\u00a0");
  const element = h("div", { class: kind }, h("h2", {}, title), value, detail,
    h("p", { class: "hint" }, hint));
  return {
    element,
    show(text, more) {
      value.textContent = text;
      value.dataset.length = text.length > 12 ? "long" : text.length > 3 ? "middle" : "short";
      detail.textContent = more;
    },
  };
}

function frame(show) {
  const mc = side("mc", "With dropout on", "Monte Carlo: many thinned networks answer, each a pass.");
  const fixed = side("fixed", "With dropout off", "Deterministic: the whole network answers, once.");
  const sentence = h("p", { class: "sentence" }, "\u00a0");
  const element = h("section", { class: "verdict", "aria-label": "The answer" },
    h("div", { class: "sides" }, mc.element, fixed.element), sentence);
  return { element, show: (...args) => { sentence.textContent = show(mc, fixed, ...args); } };
}

/** The verdict of a classification. */
export const createClassVerdict = () => frame((mc, fixed, answer, row) => {
  const plainly = row.deterministic;
  const [mean, std] = [row.probabilities[row.prediction], row.std[row.prediction]];
  mc.show(row.prediction, `${percent(mean)} ± ${(100 * std).toFixed(1)}`);
  fixed.show(plainly.prediction, percent(plainly.probabilities[plainly.prediction]));
  return describeClass(answer, row);
});

/** The verdict of a regression, for one target. */
export const createValueVerdict = () => frame((mc, fixed, answer, row, target) => {
  mc.show(plain(row.mean[target]), `± ${plain(row.std[target], 3)}`);
  fixed.show(plain(row.deterministic.mean[target]), "no spread");
  return describeValue(answer, row, target);
});
