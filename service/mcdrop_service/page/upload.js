// A picture file as ink on paper. It is read in the browser, and only the model's pixels leave it.

import { h } from "./dom.js";
import { invert } from "./picture.js";

/** The middle of `file`'s picture at width x height, in gray, its border turned to paper. */
export async function readUpload(file, width, height) {
  const bitmap = await createImageBitmap(file);
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [across, down] = [bitmap.width * scale, bitmap.height * scale];
  context.fillStyle = "#fff"; // beneath what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = scale < 1; // a picture that is smaller keeps its pixels
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (width - across) / 2, (height - down) / 2, across, down);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height).data;
  const data = new Float64Array(width * height);
  for (let i = 0; i < data.length; i += 1) {
    const [red, green, blue] = pixels.subarray(4 * i, 4 * i + 3);
    data[i] = (0.299 * red + 0.587 * green + 0.114 * blue) / 255; // luma, ITU-R BT.601
  }
  const picture = { width, height, data };
  return border(picture) > 0.5 ? invert(picture) : picture;
}

/** Mean of the outermost pixels. */
function border({ width, height, data }) {
  const edge = data.filter((_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  return edge.reduce((sum, value) => sum + value, 0) / edge.length;
}
