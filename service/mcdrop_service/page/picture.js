// Pictures as arrays, and what is done to them before a model sees them. Pure: no canvas, no page.
// A picture is { width, height, channels, data }: one channel, 0 for paper and 1 for ink, or red,
// green and blue, each channel after the other and row by row.

const CHANNELS = [1, 3];

/**
 * The size of a picture that is a row of `shape`, { width, height, channels, last }; null where
 * rows are no pictures. `last` says whether rows hold the channels of each pixel side by side.
 */
export function sizeOf(shape) {
  const axes = shape?.length === 2 ? [1, ...shape] : shape;
  if (axes?.length !== 3) return null;
  const last = !CHANNELS.includes(axes[0]);
  const [channels, height, width] = last ? [axes[2], axes[0], axes[1]] : axes;
  return CHANNELS.includes(channels) ? { width, height, channels, last } : null;
}

/** An empty picture. */
export function blank({ width, height, channels }) {
  return { width, height, channels, data: new Float64Array(width * height * channels) };
}

/** Each pixel of `picture` as k by k pixels: there is room to draw, and nothing is changed. */
export function enlarge(picture, k) {
  const big = blank({ ...picture, width: picture.width * k, height: picture.height * k });
  for (let y = 0; y < big.height * big.channels; y += 1) {
    for (let x = 0; x < big.width; x += 1) {
      big.data[y * big.width + x] = picture.data[Math.floor(y / k) * picture.width + Math.floor(x / k)];
    }
  }
  return big;
}

/** Where a point of the turned picture, in shares of the size from its middle, lay before. */
export function unturn(x, y, degrees) {
  const [cos, sin] = turn(degrees);
  return [cos * x + sin * y, cos * y - sin * x];
}

/**
 * The picture turned clockwise and brought to the width and height of `size` by averaging.
 *
 * The picture's own size is k times that, k a whole number. Every target pixel is the mean of its
 * k x k points, each read between its four neighbors; so 0 degrees is exact area averaging, and
 * for k = 1 the picture itself.
 */
export function resample(picture, { width, height }, degrees) {
  const k = picture.width / width;
  const found = blank({ ...picture, width, height });
  const [midX, midY] = [(picture.width - 1) / 2, (picture.height - 1) / 2];
  const [cos, sin] = turn(degrees);
  for (let y = 0; y < picture.height; y += 1) {
    for (let x = 0; x < picture.width; x += 1) {
      const fromX = midX + cos * (x - midX) + sin * (y - midY); // as unturn: written out, as it
      const fromY = midY + cos * (y - midY) - sin * (x - midX); // is done millions of times
      addPoint(found, Math.floor(y / k) * width + Math.floor(x / k), picture, fromX, fromY);
    }
  }
  for (let i = 0; i < found.data.length; i += 1) found.data[i] /= k * k;
  return found;
}

/** Normal noise of standard deviation `amount`, the same at every call; kept within 0 and 1. */
export function addNoise(picture, amount) {
  const normal = normals(20240117);
  const data = picture.data.map((value) => Math.min(1, Math.max(0, value + amount * normal())));
  return { ...picture, data };
}

/** A blank patch in the middle that hides `share` of the picture. */
export function hide(picture, share) {
  const { width, height, channels } = picture;
  const data = picture.data.slice();
  const [across, down] = [width, height].map((size) => Math.round(size * Math.sqrt(share)));
  const [left, top] = [Math.floor((width - across) / 2), Math.floor((height - down) / 2)];
  for (let c = 0; c < channels; c += 1) {
    for (let y = c * height + top; y < c * height + top + down; y += 1) {
      data.fill(0, y * width + left, y * width + left + across);
    }
  }
  return { ...picture, data };
}

/** What was ink becomes paper. */
export function invert(picture) {
  return { ...picture, data: picture.data.map((value) => 1 - value) };
}

/** Set the disc around (x, y), in pixels, to `color`, a number for each channel. Changes `picture`. */
export function stamp(picture, x, y, radius, color) {
  const { width, height, data } = picture;
  for (let j = Math.max(0, Math.floor(y - radius)); j < Math.min(height, y + radius); j += 1) {
    for (let i = Math.max(0, Math.floor(x - radius)); i < Math.min(width, x + radius); i += 1) {
      if (Math.hypot(i + 0.5 - x, j + 0.5 - y) > radius) continue;
      color.forEach((value, c) => { data[(c * height + j) * width + i] = value; });
    }
  }
}

/** A row of a model's unit as a picture of `size`. */
export function fromRaw(row, size, { minimum, maximum }) {
  const picture = blank(size);
  const read = (_, i) => (row[place(i, size)] - minimum) / (maximum - minimum);
  return { ...picture, data: picture.data.map(read) };
}

/** The picture as a row of a model's unit, far finer than 8 bits: whole numbers come back whole. */
export function toRaw(picture, size, { minimum, maximum }) {
  const span = maximum - minimum;
  const fine = 10 ** Math.max(0, 5 - Math.ceil(Math.log10(span)));
  const row = new Array(picture.data.length).fill(0);
  picture.data.forEach((value, i) => {
    row[place(i, size)] = Math.round((minimum + value * span) * fine) / fine;
  });
  return row;
}

/** Where a row has number `i` of its picture. */
function place(i, { width, height, channels, last }) {
  const area = width * height;
  return last ? (i % area) * channels + Math.floor(i / area) : i;
}

function turn(degrees) {
  const angle = (degrees * Math.PI) / 180;
  // Rounded, so that right angles move pixels exactly.
  return [Math.cos(angle), Math.sin(angle)].map((value) => Math.round(value * 1e12) / 1e12);
}

/** Add the point (x, y) of `picture`, between its four neighbors, to all channels of a pixel. */
function addPoint(found, pixel, { width, height, channels, data }, x, y) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  for (let j = Math.max(0, top); j < Math.min(height, top + 2); j += 1) {
    for (let i = Math.max(0, left); i < Math.min(width, left + 2); i += 1) {
      const share = (1 - Math.abs(x - i)) * (1 - Math.abs(y - j));
      for (let c = 0; c < channels; c += 1) {
        found.data[c * found.width * found.height + pixel]
          += share * data[(c * height + j) * width + i];
      }
    }
  }
}

/** Draws of the standard normal from a seed: mulberry32 and Box-Muller. */
function normals(seed) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (((bits ^ (bits >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
