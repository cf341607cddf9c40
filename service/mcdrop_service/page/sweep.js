// The same row many times over, with one thing changed: an angle, or a column. One request.

import { predict } from "./api.js";
import { createChart } from "./chart.js";
import { h, panel } from "./dom.js";
import { fixed, plain } from "./format.js";

/** The panel; `read(answer)` gives the chart's lines, `input` the rows. */
export function createSweep(input, hint, read) {
  const chart = createChart();
  const head = input.chooser ? h("p", { class: "chooser" }, input.chooser) : null;
  const element = panel(input.sweepTitle, hint, head, chart.element);

  async function follow(body, signal) {
    const { body: rows, ...place } = input.sweep();
    const answer = await predict({ ...body, ...rows }, signal);
    chart.draw({ ...place, x: place.at, unit: input.sweepUnit, ...read(answer, place.at) });
  }
  return { element, follow };
}

/** Confidence as a line from 0 to 1, predictions along the bottom. */
export function readClasses(answer, at) {
  const rows = answer.predictions;
  const y = rows.map((row) => row.confidence);
  const [least, most] = [Math.min(...y), Math.max(...y)];
  return {
    y,
    range: [0, 1],
    runs: rows.map((row) => row.prediction),
    label: `Confidence is highest, ${fixed(most, 2)}, at ${plain(at[y.indexOf(most)])}, and lowest, `
      + `${fixed(least, 2)}, at ${plain(at[y.indexOf(least)])}`,
  };
}

/** The mean with its band of one standard deviation, and the plain answer as a thin line. */
export const readValues = (target) => (answer) => {
  const rows = answer.predictions.map((row) => [row.mean[target()], row.std[target()]]);
  const y = rows.map(([mean]) => mean);
  return {
    y,
    band: rows.map(([mean, std]) => [mean - std, mean + std]),
    other: answer.predictions.map((row) => row.deterministic.mean[target()]),
    label: `${target()} from ${plain(Math.min(...y))} to ${plain(Math.max(...y))}`,
  };
};
