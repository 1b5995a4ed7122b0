/**
 * Verifies zkinfer proofs: that an output is a committed model's answer to an input.
 *
 * ```js
 * import { Verifier } from "@zkinfer/verifier";
 *
 * const verifier = await Verifier.load(cardBytes);
 * const verdict = verifier.verify(proofBytes, { input: verifier.publicInput([pixels]), context: "request 17" });
 * console.log(verdict.runs[0].outputs);
 * ```
 *
 * @packageDocumentation
 */
export { explain, Rejected, ZkinferError } from "./errors.js";
export { fromHex, toHex } from "./hex.js";
export { parseValues, type Values } from "./values.js";
export { init } from "./module.js";
export { inspect, Verifier, verifyMany, type Check, type Claims, type RealClaim } from "./verifier.js";
export type * from "./types.js";
