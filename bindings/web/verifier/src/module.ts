/** The WebAssembly instance: one per thread. */
import start, * as bindings from "./wasm/zkinfer_wasm.js";
import { ZkinferError } from "./errors.js";
import { readUrl } from "./source.js";
import type { Bytes, ErrorClass } from "./types.js";

export type Bindings = typeof bindings;

let starting: Promise<void> | undefined;
let running = false;
let ended: ZkinferError | undefined;

/**
 * Compiles the module, once. The functions of this package do it by themselves; calling it early, or with a module from
 * elsewhere (bytes, a URL, a compiled module), is possible.
 */
export function init(module?: URL | string | Bytes | WebAssembly.Module): Promise<void> {
  starting ??= load(module).catch((error: unknown) => {
    starting = undefined;
    throw error;
  });
  return starting;
}

async function load(module: URL | string | Bytes | WebAssembly.Module = new URL("./wasm/zkinfer_wasm_bg.wasm", import.meta.url)): Promise<void> {
  const url = typeof module === "string" ? new URL(module, import.meta.url) : module;
  // Not by streaming: that needs a server that knows the type of the file.
  await start({ module_or_path: url instanceof URL ? ((await readUrl(url)) as BufferSource) : (url as BufferSource) });
  running = true;
}

/** Calls the module; what it throws becomes a {@link ZkinferError}. */
export function call<T>(work: (bindings: Bindings) => T): T {
  if (ended) throw ended;
  if (!running) throw new ZkinferError("invalid_argument", "not_started", "await init() first");
  try {
    return work(bindings);
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): unknown {
  if (typeof error === "string") {
    const { class: kind, code, message } = JSON.parse(error) as { class: ErrorClass; code: string; message: string };
    return new ZkinferError(kind, code, message);
  }
  if (error instanceof WebAssembly.RuntimeError) {
    // The instance's memory may be in any state now.
    ended = new ZkinferError("internal", "trap", `the module stopped (${error.message}), probably for lack of memory; start a new one`, { cause: error });
    return ended;
  }
  return error;
}
