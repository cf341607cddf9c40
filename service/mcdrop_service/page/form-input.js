// The input of a model of columns: a form made from what the model says of itself.

import { fresh, h } from "./dom.js";
import { short } from "./format.js";

const STEPS = 40; // of the sweep over a column's range
const MISSING = "\u0000";
const OTHER = "\u0001";

/**
 * The input for `columns`; `change` is called when the row does.
 *
 * `pack(records)` is the part of a request's body that holds them.
 */
export function createFormInput(columns, pack, change) {
  const record = Object.fromEntries(columns.map((column) => [column.name, beginning(column)]));
  const set = (name, value) => {
    record[name] = value;
    change();
  };
  const element = h("div", { class: "form" }, ...columns.map((column) =>
    column.kind === "number" ? number(column, record, set) : category(column, record, set)));
  const numeric = columns.filter((column) => column.kind === "number");
  let swept = numeric[0];
  const chooser = numeric.length > 1
    ? h("select", { "aria-label": "Column that changes", onchange: () => {
      swept = numeric[chooser.selectedIndex];
      change();
    } }, ...numeric.map((column) => h("option", {}, column.name)))
    : null;

  return {
    element,
    row: () => pack([{ ...record }]),
    sweep() {
      const { name, minimum, maximum } = swept;
      const margin = 0.15 * (maximum - minimum); // beyond what training rows spanned
      const step = (maximum - minimum + 2 * margin) / STEPS;
      const at = Array.from({ length: STEPS + 1 }, (_, i) => minimum - margin + step * i);
      const records = at.map((value) => ({ ...record, [name]: value }));
      return { at, here: record[name], body: pack(records), span: [minimum, maximum] };
    },
    sweepTitle: numeric.length ? `As ${numeric.length > 1 ? "a column" : swept.name} changes` : null,
    sweepUnit: "",
    chooser,
  };
}

function beginning(column) {
  return column.kind === "number" ? round(column.mean, column) : column.categories[0];
}

/** A step of about a hundredth of the range, round in decimals. */
const stepOf = ({ minimum, maximum }) => 10 ** Math.floor(Math.log10((maximum - minimum) / 40));

const round = (value, column) => {
  const step = stepOf(column);
  return +(Math.round(value / step) * step).toPrecision(12);
};

/** A slider over the column's range, and a field for any number, or none: missing. */
function number(column, record, set) {
  const { name, minimum, maximum } = column;
  const id = fresh("column");
  const step = stepOf(column);
  const range = h("input", {
    type: "range", min: round(minimum, column), max: round(maximum, column), step,
    value: record[name], "aria-label": `${name}, slider`,
    oninput: () => {
      field.value = range.value;
      set(name, range.valueAsNumber);
    },
  });
  const field = h("input", {
    type: "number", id, step: "any", value: record[name], placeholder: "missing",
    "aria-describedby": `${id}-hint`,
    oninput: () => {
      if (field.validity.badInput) return;
      if (field.value !== "") range.value = field.value;
      set(name, field.value === "" ? null : field.valueAsNumber);
    },
  });
  return h("div", { class: "column" }, h("label", { for: id }, name), field, range,
    h("small", { id: `${id}-hint` }, `${short(minimum)} to ${short(maximum)} in training`));
}

/** The labels training knew, any other, or none. */
function category(column, record, set) {
  const id = fresh("column");
  const select = h("select", { id, onchange: () => {
    const { value } = select;
    set(column.name, value === MISSING ? null : value === OTHER ? "(unknown to the model)" : value);
  } },
  ...column.categories.map((label) => h("option", { value: label }, label)),
  h("option", { value: OTHER }, "any other"),
  h("option", { value: MISSING }, "missing"));
  return h("div", { class: "column" }, h("label", { for: id }, column.name), select);
}
