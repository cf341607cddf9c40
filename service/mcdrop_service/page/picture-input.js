// The input of a model of pictures: a sample, an upload or a drawing, then turned, noisy, hidden.

import { h } from "./dom.js";
import { fixed, share } from "./format.js";
import { createPad, paint } from "./pad.js";
import * as pictures from "./picture.js";
import { slider } from "./sliders.js";
import { readUpload } from "./upload.js";

const NUMBERS = 5e5; // about as many as the sweep sends at most: some megabytes
const BRUSH = 0.055; // radius, as a share of the picture's size
const COLOR = "#ff9500"; // to begin with, where there are colors
const HELP = "Draw here with a finger, a mouse or the keyboard, or upload a picture.";

/**
 * The input for `model`, whose rows are pictures of `size`, with `examples` to begin from.
 *
 * `change` is called when the row does.
 */
export function createPictureInput(model, size, examples, change, say) {
  const { width, height, channels } = size;
  const room = Math.max(1, Math.round(256 / Math.max(width, height)));
  const effects = { angle: 0, noise: 0, hidden: 0 };
  let source = pictures.blank(size);
  let color = channels > 1 ? parse(COLOR) : [1];

  const apply = (angle) => pictures.hide(
    pictures.addNoise(pictures.resample(source, size, angle), effects.noise),
    effects.hidden,
  );
  const pad = createPad(size, mark, say);
  const note = h("p", { class: "note" });

  function refresh() {
    pad.show(apply(effects.angle));
    change();
  }
  function begin(picture, text) {
    source = picture;
    note.textContent = text;
    refresh();
  }
  function mark(x, y, ink, cell) {
    if (source.width === width) source = pictures.enlarge(source, room);
    const [fromX, fromY] = pictures.unturn(x * source.width, y * source.height, effects.angle);
    const radius = cell ? 0.6 * room : Math.max(0.5, BRUSH * source.width);
    pictures.stamp(source, fromX + source.width / 2, fromY + source.height / 2, radius,
      ink ? color : color.map(() => 0));
    note.textContent = "Your drawing";
    refresh();
  }

  const sliders = [
    ["angle", { label: "Rotation", min: -180, max: 180, step: 5, show: (v) => `${fixed(v, 0)}°` }],
    ["noise", { label: "Noise", min: 0, max: 0.6, step: 0.02, show: share }],
    ["hidden", { label: "Occlusion", min: 0, max: 0.8, step: 0.05, show: share }],
  ].map(([name, about]) => slider({ ...about, value: 0 }, (value) => {
    effects[name] = value;
    refresh();
  }));
  const reset = () => {
    Object.assign(effects, { angle: 0, noise: 0, hidden: 0 });
    sliders.forEach((one) => one.set(0));
  };
  const file = h("input", {
    type: "file", accept: "image/*", class: "unseen",
    onchange: async () => {
      const [chosen] = file.files;
      file.value = "";
      if (!chosen) return;
      try {
        const large = { width: width * room, height: height * room, channels };
        begin(await readUpload(chosen, large), `From ${chosen.name}`);
      } catch {
        note.textContent = `${chosen.name} is no picture this browser can read.`;
      }
    },
  });
  const eraser = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
    erase(eraser.getAttribute("aria-pressed") === "false");
  } }, "Eraser");
  const erase = (on) => {
    eraser.setAttribute("aria-pressed", String(on));
    pad.erase(on);
  };

  const element = h("div", { class: "picture" },
    pad.element,
    note,
    h("div", { class: "tools" },
      h("button", { type: "button", onclick: () => {
        reset();
        erase(false);
        begin(pictures.blank(size), HELP);
        pad.element.focus();
      } }, "Draw"),
      eraser,
      h("button", { type: "button", onclick: () => begin(pictures.invert(source), "Inverted") },
        "Invert"),
      h("label", { class: "button" }, file, "Upload"),
      channels > 1 ? h("input", {
        type: "color", value: COLOR, "aria-label": "Color to draw in", title: "Color to draw in",
        oninput: (event) => {
          color = parse(event.target.value);
          erase(false);
        },
      }) : null),
    strip(model, size, examples, (picture, text) => {
      reset();
      begin(picture, text);
    }),
    ...sliders.map((one) => one.element));
  if (examples.rows.length) element.querySelector(".strip button").click();
  else begin(source, HELP);

  return {
    element,
    row: () => ({ inputs: [pictures.toRaw(apply(effects.angle), size, model)] }),
    sweep() {
      const quarter = Math.min(9, Math.max(1, Math.floor(NUMBERS / (4 * width * height * channels)))); // steps
      const at = Array.from({ length: 4 * quarter + 1 }, (_, i) => -180 + (90 / quarter) * i);
      const inputs = at.map((angle) => pictures.toRaw(apply(angle), size, model));
      return { at, here: effects.angle, xTicks: [-180, -90, 0, 90, 180], body: { inputs } };
    },
    sweepTitle: "As the picture turns",
    sweepUnit: "°",
  };
}

/** A color as the browser writes it, #rrggbb, as shares of red, green and blue. */
const parse = (color) => color.match(/\w\w/g).map((part) => parseInt(part, 16) / 255);

/** Small copies of the examples, to choose from. */
function strip(model, size, examples, choose) {
  const buttons = examples.rows.map((row, i) => {
    const picture = pictures.fromRaw(row, size, model);
    const canvas = h("canvas", { width: size.width, height: size.height, "aria-hidden": "true" });
    const repaint = () => paint(canvas, picture);
    repaint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    const label = examples.labels[i];
    return h("button", {
      type: "button", "aria-label": `Sample ${i + 1}, labeled ${label}`,
      onclick: () => choose(picture, `Sample ${i + 1} shows ${label}. You can draw on it.`),
    }, canvas);
  });
  return buttons.length
    ? h("div", { class: "strip", role: "group", "aria-label": "Samples of the test rows" }, ...buttons)
    : null;
}
