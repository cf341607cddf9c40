// The parts an answer is shown in: those of a classification, or those of a regression.

import { createClasses } from "./classes.js";
import { h } from "./dom.js";
import { plain } from "./format.js";
import { createClassFacts, createValueFacts } from "./facts.js";
import { createSettle } from "./settle.js";
import { createClassSplit, createValueSplit } from "./split.js";
import { createSweep, readClasses, readValues } from "./sweep.js";
import { createValues } from "./values.js";
import { createClassVerdict, createValueVerdict } from "./verdict.js";
import { speakClass, speakValue } from "./words.js";

/**
 * The view for `model`: { elements, show(answer), followers, glance(), spoken() }.
 *
 * `change` is called where the view itself asks for another answer.
 */
export const createView = (model, input, change) =>
  (model.task === "classification" ? viewClasses : viewValues)(model, input, change);

function viewClasses(model, input) {
  const parts = [createClassVerdict(), createClassFacts(), createClasses(model), createClassSplit()];
  let row = null;
  const settle = createSettle("The probability of the class", (answer) => {
    const [now] = answer.predictions;
    const name = row.prediction;
    return { name, mean: now.probabilities[name], error: now.mc_error[name] };
  }, 0, 1);
  const sweep = input.sweepTitle && createSweep(input,
    "Confidence, and the class that is predicted. The upright line is where you are.", readClasses);
  return {
    elements: arrange(parts, settle, sweep),
    followers: followers(settle, sweep),
    show(answer) {
      [row] = answer.predictions;
      parts.forEach((part) => part.show(answer, row));
    },
    glance: () => [row.prediction, `confidence ${row.confidence.toFixed(2)}`],
    spoken: () => speakClass(row),
  };
}

function viewValues(model, input, change) {
  const parts = [createValueVerdict(), createValueFacts(), createValues(), createValueSplit()];
  let [target, last] = [model.targets[0], null];
  const settle = createSettle("The mean", (answer) => {
    const [row] = answer.predictions;
    return { name: target, mean: row.mean[target], error: row.mc_error[target] };
  });
  const sweep = input.sweepTitle && createSweep(input,
    "The answer ± one standard deviation; the thin line is the answer with dropout off.",
    readValues(() => target));
  const select = h("select", { "aria-label": "Target", onchange: () => {
    target = select.value;
    change();
  } }, ...model.targets.map((name) => h("option", {}, name)));
  const chooser = model.targets.length > 1 ? [h("p", { class: "chooser" }, "Target ", select)] : [];
  return {
    elements: [...chooser, ...arrange(parts, settle, sweep)],
    followers: followers(settle, sweep),
    show(answer) {
      last = answer.predictions[0];
      parts.forEach((part) => part.show(answer, last, target));
    },
    glance: () => [plain(last.mean[target]), `± ${plain(last.std[target], 3)}`],
    spoken: () => speakValue(last, target),
  };
}

/** Verdict, facts and passes in full width; the rest side by side where there is room. */
function arrange(parts, settle, sweep) {
  const [verdict, facts, passes, split] = parts.map((part) => part.element);
  const beside = h("div", { class: "beside" }, split, settle.element);
  return [verdict, facts, passes, ...(sweep ? [sweep.element] : []), beside];
}

/** What follows once the row rests: the row for the stream, its variants for the sweep. */
const followers = (settle, sweep) => [
  { follow: (asked, row, signal) => settle.follow({ ...asked, ...row }, signal) },
  ...(sweep ? [{ follow: (asked, row, signal) => sweep.follow(asked, signal) }] : []),
];
