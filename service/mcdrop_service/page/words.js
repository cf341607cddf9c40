// What an answer says, as a sentence a newcomer understands.

import { list, percent, plain, share } from "./format.js";

/** The whole of a classification in two or three sentences. */
export function describeClass(answer, row) {
  const votes = row.passes.filter((pass) => answer.classes[highest(pass)] === row.prediction).length;
  const all = row.passes.length;
  const said = votes === all
    ? `All ${all} thinned networks say ${row.prediction}.`
    : `${votes} of ${all} thinned networks say ${row.prediction}.`;
  const fixed = row.agrees
    ? "So does the whole network."
    : `The whole network says ${row.deterministic.prediction}.`;
  return `${said} ${fixed} ${describeDoubt(row)}`;
}

/** Where the doubt comes from, if there is any to speak of. */
function describeDoubt({ confidence, aleatoric, epistemic, unknown }) {
  if (unknown.length) return "But they cannot know what training never met.";
  if (confidence > 0.9) return "There is little doubt.";
  if (epistemic > aleatoric) return "Most of the doubt is the model's: it has not seen the like.";
  if (epistemic > 0.5 * aleatoric) return "Both the input and the model give cause for doubt.";
  return "Most of the doubt lies in the input: each network by itself is unsure.";
}

/** Whether the model would rather not answer, and what that means. */
export function describeAbstention(answer, row) {
  const risk = share(answer.risk);
  if (row.unknown.length) return "What training never met cannot be judged.";
  return row.abstain
    ? `Answering when this unsure would let errors exceed ${risk}.`
    : `Of its answers to rows like the known ones, at most ${risk} are wrong.`;
}

/** The conformal set. */
export function describeSet(answer, row) {
  const level = share(answer.level);
  return row.prediction_set.length
    ? `For rows like the known ones, sets hold the truth ${level} of the time.`
    : `No class is likely enough: ${level} of sets hold the truth without this one.`;
}

/** How new the row is. */
export const describeNovelty = (row) =>
  row.unknown.length
    ? `Training never met such a value of ${list(row.unknown)}.`
    : `The passes disagree more than on ${percent(row.novelty, 0)} of known rows.`;

/** The whole of a regression, for one target. */
export function describeValue(answer, row, target) {
  const ends = row.interval[target];
  const [data, model] = [row.aleatoric[target], row.epistemic[target]];
  const held = ends
    ? `With ${share(answer.level)} probability, the true value lies between ${plain(ends.lower)} `
      + `and ${plain(ends.upper)}.`
    : `There are too few calibration rows for an interval at ${share(answer.level)}.`;
  if (row.unknown.length) return "Training never met such a row: nothing here is to be trusted.";
  const from = model > data
    ? "Most of the doubt is the model's: it has not seen the like."
    : "Most of the doubt is noise in the data, which more data would not remove.";
  return `${held} ${from}`;
}

/** What a screen reader is told of an answer. */
export const speakClass = (row) =>
  `${row.prediction}, confidence ${row.confidence.toFixed(2)}, `
  + `${row.abstain ? "abstains" : "answers"}, set ${list(row.prediction_set) || "empty"}`;

/** The same, of a regression. */
export const speakValue = (row, target) =>
  `${target} ${plain(row.mean[target])}, plus or minus ${plain(row.std[target])}`;

const highest = (values) => values.indexOf(Math.max(...values));
