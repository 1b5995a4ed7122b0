/**
 * The verifier in a Web Worker, so that a page stays responsive: the same calls as {@link Verifier}, each a promise.
 *
 * ```js
 * import { VerifierWorker } from "@zkinfer/verifier/client";
 *
 * const worker = new VerifierWorker();
 * const verifier = await worker.load(cardBytes, { onProgress: (stage) => show(stage) });
 * const verdict = await verifier.verify(proofBytes, { context: "request 17" });
 * ```
 *
 * @packageDocumentation
 */
import { Rejected, ZkinferError } from "./errors.js";
import { listed, tolerated } from "./expected.js";
import type { Answer, Calls, Request } from "./protocol.js";
import type { Bytes, CardInfo, Expected, FileInfo, Limits, Preparation, PublicSide, Receipt, Stage, Verdict } from "./types.js";
import type { Claims } from "./verifier.js";

export { explain, Rejected, ZkinferError } from "./errors.js";
export { fromHex, toHex } from "./hex.js";
export type * from "./types.js";
export type { Claims, RealClaim } from "./verifier.js";

/** Options of {@link VerifierWorker.load}. */
export interface WorkerLoadOptions {
  limits?: Limits | undefined;
  /** A folder with files `params-K.bin`, or `false`; see {@link ParamsSource}. */
  params?: URL | string | false | undefined;
  onProgress?: ((stage: Stage) => void) | undefined;
}

/** A proof, the verifier of its model, and what is expected of it. */
export interface RemoteCheck {
  verifier: RemoteVerifier;
  proof: Bytes;
  expected?: Expected | readonly Expected[] | undefined;
}

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
  progress: ((stage: Stage) => void) | undefined;
}

/** A worker with the module in it. Verifiers live in it and end with it. */
export class VerifierWorker {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #ended: ZkinferError | undefined;

  /** Milliseconds that the last answered call took inside the worker. */
  lastMilliseconds = 0;

  /** Starts a worker; one may be brought along if a bundler puts `@zkinfer/verifier/worker` elsewhere. */
  constructor(worker: Worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "zkinfer verifier" })) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#answer(data);
    worker.onerror = (event) => this.#end("worker", `the worker could not be started or stopped: ${event.message ?? "no reason given"}`);
  }

  /** Compiles the module; loading a card does so, too. */
  init(): Promise<null> {
    return this.request("init", []);
  }

  /** What a file is and says. Nothing is verified by this. */
  inspect(file: Bytes, limits: Limits = {}): Promise<FileInfo> {
    return this.request("inspect", [file, limits]);
  }

  /** Checks a card and derives its verifying key; see {@link Verifier.load}. */
  async load(card: Bytes, options: WorkerLoadOptions = {}): Promise<RemoteVerifier> {
    const { limits, params, onProgress } = options;
    // Relative to the page, not to the worker.
    const folder = params === undefined || params === false ? params : new URL(params, globalThis.location?.href).href;
    const loaded = await this.request("load", [card, { limits, params: folder }], onProgress);
    return new RemoteVerifier(this, loaded);
  }

  /** Checks many proofs with verifiers of this worker; see {@link verifyMany}. */
  verifyMany(checks: Iterable<RemoteCheck>): Promise<Receipt[]> {
    const flat = Array.from(checks, ({ verifier, proof, expected = {} }) => ({ id: verifier.id, proof, expected: listed(expected) }));
    return this.request("receipts", [flat]);
  }

  /** Stops the worker at once, also in the middle of work: what is waited for fails with code `terminated`. */
  terminate(): void {
    this.#end("terminated", "the worker was stopped");
  }

  /** One call; used by {@link RemoteVerifier}. */
  request<Name extends keyof Calls>(name: Name, args: Parameters<Calls[Name]>, progress?: (stage: Stage) => void): Promise<ReturnType<Calls[Name]>> {
    if (this.#ended) return Promise.reject(this.#ended);
    const call = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject, progress });
      this.#worker.postMessage({ call, name, args } as unknown as Request);
    });
  }

  #answer(answer: Answer): void {
    const waiting = this.#waiting.get(answer.call);
    if (!waiting) return;
    if ("stage" in answer) {
      waiting.progress?.(answer.stage);
      return;
    }
    this.#waiting.delete(answer.call);
    this.lastMilliseconds = answer.milliseconds;
    if ("value" in answer) {
      waiting.resolve(answer.value as never);
      return;
    }
    const { class: kind, code, message, receipt } = answer.trouble;
    waiting.reject(receipt ? new Rejected(kind, code, message, receipt) : new ZkinferError(kind, code, message));
    if (code === "trap") this.#end(code, message);
  }

  #end(code: string, message: string): void {
    this.#ended ??= new ZkinferError("internal", code, message);
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

/** A checked card in a worker; see {@link Verifier}. */
export class RemoteVerifier {
  readonly card: CardInfo;
  readonly preparation: Preparation;
  /** Number in the worker. */
  readonly id: number;
  readonly #worker: VerifierWorker;

  /** Made by {@link VerifierWorker.load}. */
  constructor(worker: VerifierWorker, loaded: { id: number; card: CardInfo; preparation: Preparation }) {
    this.#worker = worker;
    this.id = loaded.id;
    this.card = loaded.card;
    this.preparation = loaded.preparation;
  }

  /** Checks a proof. Rejects with {@link Rejected} if it is not accepted. */
  verify(proof: Bytes, expected: Expected | readonly Expected[] = {}): Promise<Verdict> {
    return this.#worker.request("verify", [this.id, proof, listed(expected)]);
  }

  /** Checks a proof and records what came out. */
  receipt(proof: Bytes, expected: Expected | readonly Expected[] = {}): Promise<Receipt> {
    return this.#worker.request("receipt", [this.id, proof, listed(expected)]);
  }

  /** What a proof claims, in real numbers where the card has scales. */
  claims(proof: Bytes): Promise<Claims> {
    return this.#worker.request("claims", [this.id, proof]);
  }

  /** The statement's form of real values. */
  publicInput(tensors: readonly ArrayLike<number>[], tolerance?: number): Promise<PublicSide> {
    return this.#worker.request("public", [this.id, "input", tensors, ...given(tolerance)]);
  }

  /** The statement's form of real values. */
  publicOutput(tensors: readonly ArrayLike<number>[], tolerance?: number): Promise<PublicSide> {
    return this.#worker.request("public", [this.id, "output", tensors, ...given(tolerance)]);
  }

  /** The statement's form of a file or text with the values of one or several runs; see {@link parseValues}. */
  values(which: "input" | "output", file: Bytes | string, runs = 1, tolerance?: number): Promise<PublicSide[]> {
    return this.#worker.request("values", [this.id, which, file, runs, ...given(tolerance)]);
  }

  /** Gives the memory back. */
  async free(): Promise<void> {
    await this.#worker.request("free", [this.id]);
  }
}

function given(tolerance: number | undefined): [] | [number] {
  const most = tolerated(tolerance);
  return most === undefined ? [] : [most];
}
