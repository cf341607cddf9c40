// The input of a model of long rows of plain numbers: a field for them all.

import { fresh, h } from "./dom.js";
import { rough, short } from "./format.js";

/** A field for a row of `size` numbers; `change` is called when it holds so many. */
export function createNumbersInput(size, { minimum, maximum }, change) {
  let row = new Array(size).fill(rough((minimum + maximum) / 2));
  const id = fresh("numbers");
  const note = h("small", { id: `${id}-note` },
    `${size} numbers, ${short(minimum)} to ${short(maximum)} in training`);
  const area = h("textarea", {
    id, rows: 8, spellcheck: "false", "aria-describedby": `${id}-note`,
    oninput: () => {
      const found = area.value.split(/[\s,;[\]]+/).filter(Boolean).map(Number);
      const fits = found.length === size && found.every(Number.isFinite);
      note.textContent = fits ? `${size} numbers` : `${found.length} numbers, ${size} are wanted`;
      area.setAttribute("aria-invalid", String(!fits));
      if (!fits) return;
      row = found;
      change();
    },
  });
  area.value = row.join(", ");
  const element = h("div", { class: "column" }, h("label", { for: id }, "The row"), area, note);
  return { element, row: () => ({ inputs: [row] }), sweepTitle: null };
}
