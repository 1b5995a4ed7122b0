import { ZkinferError } from "./errors.js";

type Reader = (url: URL) => Promise<Uint8Array>;

/** Behind an interface of its own, because Node's `fetch` reads no files. */
let reader: Reader = async (url) => {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: HTTP status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
};

export function useReader(other: Reader): void {
  reader = other;
}

export function readUrl(url: URL): Promise<Uint8Array> {
  return reader(url);
}

export function asBytes(bytes: Uint8Array | ArrayBuffer): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  throw new ZkinferError("invalid_argument", "bytes", "expected a Uint8Array or an ArrayBuffer");
}
