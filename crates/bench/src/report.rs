//! Everything that is measured, as plain data. Its serde form is the JSON format of `zkinfer bench --json`.
//!
//! Times are seconds, sizes and memory are bytes. Nothing derived is stored: overheads are computed from these
//! ([`overhead`](crate::overhead)). What could not be measured on a platform is `None`, never zero.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Number of the JSON format. It changes when a field changes its meaning or goes; new fields do not change it.
pub const FORMAT: u32 = 1;

/// One run of `zkinfer bench`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The command line that made it, empty if it was a library call.
    #[serde(default)]
    pub command: String,
    /// Where and when.
    pub machine: Machine,
    /// Models that were measured in every respect.
    #[serde(default)]
    pub models: Vec<Measurement>,
    /// Families of models of growing size.
    #[serde(default)]
    pub sweeps: Vec<Sweep>,
    /// What other systems take.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// The machine, its load, and the versions of what ran. Unknown texts are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Threads that the process can run at the same time.
    pub cores: usize,
    /// Main memory.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub os: String,
    /// Instruction sets beyond the baseline that matter here and that the processor has, such as `avx512ifma`.
    pub instructions: Vec<String>,
    /// The prover's backend: `portable`, `ifma` or `upstream`.
    pub engine: String,
    /// Version of zkinfer.
    pub zkinfer: String,
    /// Version of `halo2_proofs`.
    pub halo2: String,
    /// The compiler, as it names itself.
    pub rustc: String,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// Load averages over 1, 5 and 15 minutes before the first measurement.
    pub load_start: Option<[f64; 3]>,
    /// The same behind the last one. It holds this run's own load.
    pub load_end: Option<[f64; 3]>,
}

/// Median and quartiles of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Median.
    pub median: f64,
    /// First quartile.
    pub low: f64,
    /// Third quartile.
    pub high: f64,
    /// How many runs there were.
    pub runs: usize,
}

/// What is done in a [`Stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StageName {
    /// The original model on one sample, in floats, by tract, optimised.
    FloatInference,
    /// The quantized model on one sample, exactly as it is proven; this is what the witness is made from.
    QuantizedInference,
    /// ONNX bytes to a graph.
    Import,
    /// Graph and calibration samples to a quantized model.
    Quantize,
    /// Plan, commitment to the weights and support proof: once per model.
    Register,
    /// Proving key: once per model and process.
    DeriveKey,
    /// A whole proof of one run.
    Prove,
    /// Part of a proof: cells that do not depend on challenges, and commitments to them.
    Witness,
    /// Part of a proof: weights are folded, and commitments to that.
    Fold,
    /// Part of a proof: lookups and running sums.
    Sums,
    /// Part of a proof: quotient and opening.
    Open,
    /// Part of a proof: the link to the model commitment.
    Link,
    /// Card from bytes to a verifier: checks, verifying key. Once per model and process.
    LoadCard,
    /// One proof, from bytes to a verdict, by a verifier that has loaded the card and has verified before.
    Verify,
    /// A fresh process, from its start to its verdict: card and proof read from files.
    VerifyCold,
}

impl StageName {
    /// The parts of a proof, in their order.
    pub const PARTS: [StageName; 5] = [
        StageName::Witness,
        StageName::Fold,
        StageName::Sums,
        StageName::Open,
        StageName::Link,
    ];

    /// A few words for people.
    pub fn label(self) -> &'static str {
        match self {
            StageName::FloatInference => "float inference",
            StageName::QuantizedInference => "quantized inference",
            StageName::Import => "import",
            StageName::Quantize => "quantization",
            StageName::Register => "registration",
            StageName::DeriveKey => "proving key",
            StageName::Prove => "prove",
            StageName::Witness => "witness",
            StageName::Fold => "fold",
            StageName::Sums => "lookups and sums",
            StageName::Open => "quotient and opening",
            StageName::Link => "link",
            StageName::LoadCard => "load card",
            StageName::Verify => "verify",
            StageName::VerifyCold => "verify, cold",
        }
    }
}

/// The [label](StageName::label).
impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// What one stage takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Which.
    pub name: StageName,
    /// Wall time, seconds.
    pub wall: Summary,
    /// CPU time of all threads of the process together, seconds.
    pub cpu: Option<Summary>,
    /// Resident memory of the process at its highest during the stage: with everything else that the process holds.
    pub peak_bytes: Option<u64>,
    /// By how much that exceeds what was resident before. Memory that an earlier stage has let go of may be used again
    /// without counting.
    pub grown_bytes: Option<u64>,
}

/// Where the inputs came from that a model was calibrated with and run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Samples {
    /// A file that the caller gave.
    Given,
    /// Drawn at random in the shape of the input: costs are those of the model, ranges and errors mean little.
    Random,
}

/// What decides the costs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Weights and biases of the model, each counted once however often it is used.
    pub parameters: u64,
    /// Multiplications with weights, and of activations, for one input.
    pub multiply_adds: u64,
    /// Elements that pass through a non-linearity.
    pub activations: u64,
    /// Elements that the proof has a cell group for: activations and requantized sums.
    pub neurons: u64,
    /// Elements of all inputs.
    pub inputs: u64,
    /// Elements of all outputs.
    pub outputs: u64,
    /// Logarithm of the number of rows.
    pub k: u32,
    /// Advice columns.
    pub columns: u64,
    /// Points in the model commitment.
    pub points: u64,
    /// Bits of an activation.
    pub range_bits: u32,
}

/// Sizes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// The ONNX file; `None` for models that never were one.
    pub onnx: Option<u64>,
    /// The owner's file: weights, blinds, card.
    pub model: u64,
    /// What is published.
    pub card: u64,
    /// A proof with a public output; the verifier brings the input.
    pub proof: u64,
}

/// How far the quantized model is from the float model, on the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// How many samples were run.
    pub samples: usize,
    /// Of those, how many left the calibrated ranges and cannot be proven.
    pub out_of_range: usize,
    /// Mean error of an output over that output's range, largest over the outputs.
    pub mean_error: f64,
    /// Largest error of any element over its output's range.
    pub max_error: f64,
    /// Fraction of samples on which both name the same class (largest element of the first output).
    pub same_class: f64,
}

/// Proving and verifying with a number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadPoint {
    /// How many threads.
    pub threads: usize,
    /// A whole proof.
    pub prove: Stage,
    /// Verification of one.
    pub verify: Stage,
}

/// Verification of several proofs of one model together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchPoint {
    /// How many proofs.
    pub proofs: usize,
    /// All of them, bytes to verdicts.
    pub verify: Stage,
}

/// Several runs in one proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunsPoint {
    /// How many runs the proof is about.
    pub runs: usize,
    /// The whole proof.
    pub prove: Stage,
    /// Verification of it.
    pub verify: Stage,
    /// Its size.
    pub proof_bytes: u64,
}

/// One model, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Its name. From a file name: any text.
    pub name: String,
    /// Where the inputs came from.
    pub samples: Samples,
    /// What decides the costs.
    pub facts: Facts,
    /// Sizes of files.
    pub sizes: Sizes,
    /// Error against the float model, where it was looked at.
    pub accuracy: Option<Accuracy>,
    /// What was measured, in the order of the work; parts of a proof follow it. A point of a sweep has fewer.
    pub stages: Vec<Stage>,
    /// By number of threads, ascending; may be empty.
    #[serde(default)]
    pub threads: Vec<ThreadPoint>,
    /// By size of the batch, ascending; may be empty.
    #[serde(default)]
    pub batches: Vec<BatchPoint>,
    /// By number of runs in a proof, ascending; may be empty.
    #[serde(default)]
    pub runs: Vec<RunsPoint>,
    /// What a reader has to know about this measurement, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A family of generated models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Family {
    /// Dense networks whose parameters grow while their activations hardly do.
    Mlp,
    /// Convolutional networks of fixed kernels over growing images: fixed parameters, growing activations.
    Cnn,
    /// Dense networks of equal layers, more and more of them.
    Depth,
    /// Dense networks of two hidden layers that get wider.
    Width,
    /// A transformer block of fixed parameters over more and more tokens.
    Tokens,
    /// A convolutional network whose channels grow while its image stays: multiply-adds grow as the square of activations.
    Channels,
    /// A dense network over rows of fixed number that get wider.
    Rows,
    /// A transformer block over tokens of fixed number that get wider.
    Block,
}

/// Measurements of a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Which family.
    pub family: Family,
    /// What grows from point to point, in a word, such as `tokens`.
    pub axis: String,
    /// Smallest first. Names say the value on the axis.
    pub points: Vec<SweepPoint>,
    /// Why there are no more points, if something other than the limit that was asked for ended the sweep.
    #[serde(default)]
    pub stopped: Option<String>,
}

/// A model of a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// Value on the sweep's axis.
    pub size: u64,
    /// The model, measured with fewer stages.
    pub measurement: Measurement,
}

/// What another system takes for a model. Only [`same_run`](Peer::same_run) figures may stand beside ours in one plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Name of the system, such as `EZKL`.
    pub system: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The model: a [`Measurement::name`] if it is the same file, any description otherwise.
    pub model: String,
    /// Parameters of the model.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Size of the ONNX file that it took.
    #[serde(default)]
    pub onnx_bytes: Option<u64>,
    /// Whether it ran on this report's machine, one after the other with this report's measurements.
    #[serde(default)]
    pub same_run: bool,
    /// The machine.
    pub machine: String,
    /// When, as a date; empty if unknown.
    #[serde(default)]
    pub date: String,
    /// Where the figures are quoted from; empty if they were measured for this report.
    #[serde(default)]
    pub source: String,
    /// Keys and whatever else is made once per model.
    #[serde(default)]
    pub setup: Option<PeerTime>,
    /// One proof, witness included.
    #[serde(default)]
    pub prove: Option<PeerTime>,
    /// One verification.
    #[serde(default)]
    pub verify: Option<PeerTime>,
    /// Proof.
    #[serde(default)]
    pub proof_bytes: Option<u64>,
    /// Proving key.
    #[serde(default)]
    pub proving_key_bytes: Option<u64>,
    /// Verifying key.
    #[serde(default)]
    pub verifying_key_bytes: Option<u64>,
    /// Whether it hides the weights; `None` if unknown.
    #[serde(default)]
    pub hides_weights: Option<bool>,
    /// Why there are no figures, or what a reader has to know.
    #[serde(default)]
    pub note: String,
}

/// Time and memory of a peer's stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerTime {
    /// Wall time, seconds.
    pub wall: Option<Summary>,
    /// CPU time, seconds.
    #[serde(default)]
    pub cpu: Option<Summary>,
    /// Resident memory at its highest.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
}

impl Measurement {
    /// A stage, if it was measured.
    pub fn stage(&self, name: StageName) -> Option<&Stage> {
        self.stages.iter().find(|s| s.name == name)
    }
}

impl BatchPoint {
    /// Wall time per proof, seconds.
    pub fn wall_per_proof(&self) -> f64 {
        self.verify.wall.median / self.proofs.max(1) as f64
    }

    /// CPU time per proof, seconds.
    pub fn cpu_per_proof(&self) -> Option<f64> {
        Some(self.verify.cpu?.median / self.proofs.max(1) as f64)
    }
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 8] = [
        Family::Mlp,
        Family::Cnn,
        Family::Depth,
        Family::Width,
        Family::Tokens,
        Family::Channels,
        Family::Rows,
        Family::Block,
    ];

    /// The word that names it on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Family::Mlp => "mlp",
            Family::Cnn => "cnn",
            Family::Depth => "depth",
            Family::Width => "width",
            Family::Tokens => "tokens",
            Family::Channels => "channels",
            Family::Rows => "rows",
            Family::Block => "block",
        }
    }

    /// What the models of the family are, in a sentence.
    pub fn describe(self) -> &'static str {
        match self {
            Family::Mlp => "dense, growing inputs: parameters grow, activations stay",
            Family::Cnn => "fixed 3x3 kernels, growing images: activations grow, parameters stay",
            Family::Depth => "dense, more and more layers of 64 neurons",
            Family::Width => "dense, two hidden layers that get wider",
            Family::Tokens => "a transformer block, growing tokens: parameters stay",
            Family::Channels => {
                "convolutional with a residual block, growing channels: multiply-adds grow as the square of activations"
            }
            Family::Rows => "dense over 64 rows that get wider: the same",
            Family::Block => "a transformer block over 64 tokens that get wider: nearly the same",
        }
    }
}

/// The [name](Family::name).
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
