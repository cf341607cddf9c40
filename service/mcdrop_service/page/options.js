// How to ask: passes, seed, level and risk.

import { h } from "./dom.js";
import { field } from "./sliders.js";

/** The fields for `model`, and the part of a request's body they stand for. */
export function createOptions(model, change) {
  const chosen = { samples: model.samples, seed: 0 };
  const set = (name) => (value) => {
    if (Number.isNaN(value)) delete chosen[name]; // an emptied field: the model's own
    else chosen[name] = value;
    change();
  };
  const share = { min: 0.01, max: 0.99, step: "any" };
  const fields = [
    field({ label: "Passes", hint: "T: more are steadier", min: 1, max: 1000, step: 1,
      placeholder: model.samples, value: model.samples }, set("samples")),
    field({ label: "Seed", hint: "draws the passes", min: 0, max: 2 ** 31, step: 1,
      placeholder: 0, value: 0 }, set("seed")),
    field({ label: "Level", hint: "how often to hold the truth", ...share }, set("level")),
  ];
  if (model.task === "classification") {
    fields.push(field({ label: "Risk", hint: "errors to put up with", ...share }, set("risk")));
  }
  const element = h("div", { class: "options" }, ...fields);
  return {
    element,
    body: () => ({ ...chosen }),
    /** Show the model's own level and risk, as `answer` repeats them, where none is chosen. */
    learn(answer) {
      ["level", "risk"].forEach((name, i) => {
        if (name in answer) fields[2 + i].querySelector("input").placeholder = answer[name];
      });
    },
  };
}
