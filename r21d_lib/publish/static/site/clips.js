// Frames become clips: resized as the training did, and chosen by when they were taken.
"use strict";

// Resizing -------------------------------------------------------------------------------------------

// Weights of an antialiased linear filter in whole numbers, as torch and Pillow compute them for uint8.
function resizingWeights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const rows = [];
  let largest = 0;
  for (let i = 0; i < to; i++) {
    const centre = scale * (i + 0.5);
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const count = Math.min(Math.trunc(centre + support + 0.5), from) - first;
    const weights = Array.from({ length: count }, (_, j) =>
      Math.max(0, 1 - Math.abs((j + first - centre + 0.5) / support)),
    );
    const sum = weights.reduce((a, b) => a + b, 0);
    rows.push({ first, weights: weights.map((weight) => weight / sum) });
    largest = Math.max(largest, ...rows[i].weights);
  }
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++;
  for (const row of rows) {
    row.weights = Int32Array.from(row.weights, (weight) => Math.trunc(0.5 + weight * 2 ** bits));
  }
  return { rows, bits };
}

const weightsOf = new Map();

function cachedWeights(from, to) {
  const key = `${from}>${to}`;
  if (!weightsOf.has(key)) weightsOf.set(key, resizingWeights(from, to));
  return weightsOf.get(key);
}

// Resize (height, width, channels) uint8 to (toHeight, toWidth), RGB: along the rows, then the columns.
function resizeTo([toHeight, toWidth], pixels, height, width, channels) {
  const across = cachedWeights(width, toWidth);
  const down = cachedWeights(height, toHeight);
  const narrow = new Uint8ClampedArray(height * toWidth * 3);
  for (let y = 0, place = 0; y < height; y++) {
    for (const { first, weights } of across.rows) {
      let red = 1 << (across.bits - 1);
      let green = red;
      let blue = red;
      let from = (y * width + first) * channels;
      for (let j = 0; j < weights.length; j++, from += channels) {
        red += weights[j] * pixels[from];
        green += weights[j] * pixels[from + 1];
        blue += weights[j] * pixels[from + 2];
      }
      narrow[place++] = red >> across.bits;
      narrow[place++] = green >> across.bits;
      narrow[place++] = blue >> across.bits;
    }
  }
  const line = 3 * toWidth;
  const small = new Uint8ClampedArray(toHeight * line);
  down.rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = 1 << (down.bits - 1);
      for (let j = 0; j < weights.length; j++) sum += weights[j] * narrow[(first + j) * line + x];
      small[y * line + x] = sum >> down.bits;
    }
  });
  return small;
}

// Choosing -------------------------------------------------------------------------------------------

// The clip that ends with the newest frame, out of frames of any rate and with any gaps: what RollingClip
// of r21d_lib/live/rolling.py chooses, so that a slow camera does not look like fast motion.
class RollingClip {
  // stride counts in frames at fps, as in the network's card.
  constructor(clipLen, stride, fps) {
    this.fps = fps;
    this.back = Array.from({ length: clipLen }, (_, t) => ((clipLen - 1 - t) * stride) / fps); // [s]
    this.span = this.back[0]; // from a clip's first frame to its last [s]
    this.most = 2 * ((clipLen - 1) * stride + 1) + 2; // frames kept, whatever their times
    this.clear();
  }

  clear() {
    this.kept = []; // { seconds, frame }, the oldest first
  }

  // Tells before a frame is read and resized, which takes long, whether it adds to what is kept: of a
  // faster source some are left out; a trained rate that trembles loses none.
  wants(seconds) {
    const last = this.kept.at(-1);
    return !last || seconds < last.seconds || seconds - last.seconds >= 0.6 / this.fps;
  }

  // Adds the newest frame; a clock that goes back starts another video.
  push(seconds, frame) {
    if (this.kept.length && seconds < this.kept.at(-1).seconds) this.clear();
    this.kept.push({ seconds, frame });
    const oldest = seconds - this.span;
    while (this.kept.length > 2 && this.kept[1].seconds <= oldest) this.kept.shift();
    if (this.kept.length > this.most) this.kept.shift();
  }

  // True once the frames reach back as far as a clip does.
  get ready() {
    if (!this.kept.length) return false;
    return this.kept.at(-1).seconds - this.kept[0].seconds >= this.span - 0.5 / this.fps;
  }

  // For each of the clip's moments the kept frame that is nearest in time, the older of two.
  clip() {
    const newest = this.kept.at(-1).seconds;
    return this.back.map((back) => {
      const distance = ({ seconds }) => Math.abs(seconds - (newest - back));
      return this.kept.reduce((best, one) => (distance(one) < distance(best) ? one : best)).frame;
    });
  }
}
