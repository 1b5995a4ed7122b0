/** Inputs that are pictures. */
import { make } from "./dom.js";

export interface PictureShape {
  channels: 1 | 3;
  height: number;
  width: number;
  /** Channels before rows (CHW), or within a pixel (HWC). */
  planar: boolean;
}

const LARGEST = 1024;

/** What a shape looks like as a picture: `H × W`, `C × H × W` or `H × W × C` with one or three channels, or a flat square. */
export function pictureShape(shape: readonly number[]): PictureShape | null {
  const dimensions = [...shape];
  while (dimensions.length > 1 && dimensions[0] === 1) dimensions.shift();
  const [a = 0, b = 0, c = 0] = dimensions;
  const make = (channels: 1 | 3, height: number, width: number, planar: boolean): PictureShape | null =>
    height >= 4 && width >= 4 && height <= LARGEST && width <= LARGEST ? { channels, height, width, planar } : null;
  if (dimensions.length === 1) {
    const side = Math.sqrt(a);
    return Number.isInteger(side) ? make(1, side, side, true) : null;
  }
  if (dimensions.length === 2) return make(1, a, b, true);
  if (dimensions.length !== 3) return null;
  if (a === 3) return make(3, b, c, true);
  if (c === 3 || c === 1) return make(c, a, b, false);
  return null;
}

/** Paints values, the lowest black and the highest white. */
export function draw(shape: PictureShape, values: Float32Array): HTMLCanvasElement {
  const { channels, height, width, planar } = shape;
  const kind = channels === 3 ? "colour" : "greyscale";
  const canvas = make("canvas", { width: String(width), height: String(height), role: "img", "aria-label": `The input as a ${kind} picture of ${height} by ${width} pixels` });
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const shade = (value: number | undefined) => (255 * ((value ?? 0) - low)) / (high - low || 1);
  const image = context.createImageData(width, height);
  const pixels = height * width;
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const from = channels === 1 ? pixel : planar ? channel * pixels + pixel : 3 * pixel + channel;
      image.data[4 * pixel + channel] = shade(values[from]);
    }
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
