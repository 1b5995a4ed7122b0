//! `zkinfer demo`: the whole story on a small network that is part of the binary.

mod art;

use crate::infer::largest;
use crate::ui;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use zkinfer::data::Samples;
use zkinfer::graph::Graph;
use zkinfer::interface::Interface;
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{QuantizeOptions, quantize};
use zkinfer::secret::{CommitOptions, Run, Secret, Visibility};
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::program::Node;
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

/// 64 inputs, 32 hidden neurons, 10 scores; see `assets/README.md` for where it and the images come from.
const NETWORK: &[u8] = include_bytes!("../assets/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../assets/digits.npz");
/// What the verifier asks to be bound to the proof.
const CONTEXT: &[u8] = b"zkinfer demo";

/// See a digits network proven, checked, and lied about.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer demo
  zkinfer demo --image 7
  zkinfer demo --json")]
pub struct Demo {
    /// Which of the 30 images
    #[arg(long, value_name = "N", default_value_t = 3)]
    image: usize,
}

/// Prints, or collects for `--json`.
struct Stage {
    paint: ui::Paint,
    quiet: bool,
    lies: Vec<Value>,
}

impl Stage {
    fn head(&self, number: usize, text: &str) -> Result<()> {
        self.say(&format!(
            "\n{} {}",
            self.paint.cyan(&number.to_string()),
            self.paint.bold(text)
        ))
    }

    /// A line of text with a time at its right end.
    fn timed(&self, text: &str, time: Duration) -> Result<()> {
        let time = format!("{:>9}", ui::time(time));
        let gap = 76usize.saturating_sub(ui::width(text) + time.len());
        self.say(&format!(
            "  {text}{}{}",
            " ".repeat(gap),
            self.paint.dim(&time)
        ))
    }

    fn say(&self, text: &str) -> Result<()> {
        if self.quiet { Ok(()) } else { ui::line(text) }
    }

    /// Shows that a lie is rejected. That one is not would be news.
    fn lie(&mut self, what: &str, judge: &Judge, image: &[Vec<f32>], proof: &Proof) -> Result<()> {
        let start = Instant::now();
        let Err(reason) = judge.check(image, proof)? else {
            bail!("{what}: was accepted, which must not happen; please report it");
        };
        let time = start.elapsed();
        self.timed(what, time)?;
        let reason = shorten(&reason.to_string());
        for (i, line) in wrap(&reason, 62).iter().enumerate() {
            let mark = if i == 0 {
                self.paint.red("REJECTED")
            } else {
                " ".repeat(8)
            };
            self.say(&format!("    {mark} {line}"))?;
        }
        self.lies.push(json!({ "lie": what, "rejected": true, "reason": reason, "seconds": time.as_secs_f64() }));
        Ok(())
    }
}

/// Words in lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last] = word.to_owned();
        } else if lines[last].chars().count() + 1 + word.chars().count() <= width {
            lines[last] = format!("{} {word}", lines[last]);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Digests by their beginning.
fn shorten(text: &str) -> String {
    let word = |w: &str| {
        let digits = w.trim_end_matches(',');
        let digest = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if digest {
            format!("{}…{}", &digits[..12], &w[64..])
        } else {
            w.to_owned()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// What a verifier has: the card, and what it knows itself.
struct Judge {
    verifier: Verifier,
    interface: Interface,
    bits: u32,
}

impl Judge {
    fn new(card: &[u8]) -> Result<Judge> {
        let limits = Limits::default();
        let card = Card::from_bytes(card, limits.card_bytes)?;
        let (interface, bits) = (Interface::from_card(&card)?, card.range_bits());
        Ok(Judge {
            verifier: zkinfer::verifier(card, &limits)?,
            interface,
            bits,
        })
    }

    /// Checks a proof for an image; gives the scores.
    fn check(&self, image: &[Vec<f32>], proof: &Proof) -> Result<Result<Vec<f32>, Rejection>> {
        let input = Side::Public(self.interface.quantize_inputs(image, self.bits)?);
        let expected = Expected {
            input: Some(input),
            output: None,
            context: CONTEXT.to_vec(),
        };
        match self.verifier.verify(&expected, proof) {
            Ok(verdict) => match &verdict.output {
                Side::Public(values) => Ok(Ok(self.interface.dequantize_outputs(values)?.concat())),
                Side::Committed(_) => bail!("the output is hidden"),
            },
            Err(rejection) => Ok(Err(rejection)),
        }
    }
}

impl Demo {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let mut stage = Stage {
            paint: ui::stdout(),
            quiet: as_json,
            lies: Vec::new(),
        };
        stage.say(
            &stage
                .paint
                .bold("zkinfer: a network's answer, proven without showing the network"),
        )?;

        // The owner.
        let start = Instant::now();
        let graph = Graph::from_onnx(NETWORK).context("the network of the demo")?;
        let samples =
            Samples::from_npz(IMAGES, &graph.input_lens()).context("the images of the demo")?;
        let Some(image) = samples.inputs.get(self.image) else {
            bail!(
                "there are {} images: --image 0 to {}",
                samples.inputs.len(),
                samples.inputs.len().saturating_sub(1)
            );
        };
        let model = quantize(&graph, &samples.inputs, &QuantizeOptions::default())?;
        let cheaper = cheaper(&model);
        let options = CommitOptions::default().with_name("digits");
        let secret = Secret::commit_with(model, &options, &mut zkinfer::rng())?;
        let t_commit = start.elapsed();
        let (card, kept) = (secret.card().to_bytes(), secret.to_bytes()?);
        stage.head(
            1,
            "The owner quantizes a network and commits to its weights",
        )?;
        let layers: Vec<String> = layers(&secret).iter().map(ToString::to_string).collect();
        let weights = secret
            .card()
            .programs()
            .map(|p| p.committed_weights())
            .sum::<u64>();
        let points = secret.card().points();
        let text = format!(
            "{} neurons; {} weights, hidden in {points} commitments",
            layers.join("-"),
            ui::count(weights)
        );
        stage.timed(&text, t_commit)?;
        stage.say(&format!(
            "  published: the card, {}; kept: the model, {}",
            ui::size(card.len()),
            ui::size(kept.len())
        ))?;

        // The answer.
        stage.head(2, "Somebody asks: which digit is this?")?;
        let (run, t_run) = ui::step("running", || secret.infer(image));
        let run = run?;
        let scores = run.outputs().concat();
        let class = largest(&scores).unwrap_or_default();
        stage.say("")?;
        for line in art::side_by_side(
            &art::draw(&image.concat(), 8),
            &art::bars(&scores, class, stage.paint),
        ) {
            stage.say(&format!("    {line}"))?;
        }
        stage.say("")?;
        stage.timed(
            &format!("the network says {}", stage.paint.bold(&class.to_string())),
            t_run,
        )?;

        // The proof.
        stage.head(3, "The owner proves it")?;
        let (key, t_key) = ui::step("deriving the proving key", || secret.prepare());
        key?;
        let (proof, t_prove) = ui::step("proving", || prove(&secret, &run));
        let proof = proof?;
        let bytes = proof.to_bytes();
        stage.timed("proving key, once per model", t_key)?;
        stage.timed(&format!("proof, {}", ui::size(bytes.len())), t_prove)?;

        // Everything that the verifier has goes through bytes.
        stage.head(
            4,
            "A verifier has the card and the image, gets the proof, sees no weight",
        )?;
        let (judge, t_card) = ui::step("checking the card", || Judge::new(&card));
        let judge = judge?;
        stage.timed("checks the card, once per model", t_card)?;
        let received = Proof::from_bytes(&bytes, Limits::default().proof_bytes)?;
        let (verdict, t_verify) = ui::step("checking the proof", || judge.check(image, &received));
        let proven = match verdict? {
            Ok(proven) => proven,
            Err(rejection) => bail!("an honest proof was rejected ({rejection}); please report it"),
        };
        let class_proven = largest(&proven).unwrap_or_default();
        let text = format!(
            "{} the committed network answers {class_proven}, with these scores",
            stage.paint.green("VALID")
        );
        stage.timed(&text, t_verify)?;

        stage.head(5, "And if somebody lies?")?;
        self.lies(&mut stage, &judge, &secret, &received, &samples, cheaper)?;
        stage.say(&format!(
            "\n{}",
            stage
                .paint
                .dim("Next: zkinfer compile MODEL.onnx --calibration DATA -o NAME; zkinfer --help")
        ))?;

        if as_json {
            ui::json(&json!({
                "status": "done",
                "image": self.image,
                "label": samples.labels.as_ref().and_then(|l| l.get(self.image)),
                "class": class,
                "output": run.outputs(),
                "valid": true,
                "card": secret.card().digest().to_string(),
                "bytes": { "card": card.len(), "model": kept.len(), "proof": bytes.len() },
                "k": secret.card().k,
                "seconds": {
                    "commit": t_commit.as_secs_f64(),
                    "run": t_run.as_secs_f64(),
                    "key": t_key.as_secs_f64(),
                    "prove": t_prove.as_secs_f64(),
                    "card": t_card.as_secs_f64(),
                    "verify": t_verify.as_secs_f64(),
                },
                "lies": stage.lies,
            }))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn lies(
        &self,
        stage: &mut Stage,
        judge: &Judge,
        secret: &Secret,
        proof: &Proof,
        samples: &Samples,
        cheaper: QuantizedModel,
    ) -> Result<()> {
        let next = (self.image + 1) % samples.inputs.len().max(1);
        let (Some(image), Some(other)) = (samples.inputs.get(self.image), samples.inputs.get(next))
        else {
            bail!("there is no image");
        };
        // Another output: the winner gets the lowest score there is.
        let [(input, Claim::Values(values))] = proof.runs.as_slice() else {
            bail!("the output does not travel with the proof")
        };
        let reals = judge.interface.dequantize_outputs(values)?.concat();
        let mut forged = values.clone();
        if let Some(winner) = largest(&reals).and_then(|at| forged.get_mut(at)) {
            *winner = 0;
        }
        let class =
            largest(&judge.interface.dequantize_outputs(&forged)?.concat()).unwrap_or_default();
        let lie = Proof {
            runs: vec![(input.clone(), Claim::Values(forged))],
            ..proof.clone()
        };
        stage.lie(
            &format!("forged output: the same proof, but \"it is a {class}\""),
            judge,
            image,
            &lie,
        )?;

        // An honest proof, but for another image.
        let replay = prove(secret, &secret.infer(other)?)?;
        stage.lie(
            "another image: an honest proof, for the next image",
            judge,
            image,
            &replay,
        )?;

        // A cheaper network in the place of the one that was committed to.
        let cheap = Secret::commit_with(
            cheaper,
            &CommitOptions::default()
                .with_name("digits")
                .with_k(secret.card().k),
            &mut zkinfer::rng(),
        )?;
        let run = cheap.infer(image).context("the cheaper network")?;
        let mut swapped = prove(&cheap, &run)?;
        stage.lie(
            "swapped model: a cheaper network answers, 4 bits per weight",
            judge,
            image,
            &swapped,
        )?;
        swapped.card = secret.card().digest();
        stage.lie(
            "swapped model, with the label of the committed one",
            judge,
            image,
            &swapped,
        )
    }
}

fn prove(secret: &Secret, run: &Run) -> Result<Proof> {
    Ok(secret
        .prove(run, &Visibility::default(), CONTEXT, &mut zkinfer::rng())?
        .proof)
}

/// Neurons per layer, inputs first.
fn layers(secret: &Secret) -> Vec<usize> {
    let card = secret.card();
    let neurons = card.programs().flat_map(|p| &p.nodes).filter_map(|n| {
        if let Node::Neurons(n) = n {
            Some(n.len())
        } else {
            None
        }
    });
    std::iter::once(card.input_len()).chain(neurons).collect()
}

/// The same network with weights rounded to the upper four of their bits.
fn cheaper(model: &QuantizedModel) -> QuantizedModel {
    let mut model = model.clone();
    for tensor in &mut model.weights {
        let largest = tensor
            .data
            .iter()
            .map(|v| v.unsigned_abs())
            .max()
            .unwrap_or(0);
        let step = i32::try_from((largest / 8).max(1)).unwrap_or(i32::MAX);
        tensor.data.iter_mut().for_each(|v| *v = *v / step * step);
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(
            shorten(&format!("model {digest}, not {digest}")),
            "model 0123456789ab…, not 0123456789ab…"
        );
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""]);
    }
}
