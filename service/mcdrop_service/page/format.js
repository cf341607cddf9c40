// Numbers as people read them. The API's numbers go in unrounded.

/** A share in [0, 1] as percent: "87.1 %". */
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;

/** A share that was asked for, without needless zeros: "90 %". */
export const share = (value) => `${+(100 * value).toFixed(3)}\u00a0%`;

/** A number of unknown size, to a few significant digits, never in vain precision. */
export function plain(value, digits = 4) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    return value.toExponential(digits - 1).replaceAll("-", "−").replace("+", "");
  }
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return fixed(value, Math.min(places, 8));
}

/** An entropy; what is next to nothing is not worth a digit. */
export const nats = (value) => (value < 1e-4 ? "< 0.0001" : plain(value, 3));

/** A number without needless zeros or digits. */
export const short = (value) => group(value, { maximumSignificantDigits: 4 });

/** A number at `digits` places, with a proper minus sign. */
export const fixed = (value, digits) =>
  group(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** As people write large numbers, 12,345 but 2024, and zero without a sign. */
const group = (value, options) => value.toLocaleString("en", {
  useGrouping: "min2", signDisplay: "negative", ...options }).replace("-", "−");

/** `value` at the precision that a person would type it. */
export const rough = (value) => +value.toPrecision(4);

/** "a", "a and b", "a, b and c". */
export function list(words, last = "and") {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

/** `values` at equal steps, each with as many decimals as the step takes. */
export function scale(values) {
  const step = values.length > 1 ? values[1] - values[0] : values[0] || 1;
  const size = Math.max(...values.map(Math.abs));
  if (size >= 1e6 || Math.abs(step) < 1e-5) return values.map((value) => plain(value, 3));
  const places = [0, 1, 2, 3, 4, 5, 6].find((n) => Math.abs(step - +step.toFixed(n)) < 1e-9) ?? 6;
  return values.map((value) => fixed(value, places));
}

/** About `count` round numbers from `low` to `high`. */
export function ticks(low, high, count = 4) {
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    found.push(+(i * step).toPrecision(12));
  }
  return found;
}
