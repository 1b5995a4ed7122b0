//! What is asked, and whether an answer binds the host to what it says.

use super::{Options, Pinned};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::transcript::Digest;
use zkinfer_interface::{Interface, TensorInterface};
use zkinfer_slip::{Context, Evidence, Slip};

/// Output with the integers that a slip is about.
const INTEGERS: &str = "zkinfer_integers";

/// What was asked, and when.
pub struct Asked {
    pub input: Digest,
    pub context: Context,
    pub sent: u64,
    pub received: u64,
}

/// Why an answer is not accepted, and what shows it.
pub type Unbound = (String, Option<Box<Evidence>>);

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A name in a path.
pub fn escape(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    name.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
        text
    })
}

#[derive(Serialize)]
struct Question<'a> {
    parameters: Parameters<'a>,
    inputs: Vec<Input<'a>>,
}

/// Proofs are asked for when the answer is signed, so none now.
#[derive(Serialize)]
struct Parameters<'a> {
    zkinfer_proof: &'static str,
    zkinfer_context: &'a Context,
    zkinfer_integers: bool,
}

#[derive(Serialize)]
struct Input<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    data: Vec<f64>,
}

/// The body of a request. Numbers are exact.
pub fn question(interface: &Interface, inputs: &[Vec<f32>], context: &Context) -> Vec<u8> {
    let input = |(tensor, values): (&TensorInterface, &Vec<f32>)| {
        // Whole numbers are the nearest ones, which the integers of the statement are about.
        let exact = |v: &f32| f64::from(*v);
        (
            tensor.name.clone(),
            tensor.shape.clone(),
            values.iter().map(exact).collect::<Vec<_>>(),
        )
    };
    let tensors: Vec<_> = interface.inputs.iter().zip(inputs).map(input).collect();
    let question = Question {
        parameters: Parameters {
            zkinfer_proof: "none",
            zkinfer_context: context,
            zkinfer_integers: true,
        },
        inputs: tensors
            .iter()
            .map(|(name, shape, data)| Input {
                name,
                datatype: "FP32",
                shape,
                data: data.clone(),
            })
            .collect(),
    };
    // Finite numbers and strings: the interface has looked at them.
    serde_json::to_vec(&question).unwrap_or_default()
}

#[derive(Deserialize)]
struct Response {
    parameters: Ours,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Ours {
    zkinfer_slip: String,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    data: Vec<f64>,
}

/// The outputs of an answer whose slip is about this question and these outputs.
pub fn check(
    pinned: &Pinned,
    options: &Options,
    asked: &Asked,
    bytes: &[u8],
) -> Result<(Vec<Vec<f32>>, Slip), Unbound> {
    let plain = |reason: String| (reason, None);
    let response: Response =
        serde_json::from_slice(bytes).map_err(|e| plain(format!("it is none of a host's: {e}")))?;
    let slip: Slip = serde_json::from_str(&response.parameters.zkinfer_slip)
        .map_err(|e| plain(format!("it has no slip: {e}")))?;
    slip.check(&pinned.host).map_err(|e| plain(e.to_string()))?;
    is_about(pinned, options, asked, &slip).map_err(plain)?;
    let outputs = outputs(pinned, &response, &slip).map_err(plain)?;
    Ok((outputs, slip))
}

/// Whether a slip is about what was asked.
fn is_about(pinned: &Pinned, options: &Options, asked: &Asked, slip: &Slip) -> Result<(), String> {
    let terms = &slip.terms;
    let card = pinned.verifier.digest();
    if terms.card != card {
        return Err(format!(
            "the slip is of the card {}, not of the pinned card {card}",
            terms.card
        ));
    }
    if terms.context != asked.context {
        return Err("the slip is of another question: its context is not this one's".to_owned());
    }
    if terms.input != asked.input {
        return Err("the slip is of another input".to_owned());
    }
    let skew = millis(options.clock_skew);
    let from = asked.sent.saturating_sub(skew);
    let to = asked.received.saturating_add(skew);
    if !(from..=to).contains(&terms.time) {
        let time = terms.time;
        return Err(format!(
            "the slip says that it was signed at {time}, and it was between {from} and {to}"
        ));
    }
    let ask_for = millis(options.ask_for);
    if terms.ask_until < terms.time.saturating_add(ask_for) {
        return Err(format!(
            "its proof may be asked for until {}, less than {ask_for} ms",
            terms.ask_until
        ));
    }
    let within = millis(options.prove_within);
    if terms.prove_within > within {
        let own = terms.prove_within;
        return Err(format!("its proof may take {own} ms, more than {within}"));
    }
    Ok(())
}

/// The outputs that the slip is about: their integers have its digest, and the numbers are what these stand for.
fn outputs(pinned: &Pinned, response: &Response, slip: &Slip) -> Result<Vec<Vec<f32>>, String> {
    let find = |name: &str| {
        let mut found = response.outputs.iter().filter(|o| o.name == name);
        match (found.next(), found.next()) {
            (Some(output), None) => Ok(&output.data),
            _ => Err(format!("the output {name:?} is not there once")),
        }
    };
    let integer = |v: &f64| {
        let fits = v.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(v);
        fits.then_some(*v as u16)
    };
    let integers: Option<Vec<u16>> = find(INTEGERS)?.iter().map(integer).collect();
    let integers = integers.ok_or("the integers of the output are none")?;
    let reals = pinned.interface.dequantize_outputs(&integers);
    let reals =
        reals.map_err(|e| format!("the integers of the output are not the model's: {e}"))?;
    if Side::Public(integers).digest() != slip.terms.output {
        return Err("the slip is of another output than the one that was sent".to_owned());
    }
    for (tensor, values) in pinned.interface.outputs.iter().zip(&reals) {
        let said = find(&tensor.name)?.iter().map(|v| *v as f32);
        if !said
            .map(f32::to_bits)
            .eq(values.iter().map(|v| v.to_bits()))
        {
            return Err(format!(
                "the output {:?} is not what its signed integers stand for",
                tensor.name
            ));
        }
    }
    Ok(reals)
}
