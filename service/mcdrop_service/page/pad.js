// The picture as the model sees it, large enough to draw on: by pointer, touch or keys.

import { h } from "./dom.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CHANNELS = { 1: ["ink"], 3: ["red", "green", "blue"] };
const HELP = "Drawing pad. Arrow keys move, Space draws, Backspace erases.";

/**
 * A pad of a cell for each pixel of `size`.
 *
 * `mark(x, y, ink, cell)` is called with a place in shares of the size from the middle, whether to
 * draw or to erase, and whether the mark is one cell (keys) or a brush's (pointer).
 * `say(text)` is spoken.
 */
export function createPad({ width, height, channels }, mark, say) {
  const cell = Math.max(1, Math.round(560 / Math.max(width, height)));
  const canvas = h("canvas", {
    width: width * cell, height: height * cell, class: "pad", tabindex: 0,
    role: "application", "aria-roledescription": "drawing pad", "aria-label": HELP,
  });
  const small = h("canvas", { width, height });
  const cursor = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
  let [shown, erasing, from] = [null, false, null];

  function show(picture) {
    shown = picture;
    paint(small, picture);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (!canvas.matches(":focus-visible")) return;
    for (const [name, lineWidth] of [["--paper", 11], ["--accent", 5]]) { // seen on any color
      context.lineWidth = lineWidth;
      context.strokeStyle = getComputedStyle(canvas).getPropertyValue(name);
      context.strokeRect(cursor.x * cell - 2.5, cursor.y * cell - 2.5, cell + 5, cell + 5);
    }
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
  }

  function draw(event) {
    const to = place(event);
    const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 50) || 1;
    for (let i = 1; i <= steps; i += 1) {
      const at = (axis) => from[axis] + ((to[axis] - from[axis]) * i) / steps;
      mark(at(0), at(1), !erasing, false);
    }
    from = to;
  }

  function press(event) {
    const { key } = event;
    if (key in ARROWS) {
      cursor.x = Math.min(width - 1, Math.max(0, cursor.x + ARROWS[key][0]));
      cursor.y = Math.min(height - 1, Math.max(0, cursor.y + ARROWS[key][1]));
    } else if ([" ", "Enter", "Backspace", "Delete"].includes(key)) {
      const ink = key === " " || key === "Enter";
      mark((cursor.x + 0.5) / width - 0.5, (cursor.y + 0.5) / height - 0.5, ink, true);
    } else return;
    event.preventDefault();
    show(shown);
    const tones = CHANNELS[channels].map((name, c) =>
      `${Math.round(100 * shown.data[(c * height + cursor.y) * width + cursor.x])} % ${name}`);
    say(`row ${cursor.y + 1}, column ${cursor.x + 1}: ${tones.join(", ")}`);
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    from = place(event);
    draw(event);
  });
  canvas.addEventListener("pointermove", (event) => from && draw(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
  canvas.addEventListener("keydown", press);
  for (const turn of ["focus", "blur"]) canvas.addEventListener(turn, () => shown && show(shown));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown && show(shown));
  return { element: canvas, show, erase: (on) => { erasing = on; } };
}

/** Paint a picture on a canvas of its own size: in color, or from the page's paper to its ink. */
export function paint(canvas, { width, height, channels, data }) {
  const [none, full] = channels === 1 ? tones() : [[0, 0, 0], [255, 255, 255]];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i += 1) {
    for (let part = 0; part < 3; part += 1) {
      const value = data[(part % channels) * width * height + i];
      image.data[4 * i + part] = none[part] + (full[part] - none[part]) * value;
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** The page's paper and ink. */
function tones() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return dark ? [[32, 33, 39], [243, 242, 238]] : [[255, 255, 255], [27, 28, 34]];
}
