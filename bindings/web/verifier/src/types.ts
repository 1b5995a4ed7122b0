/** A file in memory. */
export type Bytes = Uint8Array | ArrayBuffer;

/** Kinds of reasons to refuse: those of receipts, and two more for what is no matter of files. */
export type ErrorClass =
  | "malformed"
  | "wrong_version"
  | "invalid_card"
  | "unknown_model"
  | "statement_mismatch"
  | "invalid_proof"
  /** What the caller gave besides files cannot be used. */
  | "invalid_argument"
  /** A mistake in this package, or too little memory; the instance cannot be used any more. */
  | "internal";

/** Public integers of an input or output, all tensors concatenated. */
export interface PublicSide {
  kind: "public";
  values: readonly number[] | Uint16Array;
  /** May be left out; one that is given has to be the right one. */
  digest?: string;
}

/** Commitments to an input or output. */
export interface CommittedSide {
  kind: "committed";
  /** Compressed points in lower-case hexadecimal digits. */
  points: readonly string[];
  /** May be left out; one that is given has to be the right one. */
  digest?: string;
}

/** An input or an output of a statement. */
export type Side = PublicSide | CommittedSide;

/** What the caller expects of one run. What is left out is taken from the proof, and the verdict says what it was. */
export interface Expected {
  input?: Side;
  output?: Side;
  /** Always compared, also if it is left out: then the context has to be empty. A string is text (UTF-8). */
  context?: string | Uint8Array;
}

/** An input or output as receipts hold it. */
export type SideRecord =
  | { kind: "public"; values: number[]; digest: string }
  | { kind: "committed"; points: string[]; digest: string };

/** Real numbers as a receipt has them. */
export interface RealTensor {
  name: string;
  values: number[];
  /** Distance between neighbouring values, for all or for each: everything within half a step has the same integer. */
  step: number[];
}

/** One run as a receipt has it. */
export interface ReceiptRun {
  input: SideRecord;
  output: SideRecord;
  /** What the checker stated. The rest is what the proof claims. */
  stated: ("input" | "output")[];
  /** What public integers stand for, if the card says it. */
  reals?: { input?: RealTensor[]; output?: RealTensor[] };
}

/** What came out of a check, as JSON: `docs/formats.md`, section 7. */
export interface Receipt {
  receipt_version: number;
  format_version: number;
  /** Digest of the card, 64 hexadecimal digits. */
  card: string;
  /** Digest of the proof file. */
  proof: string;
  result:
    | {
        outcome: "accepted";
        /** Digest of the statement. */
        statement: string;
        /** In hexadecimal digits. */
        context: string;
        runs: ReceiptRun[];
      }
    | { outcome: "rejected"; class: ErrorClass; code: string; message: string };
}

/** One run that a valid proof shows. */
export interface VerifiedRun {
  input: SideRecord;
  output: SideRecord;
  /** What the caller stated. The rest is what the proof claims. */
  stated: ("input" | "output")[];
  /** Real values, one array per tensor, rounded to {@link Tensor.scale}; `null` for commitments, and if the card has no scales. */
  inputs: Float32Array[] | null;
  /** Real values, one array per tensor; `null` for commitments, and if the card has no scales. */
  outputs: Float32Array[] | null;
}

/** What a valid proof shows: the committed model maps every input to its output. */
export interface Verdict {
  /** Digest of the statement. */
  statement: string;
  context: Uint8Array;
  runs: VerifiedRun[];
  receipt: Receipt;
}

/** An input or output tensor: `real = scale · (integer − zeroPoint)`, with one scale for all or one per element. */
export interface Tensor {
  name: string;
  shape: number[];
  length: number;
  scale: number[];
  zeroPoint: number[];
  /** Zero, or the bits of the lower of two integers that stand for each element. */
  lowBits: number;
}

/** What a card says. */
export interface CardInfo {
  kind: "card";
  /** The model's identity. */
  digest: string;
  k: number;
  /** How many segments the model consists of, each proven by itself; most models are one. */
  segments: number;
  /** Integers of statements are below `2 ** rangeBits`. */
  rangeBits: number;
  /** Points of the model commitment. */
  points: number;
  inputLength: number;
  outputLength: number;
  /** `null` if the card describes no tensors, or wrongly. */
  interface: { name: string; inputs: Tensor[]; outputs: Tensor[] } | null;
  interfaceError: string | null;
}

/** An input or output as a proof claims it; with `"digest"` the verifier has to bring the values. */
export type Claim = SideRecord | { kind: "digest"; digest: string };

/** What a proof claims. Nothing of it is true before the proof is verified. */
export interface ProofInfo {
  kind: "proof";
  /** Digest of the file, as in receipts. */
  digest: string;
  /** Digest of the card that it claims to be about. */
  card: string;
  /** In hexadecimal digits. */
  context: string;
  /** How many of a model's segments it has parts for. */
  segments: number;
  runs: { input: Claim; output: Claim }[];
}

/** What a file is and says. A `model` holds weights and is meant for nobody else. */
export type FileInfo = CardInfo | ProofInfo | { kind: "model" | "params" | "other" };

/** Bounds on what a file may ask for. Defaults suit a page: `k` 14, cards of 64 MiB, proofs of 4 MiB. */
export interface Limits {
  cardBytes?: number;
  proofBytes?: number;
  k?: number;
  columns?: number;
  points?: number;
  runs?: number;
  /** Runs of a proof times `2 ** k`. */
  runRows?: number;
  /** Bytes of a card's description of inputs and outputs. */
  info?: number;
  nodes?: number;
  tables?: number;
  elements?: number;
  slots?: number;
  /** Elements of inputs and outputs. */
  values?: number;
  pieces?: number;
}

/** Where {@link Verifier.load} is. `params-make` happens only if no file with parameters can be used; it takes seconds. */
export type Stage = "card-read" | "params-fetch" | "params-read" | "params-make" | "card-check" | "ready";

/**
 * Where parameters come from: a folder with files `params-K.bin`, a function, or `false` to make them.
 *
 * Whatever the source, only the right parameters are ever used: their digests are part of the module.
 */
export type ParamsSource = URL | string | ((k: number) => Promise<Bytes | null>) | false;

/** Options of {@link Verifier.load}. */
export interface LoadOptions {
  limits?: Limits | undefined;
  /** By default the files that come with this package (`k` up to 12). */
  params?: ParamsSource | undefined;
  onProgress?: ((stage: Stage) => void) | undefined;
}

/** How a card was prepared. */
export interface Preparation {
  params: "file" | "made" | "cached";
  /** Why a file with parameters was not used, if so. */
  paramsProblem: string | null;
  /** Milliseconds for the parameters, their transfer included. */
  paramsTime: number;
  /** Milliseconds for checking the card and deriving its verifying key. */
  cardTime: number;
}
