import { blake2b } from "@noble/hashes/blake2.js";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const FIXTURES = new URL("../../../tests/fixtures/", import.meta.url);

/** A file of `tests/fixtures`. */
export function fixture(name) {
  return new Uint8Array(readFileSync(new URL(name, FIXTURES)));
}

/** The bytes that a vector names. */
export function source({ file, base64 }) {
  return file === undefined ? new Uint8Array(Buffer.from(base64, "base64")) : fixture(file);
}

/** A generator of numbers in [0, below), the same ones at every run (mulberry32). */
export function numbers(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A file with its checksum made anew, so that a change gets past it. */
export function sealed(bytes) {
  const end = bytes.length - 32;
  const personalization = new Uint8Array(16);
  personalization.set(new TextEncoder().encode("zkinfer-file"));
  bytes.set(blake2b(bytes.subarray(0, end), { dkLen: 32, personalization }), end);
  return bytes;
}
