// From a decoded picture to the pixels that a network reads: what Preprocess.crop in inceptions/data/preprocess.py does, to the bit.
//
// Resizing is Pillow's (libImaging/Resample.c and Geometry.c): a window that grows with the reduction, weights of 22 bits, rows rounded to
// 8 bits between the two passes, and the crop in the same step. Pillow holds the crop's edges in float32, hence Math.fround.

export const MAX_PIXELS = 178_956_970; // as inceptions/data/decode.py
const WEIGHT_BITS = 22; // PRECISION_BITS

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  area: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
};

function cubic(x) {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** RGBA bytes of a canvas as RGB on white (channels 3) or as grey (channels 1): Pillow's alpha_composite and convert("L"). */
export function flatten(rgba, channels) {
  const count = rgba.length / 4;
  const flat = new Uint8Array(count * channels);
  for (let pixel = 0, from = 0, to = 0; pixel < count; pixel++, from += 4, to += channels) {
    const alpha = rgba[from + 3];
    let red = rgba[from], green = rgba[from + 1], blue = rgba[from + 2];
    if (alpha < 255) [red, green, blue] = [onWhite(red, alpha), onWhite(green, alpha), onWhite(blue, alpha)];
    if (channels === 1) flat[to] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else { flat[to] = red; flat[to + 1] = green; flat[to + 2] = blue; }
  }
  return flat;
}

function onWhite(value, alpha) {
  const sum = (value * alpha + 255 * (255 - alpha) + 128) * 128;
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** A picture {width, height, channels, data} resized and cropped to image_size x image_size, as its bytes (S, S, C). */
export function crop(picture, preprocess) {
  const { width, height, data } = picture;
  const side = preprocess.image_size;
  const box = boxOf(width, height, preprocess);
  if (width === side && height === side && same(box, [0, 0, side, side])) return data;
  const rounded = box.map(Math.fround);
  return preprocess.interpolation === "nearest" ? nearest(picture, side, rounded) : resample(picture, side, rounded, preprocess.interpolation);
}

const same = (a, b) => a.every((value, place) => value === b[place]);

/** [left, top, right, bottom] in pixels of the picture: the part that becomes the network's input. */
export function boxOf(width, height, preprocess) {
  const { image_size: side, resize, resize_size, crop_fraction } = preprocess;
  if (resize === "central") {
    const [left, top] = [width, height].map((length) => Math.trunc((length - length * crop_fraction) / 2));
    return [left, top, width - left, height - top];
  }
  const target = resize_size || roundHalfEven(side / crop_fraction);
  let resized = [target, target];
  if (resize === "shorter") {
    resized = width <= height
      ? [target, Math.floor((target * height) / width)]
      : [Math.floor((target * width) / height), target];
  }
  const [left, right] = centre(side, resized[0], width);
  const [top, bottom] = centre(side, resized[1], height);
  return [left, top, right, bottom];
}

function centre(side, resized, length) {
  const start = roundHalfEven((resized - side) / 2);
  return [(start * length) / resized, ((start + side) * length) / resized];
}

function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

function resample(picture, side, [left, top, right, bottom], interpolation) {
  const { width, height } = picture;
  const filter = FILTERS[interpolation];
  const needsAcross = left !== 0 || right !== side || width !== side;
  const needsDown = top !== 0 || bottom !== side || height !== side;
  const columns = windows(width, left, right, side, filter);
  const rows = windows(height, top, bottom, side, filter);
  const whole = { ...picture, first: 0 };
  if (height > side && height - side > 2 * (width - side)) { // as Pillow does from 13 on: rows first, where there are many
    const low = needsDown ? down(whole, rows) : whole;
    return (needsAcross ? across(low, columns, 0, side) : low).data;
  }
  const last = rows[side - 1];
  const narrow = needsAcross ? across(whole, columns, rows[0].start, last.start + last.weights.length) : whole;
  return (needsDown ? down(narrow, rows) : narrow).data;
}

/** For each of `count` output pixels where its window starts, and the window's weights as whole numbers. */
function windows(length, from, to, count, { support, weight }) {
  const scale = Math.fround(to - from) / count;
  const widened = Math.max(scale, 1);
  const reach = support * widened;
  return Array.from({ length: count }, (_, place) => {
    const middle = from + (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(middle - reach + 0.5));
    const end = Math.min(length, Math.trunc(middle + reach + 0.5));
    const weights = [];
    let sum = 0;
    for (let x = 0; x < end - start; x++) {
      weights.push(weight((x + start - middle + 0.5) * (1 / widened)));
      sum += weights[x];
    }
    return { start, weights: Int32Array.from(weights, (value) => fixed(sum === 0 ? value : value / sum)) };
  });
}

function fixed(weight) {
  const value = weight * (1 << WEIGHT_BITS);
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}

const clip = (sum) => Math.min(255, Math.max(0, sum >> WEIGHT_BITS));

/** The rows from `first` up to `end`, each brought to as many pixels as there are windows. */
function across({ width, channels, data }, columns, first, end) {
  const result = new Uint8Array((end - first) * columns.length * channels);
  let to = 0;
  for (let y = first; y < end; y++) {
    for (const { start, weights } of columns) {
      for (let channel = 0; channel < channels; channel++) {
        let from = (y * width + start) * channels + channel;
        let sum = 1 << (WEIGHT_BITS - 1);
        for (let x = 0; x < weights.length; x++, from += channels) sum += data[from] * weights[x];
        result[to++] = clip(sum);
      }
    }
  }
  return { width: columns.length, channels, data: result, first };
}

/** The columns, each brought to as many pixels as there are windows; `first`: the row of the picture that `data` begins with. */
function down({ width, channels, data, first }, rows) {
  const stride = width * channels;
  const result = new Uint8Array(rows.length * stride);
  let to = 0;
  for (const { start, weights } of rows) {
    for (let column = 0; column < stride; column++) {
      let from = (start - first) * stride + column;
      let sum = 1 << (WEIGHT_BITS - 1);
      for (let y = 0; y < weights.length; y++, from += stride) sum += data[from] * weights[y];
      result[to++] = clip(sum);
    }
  }
  return { width, channels, data: result, first: 0 };
}

function nearest({ width, height, channels, data }, side, [left, top, right, bottom]) {
  const columns = steps(left, right, side);
  const result = new Uint8Array(side * side * channels);
  steps(top, bottom, side).forEach((row, y) => {
    columns.forEach((column, x) => {
      if (row >= height || column >= width) return;
      for (let channel = 0; channel < channels; channel++) {
        result[(y * side + x) * channels + channel] = data[(row * width + column) * channels + channel];
      }
    });
  });
  return result;
}

/** Where each output pixel's nearest lies; the sum grows step by step, as Pillow's does, with its rounding. */
function steps(from, to, count) {
  const step = Math.fround(to - from) / count;
  let place = from + step * 0.5;
  return Array.from({ length: count }, () => {
    const here = Math.trunc(place);
    place += step;
    return here;
  });
}
