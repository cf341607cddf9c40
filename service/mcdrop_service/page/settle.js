// How the estimate settles: the stream's answers after 8, 16, 32 ... passes, with their error.

import { stream } from "./api.js";
import { createChart } from "./chart.js";
import { panel } from "./dom.js";
import { plain } from "./format.js";

const MOST = 1024; // passes streamed, where fewer were asked for: to show what more would bring
const SIGMAS = 2; // half the band, in standard errors

/**
 * The panel; `what` is followed, of which `pick(answer)` gives { name, mean, error }.
 *
 * The band ends at `least` and `most`, beyond which nothing can be.
 */
export function createSettle(what, pick, least = -Infinity, most = Infinity) {
  const chart = createChart();
  const hint = `${what} after 8, 16, 32 … passes, give or take two standard errors.`;
  const element = panel("How it settles", hint, chart.element);

  async function follow(body, signal) {
    const points = [];
    const samples = Math.max(MOST, body.samples ?? 0);
    for await (const answer of stream({ ...body, samples }, signal)) {
      points.push({ samples: answer.samples, ...pick(answer) });
      show(points, body.samples);
    }
  }
  const within = (value) => Math.min(most, Math.max(least, value));
  function show(points, asked) {
    const y = points.map((point) => point.mean);
    const { name, mean, error } = points.at(-1);
    chart.draw({
      x: points.map((point) => point.samples),
      y,
      band: points.map((p) => [p.mean - SIGMAS * p.error, p.mean + SIGMAS * p.error].map(within)),
      here: asked,
      log: true,
      xTicks: points.map((point) => point.samples),
      unit: "",
      label: `${name} after ${points.at(-1).samples} passes: ${plain(mean)}, `
        + `standard error ${plain(error, 2)}`,
    });
  }
  return { element, follow };
}
