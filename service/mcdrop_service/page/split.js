// Uncertainty in two parts: what lies in the input, and what the model does not know.

import { h, panel } from "./dom.js";
import { nats, plain } from "./format.js";

function part(kind, name, meaning) {
  const value = h("b", {}, "–");
  const element = h("div", { class: kind }, h("dt", {}, name), h("dd", {}, value, h("small", {}, meaning)));
  return { element, value };
}

/** The panel; `word` turns a size into text. */
function create(hint, data, model, word) {
  const parts = [part("aleatoric", "Aleatoric", data), part("epistemic", "Epistemic", model)];
  const bars = parts.map(() => h("i"));
  const whole = h("p", { class: "whole" }, "\u00a0");
  const element = panel("Why it is unsure", hint,
    h("div", { class: "split", "aria-hidden": "true" }, ...bars), whole,
    h("dl", { class: "parts" }, ...parts.map((one) => one.element)));
  return {
    element,
    /** Show two sizes of `most`, and what they add up to. */
    show(sizes, most, text) {
      sizes.forEach((size, i) => {
        bars[i].style.width = `${(100 * Math.max(0, size)) / most}%`;
        parts[i].value.textContent = word(size);
      });
      whole.textContent = text;
    },
  };
}

/** The split of a classification: entropies in nats, of at most log C. */
export function createClassSplit() {
  const view = create(
    "Doubt in the input stays, however much is learned; doubt in the model is what learning removes.",
    "Each pass by itself is unsure: the input is ambiguous.",
    "The passes disagree: the model has not seen the like.",
    nats,
  );
  return {
    element: view.element,
    show(answer, row) {
      const most = Math.log(answer.classes.length);
      const text = `${nats(row.total)} nats in all, of ${nats(most)} at most`;
      view.show([row.aleatoric, row.epistemic], most, text);
    },
  };
}

/** The split of a regression: variances, in the target's unit squared. */
export function createValueSplit() {
  const view = create(
    "Doubt in the data stays, however much is learned; doubt in the model is what learning removes.",
    "Variance of the noise around the best answer.",
    "Variance of the passes: the model has not seen the like.",
    (variance) => plain(variance, 3),
  );
  return {
    element: view.element,
    show(answer, row, target) {
      const [data, model, total] = [row.aleatoric, row.epistemic, row.total].map((by) => by[target]);
      view.show([data, model], total || 1, `variance ${plain(total, 3)} in all`);
    },
  };
}
