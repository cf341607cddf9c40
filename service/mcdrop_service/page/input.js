// Which kind of input a model takes: a picture, a form of columns, or a long row of numbers.

import { createFormInput } from "./form-input.js";
import { createNumbersInput } from "./numbers-input.js";
import { sizeOf } from "./picture.js";
import { createPictureInput } from "./picture-input.js";

const FIELDS = 24; // most numbers that a form is made for

/** The input for `model`: { element, row(), sweep(), sweepTitle, sweepUnit, chooser? }. */
export function createInput(model, examples, change, say) {
  if (model.columns) return createFormInput(model.columns, (records) => ({ records }), change);
  const picture = sizeOf(model.shape);
  if (picture) return createPictureInput(model, picture, examples, change, say);
  const size = model.shape.reduce((product, length) => product * length, 1);
  if (size > FIELDS) return createNumbersInput(size, model, change);
  const { minimum, maximum } = model;
  const columns = Array.from({ length: size }, (_, i) => ({
    name: size > 1 ? `x${i + 1}` : "x",
    kind: "number",
    minimum,
    maximum,
    mean: (minimum + maximum) / 2,
  }));
  const pack = (records) => ({
    inputs: records.map((record) => columns.map((column) => record[column.name] ?? column.mean)),
  });
  return createFormInput(columns, pack, change);
}
