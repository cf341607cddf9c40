// Labeled inputs: a slider with its value beside it, a field of numbers.

import { fresh, h } from "./dom.js";

/** A slider; `show` turns its value into words, `change` is called with it. */
export function slider({ label, min, max, step, value, show }, change) {
  const id = fresh("slider");
  const output = h("output", { for: id }, show(value));
  const input = h("input", {
    id, type: "range", min, max, step, value, "aria-valuetext": show(value),
    oninput: () => {
      set(input.valueAsNumber);
      change(input.valueAsNumber);
    },
  });
  function set(now) {
    input.value = now;
    output.textContent = show(now);
    input.setAttribute("aria-valuetext", show(now));
  }
  const element = h("div", { class: "slider" }, h("label", { for: id }, label), output, input);
  return { element, set };
}

/** A field for a number, with a line that says what it is; `change` is called with valid ones. */
export function field({ label, hint, ...attributes }, change) {
  const id = fresh("field");
  const input = h("input", {
    id, type: "number", "aria-describedby": `${id}-hint`, ...attributes,
    oninput: () => {
      input.setAttribute("aria-invalid", String(!input.checkValidity()));
      if (input.checkValidity()) change(input.valueAsNumber);
    },
  });
  return h("div", { class: "field" },
    h("label", { for: id }, label), input, h("small", { id: `${id}-hint` }, hint));
}
