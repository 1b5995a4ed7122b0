/** Messages between {@link VerifierWorker} and the worker. */
import type { Claims } from "./verifier.js";
import type { Bytes, CardInfo, ErrorClass, Expected, FileInfo, Limits, Preparation, PublicSide, Receipt, Stage, Verdict } from "./types.js";

/** Every call that a worker answers. */
export interface Calls {
  init(): null;
  inspect(file: Bytes, limits?: Limits): FileInfo;
  load(card: Bytes, options: { limits?: Limits | undefined; params?: string | false | undefined }): { id: number; card: CardInfo; preparation: Preparation };
  verify(id: number, proof: Bytes, expected: readonly Expected[]): Verdict;
  receipt(id: number, proof: Bytes, expected: readonly Expected[]): Receipt;
  receipts(checks: readonly { id: number; proof: Bytes; expected: readonly Expected[] }[]): Receipt[];
  claims(id: number, proof: Bytes): Claims;
  values(id: number, which: "input" | "output", file: Bytes | string, runs: number, tolerance?: number): PublicSide[];
  public(id: number, which: "input" | "output", tensors: readonly ArrayLike<number>[], tolerance?: number): PublicSide;
  free(id: number): null;
}

export type Request = { [Name in keyof Calls]: { call: number; name: Name; args: Parameters<Calls[Name]> } }[keyof Calls];

/** An error, taken apart for the journey. */
export interface Trouble {
  class: ErrorClass;
  code: string;
  message: string;
  receipt?: Receipt;
}

export type Answer =
  | { call: number; stage: Stage }
  | { call: number; value: unknown; milliseconds: number }
  | { call: number; trouble: Trouble; milliseconds: number };

