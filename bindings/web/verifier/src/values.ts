/** Files with values, as people have them: JSON, numbers in text, NumPy arrays. */
import { ZkinferError } from "./errors.js";
import { asBytes } from "./source.js";
import type { Bytes, PublicSide } from "./types.js";

/** Real values, one list per tensor, or the integers of a statement. */
export type Values = { kind: "real"; tensors: number[][] } | PublicSide;

const MOST_BYTES = 1 << 26;

/**
 * Reads values for tensors of the given lengths.
 *
 * Accepted are JSON (`{"input_data": [[…], …]}`, nested lists of numbers, or a public side from a receipt), numbers
 * separated by commas or white space, and one `.npy` array.
 *
 * @throws {ZkinferError} of class `invalid_argument`.
 */
export function parseValues(file: Bytes | string, lengths: readonly number[]): Values {
  if (typeof file !== "string") {
    const bytes = asBytes(file);
    if (bytes.length > MOST_BYTES) throw bad("values_size", `${bytes.length} bytes are more than values can have`);
    if (bytes[0] === 0x93 && String.fromCharCode(...bytes.subarray(1, 6)) === "NUMPY") return fit(readNpy(bytes), lengths);
    file = new TextDecoder().decode(bytes);
  }
  const text = file.trim();
  if (!/^[[{]/.test(text)) {
    const words = text.split(/[\s,;]+/).filter((word) => word !== "");
    return fit(words.map(Number), lengths);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw bad("values", `not JSON: ${(error as Error).message}`);
  }
  if (json !== null && typeof json === "object" && !Array.isArray(json)) {
    const object = json as Record<string, unknown>;
    if (object["kind"] === "public" && Array.isArray(object["values"])) {
      const values = flat(object["values"]);
      const wanted = lengths.reduce((sum, length) => sum + length, 0);
      if (values.length !== wanted) throw bad("values_length", `${values.length} integers, the model's input has ${wanted}`);
      return { kind: "public", values };
    }
    json = object["input_data"];
  }
  if (!Array.isArray(json)) throw bad("values", "expected a list of numbers, or an object with the list `input_data`");
  if (json.length === lengths.length && json.every(Array.isArray)) {
    const tensors = json.map((tensor) => flat(tensor as unknown[]));
    if (tensors.every((tensor, i) => tensor.length === lengths[i])) return { kind: "real", tensors };
  }
  return fit(flat(json), lengths);
}

/** Cuts a flat list into tensors. */
function fit(values: number[], lengths: readonly number[]): Values {
  const wanted = lengths.reduce((sum, length) => sum + length, 0);
  if (!values.every(Number.isFinite)) throw bad("values", "something in it is not a number");
  if (values.length !== wanted) throw bad("values_length", `${values.length} numbers, the model's input has ${wanted}`);
  let start = 0;
  return { kind: "real", tensors: lengths.map((length) => values.slice(start, (start += length))) };
}

function flat(list: unknown[]): number[] {
  const values = list.flat(16) as unknown[];
  if (!values.every((value) => typeof value === "number")) throw bad("values", "something in it is not a number");
  return values as number[];
}

/** Element types of arrays that can hold an input. */
const READERS: Record<string, [bytes: number, read: (view: DataView, at: number) => number]> = {
  "<f4": [4, (v, at) => v.getFloat32(at, true)],
  "<f8": [8, (v, at) => v.getFloat64(at, true)],
  "|u1": [1, (v, at) => v.getUint8(at)],
  "|i1": [1, (v, at) => v.getInt8(at)],
  "<i4": [4, (v, at) => v.getInt32(at, true)],
  "<i8": [8, (v, at) => Number(v.getBigInt64(at, true))],
};

function readNpy(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] !== 1;
  if (bytes.length < 12) throw bad("values", "the array ends in its header");
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(wide ? 12 : 10, start));
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? "";
  const reader = READERS[type];
  if (!reader || start > bytes.length) throw bad("values", `an array of type ${type || "unknown"} cannot be read`);
  if (/'fortran_order':\s*True/.test(header)) throw bad("values", "the array is in Fortran order");
  const [size, read] = reader;
  const count = Math.floor((bytes.length - start) / size);
  return Array.from({ length: count }, (_, i) => read(view, start + i * size));
}

function bad(code: string, message: string): ZkinferError {
  return new ZkinferError("invalid_argument", code, message);
}
