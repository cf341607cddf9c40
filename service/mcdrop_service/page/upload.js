// A picture file as a model may see it. It is read in the browser, and only the model's pixels leave it.

import { h } from "./dom.js";
import { blank, invert } from "./picture.js";

// Each channel of red, green and blue: luma (ITU-R BT.601), or themselves.
const MIXES = { 1: [[0.299, 0.587, 0.114]], 3: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] };

/** The middle of `file`'s picture at `size`: in color, or in gray, its border turned to paper. */
export async function readUpload(file, { width, height, channels }) {
  const bitmap = await createImageBitmap(file);
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [across, down] = [bitmap.width * scale, bitmap.height * scale];
  context.fillStyle = channels === 1 ? "#fff" : "#000"; // paper, beneath what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = scale < 1; // a picture that is smaller keeps its pixels
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (width - across) / 2, (height - down) / 2, across, down);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height).data;
  const picture = blank({ width, height, channels });
  MIXES[channels].forEach(([red, green, blue], c) => {
    for (let i = 0; i < width * height; i += 1) {
      const mixed = red * pixels[4 * i] + green * pixels[4 * i + 1] + blue * pixels[4 * i + 2];
      picture.data[c * width * height + i] = mixed / 255;
    }
  });
  return channels === 1 && border(picture) > 0.5 ? invert(picture) : picture;
}

/** Mean of a gray picture's outermost pixels. */
function border({ width, height, data }) {
  const edge = data.filter((_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  return edge.reduce((sum, value) => sum + value, 0) / edge.length;
}
