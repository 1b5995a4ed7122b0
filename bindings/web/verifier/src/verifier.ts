/// <reference lib="esnext.disposable" preserve="true" />
import type { Card, Parameters, Verifier as Handle } from "./wasm/zkinfer_wasm.js";
import { Rejected, ZkinferError } from "./errors.js";
import { records, tolerated } from "./expected.js";
import { fromHex } from "./hex.js";
import { call, init } from "./module.js";
import { asBytes, readUrl } from "./source.js";
import type { Bytes, CardInfo, Claim, Expected, FileInfo, Limits, LoadOptions, ParamsSource, Preparation, ProofInfo, PublicSide, Receipt, Tensor, Verdict } from "./types.js";

/** A claim with the real values behind it, if there are any. */
export type RealClaim = Claim & { reals: Float32Array[] | null };

/** A proof's claims in real numbers. */
export interface Claims extends Omit<ProofInfo, "runs"> {
  runs: { input: RealClaim; output: RealClaim }[];
}

/** What a file is and says. Nothing is verified by this. */
export async function inspect(file: Bytes, limits: Limits = {}): Promise<FileInfo> {
  await init();
  return describe(file, limits);
}

function describe(file: Bytes, limits: Limits): FileInfo {
  return JSON.parse(call((m) => m.inspect(asBytes(file), JSON.stringify(limits)))) as FileInfo;
}

/** A proof, the verifier of its model, and what is expected of it; see {@link Verifier.verify}. */
export interface Check {
  verifier: Verifier;
  proof: Bytes;
  expected?: Expected | readonly Expected[] | undefined;
}

/**
 * Checks many proofs, of one or of several models, faster than one by one: receipts, in order.
 *
 * Every result is the one that {@link Verifier.receipt} gives. All proofs are in memory at once: thousands are better given
 * in pieces of some hundred.
 */
export function verifyMany(checks: Iterable<Check>): Receipt[] {
  return Verifier.receipts(checks);
}

/** A checked card, ready to verify proofs. */
export class Verifier {
  /** What the card says. */
  readonly card: CardInfo;
  readonly preparation: Preparation;
  readonly #handle: Handle;
  readonly #limits: Limits;

  private constructor(handle: Handle, card: CardInfo, limits: Limits, preparation: Preparation) {
    this.#handle = handle;
    this.#limits = limits;
    this.card = card;
    this.preparation = preparation;
  }

  /**
   * Checks a card and derives its verifying key: about a second of work, once per card.
   *
   * @throws {ZkinferError} of class `malformed`, `wrong_version` or `invalid_card`.
   */
  static async load(card: Bytes, options: LoadOptions = {}): Promise<Verifier> {
    const limits = options.limits ?? {};
    const progress = options.onProgress ?? (() => {});
    await init();
    progress("card-read");
    const bytes = asBytes(card);
    const decoded = call((m) => m.Card.read(bytes, JSON.stringify(limits)));
    try {
      const begin = performance.now();
      const { parameters, ...found } = await parametersFor(decoded, options, progress);
      const middle = performance.now();
      progress("card-check");
      const handle = call((m) => new m.Verifier(decoded, parameters));
      const preparation = { ...found, paramsTime: middle - begin, cardTime: performance.now() - middle };
      progress("ready");
      return new Verifier(handle, describe(bytes, limits) as CardInfo, limits, preparation);
    } finally {
      decoded.free();
    }
  }

  /**
   * Checks a proof against what the caller expects: one expectation per run, or a single one without input and output
   * for all runs of a proof of several.
   *
   * @throws {Rejected} with class, code and receipt, if the proof is not accepted.
   */
  verify(proof: Bytes, expected: Expected | readonly Expected[] = {}): Verdict {
    const receipt = this.receipt(proof, expected);
    const { result } = receipt;
    if (result.outcome !== "accepted") throw new Rejected(result.class, result.code, result.message, receipt);
    return {
      statement: result.statement,
      context: fromHex(result.context),
      runs: result.runs.map(({ input, output, stated }) => ({
        input,
        output,
        stated,
        inputs: this.#reals("input", input),
        outputs: this.#reals("output", output),
      })),
      receipt,
    };
  }

  /** Checks a proof and records what came out; a refused proof has a receipt, too. See {@link Verifier.verify}. */
  receipt(proof: Bytes, expected: Expected | readonly Expected[] = {}): Receipt {
    return JSON.parse(call(() => this.#handle.receipt(asBytes(proof), records(expected)))) as Receipt;
  }

  /** See {@link verifyMany}. */
  static receipts(checks: Iterable<Check>): Receipt[] {
    const list = [...checks];
    const batch = call((m) => new m.Batch());
    try {
      for (const { verifier, proof, expected } of list) call(() => batch.add(verifier.#handle, asBytes(proof), records(expected === undefined ? {} : expected)));
      return JSON.parse(call(() => batch.receipts())) as Receipt[];
    } finally {
      batch.free();
    }
  }

  /** What a proof claims, in real numbers where the card has scales. Nothing is verified by this. */
  claims(proof: Bytes): Claims {
    const info = describe(proof, this.#limits);
    if (info.kind !== "proof") throw new ZkinferError("malformed", "wrong_kind", `expected a proof file, found a ${info.kind} file`);
    const real = (which: "input" | "output", claim: Claim): RealClaim => ({ ...claim, reals: this.#reals(which, claim) });
    return { ...info, runs: info.runs.map(({ input, output }) => ({ input: real("input", input), output: real("output", output) })) };
  }

  /**
   * The statement's form of a real-valued input, one list per tensor. All that is within half a step of a value that the
   * card can say becomes the same; `tolerance` is the largest step that the caller puts up with.
   *
   * @throws {ZkinferError} of class `invalid_argument`: wrong number of values, or outside the calibrated range, or a step
   * larger than `tolerance`.
   */
  publicInput(tensors: readonly ArrayLike<number>[], tolerance?: number): PublicSide {
    const json = lists(tensors);
    const most = tolerated(tolerance);
    return { kind: "public", values: call(() => this.#handle.state_inputs(json, most)) };
  }

  /** The statement's form of a real-valued output; see {@link Verifier.publicInput}. */
  publicOutput(tensors: readonly ArrayLike<number>[], tolerance?: number): PublicSide {
    const json = lists(tensors);
    const most = tolerated(tolerance);
    return { kind: "public", values: call(() => this.#handle.state_outputs(json, most)) };
  }

  /** The real inputs behind integers, one array per tensor. */
  inputs(integers: ArrayLike<number>): Float32Array[] {
    const values = this.#integers(integers);
    return split(call(() => this.#handle.dequantize_inputs(values)), this.card.interface?.inputs);
  }

  /** The real outputs behind integers, one array per tensor. */
  outputs(integers: ArrayLike<number>): Float32Array[] {
    const values = this.#integers(integers);
    return split(call(() => this.#handle.dequantize_outputs(values)), this.card.interface?.outputs);
  }

  /** Gives the memory back at once; otherwise that happens some time after the last use. */
  free(): void {
    this.#handle.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }

  #integers(integers: ArrayLike<number>): Uint16Array {
    const values = Uint16Array.from(integers);
    if (values.some((value, i) => value !== integers[i])) {
      throw new ZkinferError("invalid_argument", "integers", "integers of a statement are between 0 and 65535");
    }
    return values;
  }

  #reals(which: "input" | "output", side: Claim): Float32Array[] | null {
    const length = which === "input" ? this.card.inputLength : this.card.outputLength;
    if (side.kind !== "public" || this.card.interface === null || side.values.length !== length) return null;
    return which === "input" ? this.inputs(side.values) : this.outputs(side.values);
  }
}

function lists(tensors: readonly ArrayLike<number>[]): string {
  return JSON.stringify(tensors.map((tensor) => Array.from(tensor)));
}

function split(values: Float32Array, tensors: Tensor[] = []): Float32Array[] {
  let start = 0;
  return tensors.map(({ length }) => values.slice(start, (start += length)));
}

/** Kept, because all cards with one `k` share them. */
const kept = new Map<number, Parameters>();

async function parametersFor(card: Card, options: LoadOptions, progress: (stage: "params-fetch" | "params-read" | "params-make") => void) {
  const k = card.k();
  const cached = kept.get(k);
  if (cached) return { parameters: cached, params: "cached" as const, paramsProblem: null };
  let problem: string | null = null;
  try {
    progress("params-fetch");
    const bytes = await fetchParameters(k, options.params ?? new URL("./params/", import.meta.url));
    if (bytes) {
      progress("params-read");
      const parameters = call((m) => m.Parameters.read(bytes, k));
      kept.set(k, parameters);
      return { parameters, params: "file" as const, paramsProblem: null };
    }
  } catch (error) {
    // Whatever is wrong with a file: parameters can always be made.
    if (error instanceof ZkinferError && error.class === "internal") throw error;
    problem = error instanceof Error ? error.message : String(error);
  }
  progress("params-make");
  const parameters = call((m) => m.Parameters.make(k));
  kept.set(k, parameters);
  return { parameters, params: "made" as const, paramsProblem: problem };
}

async function fetchParameters(k: number, source: ParamsSource): Promise<Uint8Array | null> {
  if (source === false) return null;
  if (typeof source === "function") {
    const bytes = await source(k);
    return bytes && asBytes(bytes);
  }
  const folder = new URL(source, import.meta.url);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  return readUrl(new URL(`params-${k}.bin`, folder));
}
