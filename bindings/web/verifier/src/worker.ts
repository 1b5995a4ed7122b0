/** The verifier in a Web Worker; {@link VerifierWorker} talks to it. */
import { Rejected, ZkinferError } from "./errors.js";
import { init } from "./module.js";
import { parseValues } from "./values.js";
import { inspect, Verifier, verifyMany } from "./verifier.js";
import type { Answer, Calls, Request, Trouble } from "./protocol.js";
import type { PublicSide } from "./types.js";

/** What is used of a worker's global scope. */
interface Scope {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(answer: Answer): void;
}
const scope = globalThis as unknown as Scope;

const verifiers = new Map<number, Verifier>();
let next = 0;

function verifier(id: number): Verifier {
  const found = verifiers.get(id);
  if (!found) throw new ZkinferError("invalid_argument", "freed", "this verifier was freed");
  return found;
}

function state(id: number, which: "input" | "output", tensors: readonly ArrayLike<number>[], tolerance?: number): PublicSide {
  return which === "input" ? verifier(id).publicInput(tensors, tolerance) : verifier(id).publicOutput(tensors, tolerance);
}

type Handlers = { [Name in keyof Calls]: (call: number, ...args: Parameters<Calls[Name]>) => ReturnType<Calls[Name]> | Promise<ReturnType<Calls[Name]>> };

const handlers: Handlers = {
  init: async () => (await init(), null),
  inspect: (_, file, limits) => inspect(file, limits),
  load: async (call, card, options) => {
    const onProgress = (stage: Extract<Answer, { stage: unknown }>["stage"]) => scope.postMessage({ call, stage });
    const loaded = await Verifier.load(card, { ...options, onProgress });
    verifiers.set(++next, loaded);
    return { id: next, card: loaded.card, preparation: loaded.preparation };
  },
  verify: (_, id, proof, expected) => verifier(id).verify(proof, expected),
  receipt: (_, id, proof, expected) => verifier(id).receipt(proof, expected),
  receipts: (_, checks) => verifyMany(checks.map(({ id, ...check }) => ({ verifier: verifier(id), ...check }))),
  claims: (_, id, proof) => verifier(id).claims(proof),
  values: (_, id, which, file, runs, tolerance) => {
    const { card } = verifier(id);
    const [tensors, length] = which === "input" ? [card.interface?.inputs, card.inputLength] : [card.interface?.outputs, card.outputLength];
    const lengths = tensors?.map((tensor) => tensor.length) ?? [length];
    const each = Array.from({ length: runs }, (_, run) => run);
    const values = parseValues(file, each.flatMap(() => lengths));
    if (values.kind === "public") return each.map((run) => ({ kind: "public", values: values.values.slice(run * length, (run + 1) * length) }));
    const cut = each.map((run) => values.tensors.slice(run * lengths.length, (run + 1) * lengths.length));
    return cut.map((own) => state(id, which, own, tolerance));
  },
  public: (_, id, which, tensors, tolerance) => state(id, which, tensors, tolerance),
  free: (_, id) => {
    verifier(id).free();
    verifiers.delete(id);
    return null;
  },
};

function trouble(error: unknown): Trouble {
  if (error instanceof ZkinferError) {
    const { class: kind, code, message } = error;
    return { class: kind, code, message, ...(error instanceof Rejected && { receipt: error.receipt }) };
  }
  return { class: "internal", code: "worker", message: error instanceof Error ? error.message : String(error) };
}

scope.onmessage = async ({ data: { call, name, args } }) => {
  const handler = handlers[name] as (call: number, ...args: unknown[]) => unknown;
  let begin = performance.now();
  try {
    await init();
    begin = performance.now();
    const value = await handler(call, ...args);
    scope.postMessage({ call, value, milliseconds: performance.now() - begin });
  } catch (error) {
    scope.postMessage({ call, trouble: trouble(error), milliseconds: performance.now() - begin });
  }
};
