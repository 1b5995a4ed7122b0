import type { ErrorClass, Receipt } from "./types.js";

/** Why something was refused. `class` and `code` are stable, messages may change. */
export class ZkinferError extends Error {
  readonly class: ErrorClass;
  readonly code: string;

  constructor(kind: ErrorClass, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ZkinferError";
    this.class = kind;
    this.code = code;
  }
}

/** A proof that was not accepted. */
export class Rejected extends ZkinferError {
  readonly receipt: Receipt;

  constructor(kind: ErrorClass, code: string, message: string, receipt: Receipt) {
    super(kind, code, message);
    this.name = "Rejected";
    this.receipt = receipt;
  }
}

const TITLES: Record<ErrorClass, string> = {
  malformed: "This file cannot be read",
  wrong_version: "This file has another format version",
  invalid_card: "This card cannot be used",
  unknown_model: "The proof is about another model",
  statement_mismatch: "The proof is about something else",
  invalid_proof: "The proof is not valid",
  invalid_argument: "What was given beside the files cannot be used",
  internal: "The verifier failed",
};

const SENTENCES: Record<string, string> = {
  truncated: "It ends before everything that it announces. Perhaps a transfer was cut off.",
  trailing_bytes: "There is something behind its end.",
  invalid_field: "One of its fields has a value that no such file has.",
  not_zkinfer: "It is not a file of zkinfer.",
  wrong_kind: "It is another kind of file than the one needed here.",
  wrong_version: "It was written by another version. Ask for a file of this version, or use the verifier of the other one.",
  damaged: "Its checksum does not match: bytes were changed or lost on the way.",
  too_large: "It is larger than this verifier accepts.",
  card_program: "The architecture that it describes is not well formed, or larger than this verifier accepts.",
  card_layout: "The architecture that it describes does not fit the size that it states.",
  card_limit: "It asks for more work than this verifier is willing to do.",
  card_params: "It needs other parameters than it was given.",
  card_points: "Its model commitment does not have the size that the architecture needs.",
  card_boundary: "A segment of the model does not read what the one before it puts out.",
  card_support: "Its own proof of consistency is wrong: the commitment does not belong to this architecture, or the card was changed.",
  card_key: "No verifying key can be derived from it.",
  malformed_proof: "The cryptographic part has the wrong length, or holds something that is no point or number.",
  unknown_model: "It was made for a model with another digest than that of the card. A proof only counts for the model that it names.",
  other_context: "Its context (nonce, request) is not the expected one. It may be an honest proof, made for another request.",
  other_input: "Its input is not the one that you expect.",
  other_output: "Its output is not the one that you expect.",
  other_runs: "It covers another number of runs than expected.",
  input_needed: "It does not carry its input, only a digest. Give the input that you asked about.",
  output_needed: "It does not carry its output, only a digest. Give the output that you expect.",
  wrong_length: "It states another number of values than the model has.",
  out_of_range: "It states a value that the model's integers cannot have.",
  invalid_link: "It does not use the committed model, the stated input or the stated output: one of them is not what was proven.",
  invalid_computation: "The computation does not check. Nobody has shown that this output is the model's.",
  expected: "What you expect is not written in a way that can be read.",
  tensors: "The values are not lists of numbers.",
  tensor_length: "The number of values is not that of the model.",
  tensor_range: "A value is outside the range that the model was calibrated for.",
  tensor_scales: "The card's scales cannot be used.",
  no_interface: "The card does not say what its integers stand for.",
};

/** A reason in words for people: a heading for the class, a sentence for the code. */
export function explain(reason: { class: ErrorClass; code: string; message?: string }): { title: string; sentence: string } {
  return {
    title: TITLES[reason.class] ?? "Refused",
    sentence: SENTENCES[reason.code] ?? reason.message ?? "",
  };
}
