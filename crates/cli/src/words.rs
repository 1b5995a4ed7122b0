//! Errors of the library in the words of the command line: what to do about them here.

use zkinfer::files::FileError;
use zkinfer::quantize::{CompileError, Doubt, QuantizeError};
use zkinfer::{Card, CardError, ImportError, Limits, LoadError};
use zkinfer_circuits::error::ProgramError;
use zkinfer_circuits::program::ProgramLimits;

/// Adds what to do to the reason why a model cannot be imported.
pub fn import(error: ImportError) -> anyhow::Error {
    let hint = match &error {
        ImportError::DynamicDimension {
            input,
            axis,
            symbol,
        } => match symbol.as_str() {
            "unnamed" => format!("give it one: --dim {input}:{axis}=N"),
            "no shape" => "export the model with the number of its input's dimensions".into(),
            name => format!("give it one: --dim {name}=N"),
        },
        ImportError::NoDimension { .. } => "--dim takes NAME=N or INPUT:AXIS=N".into(),
        ImportError::Given { .. } => "--input takes NAME=VALUE".into(),
        ImportError::Unsupported { op, .. } if op == "If" => {
            "with --input NAME=VALUE, an input that decides has one value".into()
        }
        ImportError::Outputs { others, .. } => format!("with --outputs {}", others.join(",")),
        ImportError::NoOutput { .. } => "--outputs takes names, with commas between them".into(),
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {hint}")
}

/// Adds what to do to the reason why a card cannot be read.
pub fn card(error: FileError) -> anyhow::Error {
    let hint = match &error {
        FileError::Limit(limit) => accepting(limit),
        _ => None,
    };
    with_hint(error, hint)
}

/// Adds what to do to the reason why a card cannot be used.
pub fn load(error: LoadError) -> anyhow::Error {
    let hint = match &error {
        LoadError::Card(card) => accepting(card),
        _ => None,
    };
    with_hint(error, hint)
}

fn with_hint(error: impl Into<anyhow::Error>, hint: Option<String>) -> anyhow::Error {
    let error = error.into();
    match hint {
        Some(hint) => anyhow::anyhow!("{error}; {hint}"),
        None => error,
    }
}

/// The option that accepts a card which is beyond a limit.
fn accepting(error: &CardError) -> Option<String> {
    match error {
        CardError::Limit {
            what: "k", value, ..
        } => Some(format!("--max-k {value} accepts it")),
        CardError::Limit {
            what: "rows of all segments",
            value,
            ..
        } => Some(format!("--max-k {} accepts it", k_for_rows(*value))),
        CardError::Program(ProgramError::Values { count, .. }) => {
            Some(format!("--max-values {count} accepts it"))
        }
        _ => None,
    }
}

/// The limit on k at which a card may have so many rows in all its segments: four times `2^k`.
fn k_for_rows(rows: usize) -> u32 {
    rows.div_ceil(4).next_power_of_two().ilog2()
}

/// What verifiers have to be told to accept a card, where their defaults refuse it.
pub fn asks_for(card: &Card) -> Option<String> {
    let limits = Limits::default();
    let values = card.input_len() + card.output_len();
    let mut options = Vec::new();
    let k = card.k.max(k_for_rows(card.segments.len() << card.k));
    if k > limits.k {
        options.push(format!("--max-k {k}"));
    }
    if values > limits.program.values {
        options.push(format!("--max-values {values}"));
    }
    (!options.is_empty()).then(|| options.join(" "))
}

/// Adds what to do to the reason why a model cannot be laid out.
pub fn plan(error: zkinfer::CommitError) -> anyhow::Error {
    match error {
        zkinfer::CommitError::Memory { .. } => anyhow::anyhow!("{error}: allow more with --memory"),
        other => other.into(),
    }
}

/// Adds what to do to the reason why a model cannot be compiled.
pub fn compile(error: CompileError) -> anyhow::Error {
    if let CompileError::Quantize(QuantizeError::Program(ProgramError::Node { reason, .. })) =
        &error
        && reason.contains("slots")
    {
        let limit = ProgramLimits::default().slots;
        return anyhow::anyhow!(
            "the model needs more than {limit} values, which is the limit of a proof; smaller inputs, fewer channels or fewer \
             steps need fewer"
        );
    }
    let mut hints: Vec<&str> = Vec::new();
    match &error {
        CompileError::Doubtful(doubts) => {
            for doubt in doubts {
                hints.push(doubt_hint(doubt));
            }
            hints.push("--allow-error takes the model as it is");
        }
        CompileError::Quantize(QuantizeError::Option { option, .. }) => match *option {
            "range_bits" => hints.push("that is --bits"),
            "headroom" => hints.push("that is --headroom"),
            _ => {}
        },
        _ => {}
    }
    hints.dedup();
    match hints.is_empty() {
        true => error.into(),
        false => anyhow::anyhow!("{error}. What to do: {}", hints.join("; ")),
    }
}

fn doubt_hint(doubt: &Doubt) -> &'static str {
    match doubt {
        Doubt::Stored { .. } | Doubt::StoredLength { .. } => {
            "store the outputs of this model, or leave them out of the data"
        }
        Doubt::Error {
            column: Some(_), ..
        } => {
            "bring the columns to one scale, or make outputs of their own of them, and prove those with --outputs"
        }
        Doubt::Error { .. } | Doubt::Class { .. } => {
            "more --bits (up to 14) are more exact, and so is a smaller --max-error; keep values of very different size out of one tensor, and normalise the \
             inputs"
        }
        Doubt::Stray { .. } => {
            "leave the sample out, or clamp what is beyond the others with --saturate"
        }
        Doubt::Unprovable { .. } => "more --headroom leaves room for values that are rare",
        _ => "look at the samples",
    }
}
