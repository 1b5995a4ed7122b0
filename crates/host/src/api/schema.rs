//! Descriptions of types that are defined elsewhere. Tests compare them with what is sent.

#![allow(dead_code, reason = "only described, never made")]

use utoipa::ToSchema;

/// 64 lower-case hexadecimal digits.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
pub struct Digest(String);

/// 32 lower-case hexadecimal digits.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub struct RunId(String);

/// 128 lower-case hexadecimal digits.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{128}$")]
pub struct Signature(String);

/// A file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Bytes(Vec<u8>);

/// What the host signed of an answer. Times are milliseconds since the beginning of 1970.
#[derive(ToSchema)]
pub struct Slip {
    /// Version of the slip.
    #[schema(minimum = 1)]
    slip_version: u16,
    /// The host's key.
    host: Digest,
    /// Which of the host's numberings it is in.
    series: RunId,
    /// Its number there.
    sequence: u64,
    /// When it was signed.
    time: u64,
    /// Name of the run.
    run: RunId,
    /// Digest of the model's card.
    card: Digest,
    /// Digest of the input's integers.
    input: Digest,
    /// Digest of the output's integers.
    output: Digest,
    /// What a proof of the run is bound to, in hexadecimal digits.
    #[schema(pattern = "^([0-9a-f]{2})*$")]
    context: String,
    /// Until when a proof may be asked for.
    ask_until: u64,
    /// How long after that it is there, at most.
    prove_within: u64,
    /// Ed25519.
    signature: Signature,
}

/// What the host signed when it was asked for a proof. Times are milliseconds since the beginning of 1970.
#[derive(ToSchema)]
pub struct Promise {
    /// Version of the promise.
    #[schema(minimum = 1)]
    promise_version: u16,
    /// The host's key.
    host: Digest,
    /// Name of the run.
    run: RunId,
    /// Names the slip.
    slip: Digest,
    /// When it was asked for.
    time: u64,
    /// Until when it is there.
    due: u64,
    /// Until when it is kept.
    kept_until: u64,
    /// Ed25519.
    signature: Signature,
}

/// A host's keys: each handed over to the next.
#[derive(ToSchema)]
pub struct KeyList {
    /// Version of the list.
    #[schema(minimum = 1)]
    key_list_version: u16,
    /// The oldest first; each begins with the key that the one before ended with.
    handovers: Vec<Handover>,
}

/// One key hands over to the next.
#[derive(ToSchema)]
pub struct Handover {
    /// Who signed until then.
    from: Digest,
    /// Who signs from then on.
    to: Digest,
    /// When, in milliseconds since the beginning of 1970.
    time: u64,
    /// Ed25519, by `from`.
    signature: Signature,
    /// Ed25519, by `to`.
    accepted: Signature,
}

/// A request of the Open Inference Protocol.
#[derive(ToSchema)]
pub struct InferRequest {
    /// Comes back with the answer.
    #[schema(nullable = false)]
    id: Option<String>,
    /// `zkinfer_proof`, `zkinfer_context`, `zkinfer_integers`, `binary_data_output`; others are hints.
    #[schema(nullable = false)]
    parameters: Option<RequestParameters>,
    /// Every input of the model, once.
    inputs: Vec<InputTensor>,
    /// Which outputs are wanted; all if left out.
    #[schema(nullable = false)]
    outputs: Option<Vec<WantedTensor>>,
}

/// What is ours in a request.
#[derive(ToSchema)]
pub struct RequestParameters {
    /// When the run is proven.
    #[schema(nullable = false)]
    zkinfer_proof: Option<crate::config::ProofMode>,
    /// What the answer and its proof are bound to, up to 256 bytes in hexadecimal digits; 16 random ones if left out.
    #[schema(nullable = false)]
    zkinfer_context: Option<String>,
    /// Whether the integers behind all outputs are wanted, too, as the output `zkinfer_integers`.
    #[schema(nullable = false)]
    zkinfer_integers: Option<bool>,
    /// Whether outputs come as bytes that do not say it themselves.
    #[schema(nullable = false)]
    binary_data_output: Option<bool>,
}

/// An input.
#[derive(ToSchema)]
pub struct InputTensor {
    name: String,
    shape: Vec<u64>,
    /// `FP32`, `BOOL`, or whole numbers: `INT8` to `INT64`, `UINT8` to `UINT64`.
    datatype: String,
    #[schema(nullable = false)]
    parameters: Option<TensorParameters>,
    /// Numbers, row by row, or lists of them.
    #[schema(nullable = false)]
    data: Option<Vec<f64>>,
}

/// An output that is wanted.
#[derive(ToSchema)]
pub struct WantedTensor {
    name: String,
    #[schema(nullable = false)]
    parameters: Option<TensorParameters>,
}

/// How a tensor travels.
#[derive(ToSchema)]
pub struct TensorParameters {
    /// Of an output: whether it is wanted as bytes.
    #[schema(nullable = false)]
    binary_data: Option<bool>,
    /// How many bytes it has behind the JSON.
    #[schema(nullable = false)]
    binary_data_size: Option<u64>,
}

/// An answer of the Open Inference Protocol.
#[derive(ToSchema)]
pub struct InferResponse {
    model_name: String,
    /// Digest of the model's card.
    model_version: Digest,
    /// As in the request.
    #[schema(nullable = false)]
    id: Option<String>,
    parameters: ResponseParameters,
    outputs: Vec<OutputTensor>,
}

/// What is ours in an answer.
#[derive(ToSchema)]
pub struct ResponseParameters {
    /// Name of the run.
    zkinfer_run: RunId,
    /// A [`Slip`], as JSON in a string.
    zkinfer_slip: String,
    /// A [`Promise`], as JSON in a string, where the proof was asked for.
    #[schema(nullable = false)]
    zkinfer_promise: Option<String>,
    /// The proof in base64, where the answer waited for it, and it was there in time.
    #[schema(nullable = false)]
    zkinfer_proof: Option<String>,
}

/// An output.
#[derive(ToSchema)]
pub struct OutputTensor {
    name: String,
    /// `FP32`; `INT64` of whole numbers; `UINT16` of the integers behind all outputs.
    datatype: String,
    shape: Vec<u64>,
    #[schema(nullable = false)]
    parameters: Option<TensorParameters>,
    #[schema(nullable = false)]
    data: Option<Vec<f64>>,
}
