import { ZkinferError } from "./errors.js";
import { toHex } from "./hex.js";
import type { Expected, Side } from "./types.js";

const EXPECTED = ["input", "output", "context"];

const bad = (message: string) => new ZkinferError("invalid_argument", "expected", message);

/** Expectations of all runs: one for the only run, or a list. */
export function listed(expected: Expected | readonly Expected[]): readonly Expected[] {
  const list = Array.isArray(expected) ? (expected as readonly Expected[]) : [expected as Expected];
  list.forEach(check);
  return list;
}

/** The JSON of expectations that were {@link listed}. */
export function records(expected: Expected | readonly Expected[]): string {
  return JSON.stringify(listed(expected).map(record));
}

/** What is misspelt, `null`, `undefined`, or in something else than a plain object (a Promise, a Map) would look as if it were compared. */
function check(expected: Expected): void {
  if (!isPlain(expected)) throw bad("an expectation is a plain object with input, output, context");
  for (const [key, value] of Object.entries(expected)) {
    if (!EXPECTED.includes(key)) throw bad(`an expectation has input, output and context, not ${JSON.stringify(key)}`);
    if (value === null || value === undefined) throw bad(`${key} is ${value}: leave out what is not expected`);
    if (key !== "context") side(value as Side);
    else if (typeof value !== "string" && !(value instanceof Uint8Array)) throw bad("a context is text or bytes");
  }
}

/** Also of another realm, whose `Object` is another one. */
function isPlain(value: unknown): boolean {
  if (value === null || typeof value !== "object") return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function side(s: Side): Side {
  if (!isPlain(s)) throw bad("a side is a plain object with its kind");
  for (const [key, value] of Object.entries(s)) if (value === null || value === undefined) throw bad(`${key} is ${value}: leave out what is not expected`);
  if (s.kind !== "public") return s;
  if (!Array.isArray(s.values) && !ArrayBuffer.isView(s.values)) throw bad("a public side has values, a list of integers");
  return { ...s, values: Array.from(s.values) };
}

function record({ input, output, context = "" }: Expected): object {
  const bytes = typeof context === "string" ? new TextEncoder().encode(context) : context;
  return { input: input && side(input), output: output && side(output), context: toHex(bytes) };
}

/** A tolerance, if one is given: `null` would look as if there were one. */
export function tolerated(tolerance: number | undefined): number | undefined {
  if (tolerance === undefined || typeof tolerance === "number") return tolerance;
  throw new ZkinferError("invalid_argument", "tolerance", "a tolerance is a number");
}
