// The few numbers that matter, each with its meaning in a line beneath.

import { h } from "./dom.js";
import { list, percent, plain, share } from "./format.js";
import { describeAbstention, describeNovelty, describeSet } from "./words.js";

function fact(title, metered = false) {
  const value = h("p", { class: "number" }, "–");
  const bar = metered ? h("div", { class: "meter", "aria-hidden": "true" }, h("i")) : null;
  const hint = h("p", { class: "hint" }, "\u00a0");
  const element = h("div", { class: "fact" }, h("h2", {}, title), value, bar, hint);
  return {
    element,
    show(text, meaning, part) {
      value.textContent = text;
      value.dataset.length = text.length > 18 ? "long" : text.length > 10 ? "middle" : "short";
      hint.textContent = meaning;
      if (bar) bar.firstChild.style.transform = `scaleX(${part})`;
    },
  };
}

const frame = (facts) => h("section", { class: "facts", "aria-label": "How far to trust it" },
  ...facts.map((one) => one.element));

/** The facts of a classification. */
export function createClassFacts() {
  const facts = [
    fact("Confidence", true), fact("Novelty", true), fact("Prediction set"), fact("Decision")];
  const [confidence, novelty, set, decision] = facts;
  return {
    element: frame(facts),
    show(answer, row) {
      confidence.show(row.confidence.toFixed(3), "1 is certain, 0 is no idea at all.", row.confidence);
      novelty.show(percent(row.novelty, 0), describeNovelty(row), row.novelty);
      set.show(list(row.prediction_set, "or") || "none", describeSet(answer, row));
      decision.show(row.abstain ? "Abstains" : "Answers", describeAbstention(answer, row));
      decision.element.classList.toggle("abstains", row.abstain);
    },
  };
}

/** The facts of a regression, for one target. */
export function createValueFacts() {
  const facts = [fact("Confidence", true), fact("Novelty", true), fact("Interval")];
  const [confidence, novelty, interval] = facts;
  return {
    element: frame(facts),
    show(answer, row, target) {
      const ends = row.interval[target];
      const sure = row.confidence[target];
      confidence.show(sure.toFixed(3),
        "1 is certain; 0 knows no more than the spread of all training targets.", sure);
      novelty.show(percent(row.novelty, 0), describeNovelty(row), row.novelty);
      interval.show(ends ? `${plain(ends.lower)} to ${plain(ends.upper)}` : "none",
        `For rows like the known ones, intervals hold the truth ${share(answer.level)} of the time.`);
    },
  };
}
