//! One model, every stage.

use crate::cold::verify_cold;
use crate::error::BenchError;
use crate::facts::facts;
use crate::measure::{Clock, Effort, Lap, Meter, stage};
use crate::report::{Accuracy, Measurement, Samples, Sizes, Stage, StageName};
use crate::{batch, threads};
use std::ops::ControlFlow;
use std::path::PathBuf;
use zkinfer::data::{TensorForm, Tensors};
use zkinfer::onnx::ReferenceModel;
use zkinfer::quantize::{OutputReport, Report, evaluate};
use zkinfer::{
    Card, CommitOptions, Engine, Expected, Graph, ImportOptions, Limits, Proof, QuantizeOptions,
    Run, Secret, Side, Verifier, Visibility, verifier,
};

/// Samples that a model without samples is given.
const RANDOM_SAMPLES: usize = 16;
/// Most samples that are compared with the floats.
const COMPARED: usize = 50;

/// What is measured and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// How often every stage is run.
    pub effort: Effort,
    /// Which prover.
    pub engine: Engine,
    /// Numbers of threads to prove and verify with; none by default.
    pub threads: Vec<usize>,
    /// Sizes of batches to verify; none by default.
    pub batches: Vec<usize>,
    /// Numbers of runs to prove in one proof; none by default.
    pub runs: Vec<usize>,
    /// An executable of `zkinfer` for verification by a fresh process; without one, that is left out.
    pub cold: Option<PathBuf>,
    /// Whether errors against the float model are looked at.
    pub accuracy: bool,
    /// How the model is quantized.
    pub quantize: QuantizeOptions,
    /// How it is committed to; the name is set.
    pub commit: CommitOptions,
}

impl Options {
    /// Nothing but the stages.
    pub fn new(effort: Effort) -> Options {
        Options {
            effort,
            ..Options::default()
        }
    }
}

/// A model with what it is run on.
#[derive(Clone, Debug)]
pub struct Subject {
    name: String,
    onnx: Vec<u8>,
    import: ImportOptions,
    graph: Graph,
    samples: Tensors,
    source: Samples,
}

impl Subject {
    /// Imports an ONNX model and draws samples at random, uniform between 0 and 1.
    ///
    /// # Errors
    /// What cannot be imported.
    pub fn new(
        name: impl Into<String>,
        onnx: Vec<u8>,
        import: ImportOptions,
    ) -> Result<Subject, BenchError> {
        let graph = Graph::from_onnx_with(&onnx, &import)?;
        let mut random = crate::random::Sequence::new(7);
        let lens = graph.input_lens();
        let mut sample = || lens.iter().map(|&len| random.unit(len)).collect();
        let samples = (0..RANDOM_SAMPLES).map(|_| sample()).collect();
        Ok(Subject {
            name: name.into(),
            onnx,
            import,
            graph,
            samples,
            source: Samples::Random,
        })
    }

    /// Number of elements of every input.
    pub fn input_lens(&self) -> Vec<usize> {
        self.graph.input_lens()
    }

    /// Names and shapes of the inputs.
    pub fn input_forms(&self) -> Vec<TensorForm> {
        self.graph.input_forms()
    }

    /// Takes these samples, `[sample][input][element]`, for calibration and runs.
    #[must_use]
    pub fn with_samples(mut self, samples: Tensors) -> Subject {
        self.samples = samples;
        self.source = Samples::Given;
        self
    }
}

/// A committed model, a run of it, and a verifier: what proving and verifying are measured with.
pub(crate) struct Bench {
    pub secret: Secret,
    pub verifier: Verifier,
    /// Number of the first sample that can be run.
    pub first: usize,
    /// The run on it.
    pub run: Run,
    /// Proofs of it, each with randomness of its own, at least one.
    pub proofs: Vec<Vec<u8>>,
}

impl Bench {
    /// What its verifier expects.
    pub fn expected(&self) -> Expected {
        expected(&self.run)
    }

    /// Another proof of the run.
    pub fn prove(&self) -> Result<Proof, BenchError> {
        let rng = &mut zkinfer::rng();
        Ok(self
            .secret
            .prove(&self.run, &Visibility::default(), b"", rng)?
            .proof)
    }

    /// Bytes to verdict.
    pub fn verify(&self, expected: &Expected, bytes: &[u8]) -> Result<(), BenchError> {
        let proof = Proof::from_bytes(bytes, self.verifier.limits().proof_bytes)?;
        let verdict = self.verifier.verify(expected, &proof);
        verdict.map(|_| ()).map_err(BenchError::Rejected)
    }
}

/// What a verifier expects who knows the input.
pub(crate) fn expected(run: &Run) -> Expected {
    Expected {
        input: Some(Side::Public(run.input().to_vec())),
        ..Expected::default()
    }
}

/// Measures a model. `watch` is told what is being done, between runs.
///
/// # Errors
/// The first stage that the model does not pass; see [`BenchError`].
pub fn measure(
    subject: &Subject,
    options: &Options,
    watch: &mut dyn FnMut(&str),
) -> Result<Measurement, BenchError> {
    let mut meter = Meter {
        effort: options.effort,
        watch,
        of: subject.name.clone(),
    };
    let (mut bench, mut out) = stages(subject, options, &mut meter)?;
    if let Some(program) = &options.cold {
        let proof = Proof::from_bytes(&bench.proofs[0], usize::MAX)?;
        let (card, input) = (bench.verifier.card(), &subject.samples[bench.first]);
        out.stages
            .push(verify_cold(program, card, &proof, input, &mut meter)?);
    }
    out.threads = threads::measure(&bench, &options.threads, &mut meter)?;
    out.batches = batch::measure(&mut bench, &options.batches, &mut meter, &mut out.notes)?;
    out.runs = batch::measure_runs(&bench, &options.runs, &mut meter)?;
    Ok(out)
}

/// Everything that is measured once, in the order of the work.
fn stages(
    subject: &Subject,
    options: &Options,
    meter: &mut Meter<'_>,
) -> Result<(Bench, Measurement), BenchError> {
    let (mut stages, mut notes) = (Vec::new(), Vec::new());
    if subject.samples.is_empty() {
        return Err(BenchError::NoSamples);
    }
    let (stage, graph) = meter.stage(StageName::Import, || {
        Graph::from_onnx_with(&subject.onnx, &subject.import)
    })?;
    stages.push(stage);

    let (stage, model) = meter.stage(StageName::Quantize, || {
        graph.quantize(&subject.samples, &options.quantize)
    })?;
    stages.push(stage);
    let accuracy = if options.accuracy {
        meter.tell("comparing with the floats");
        let samples = &subject.samples[..subject.samples.len().min(COMPARED)];
        Some(accuracy(&evaluate(&graph, &model, samples, &[])?))
    } else {
        None
    };

    let commit = options.commit.clone().with_name(&subject.name);
    let (stage, secret) = meter.stage_from(
        StageName::Register,
        |_| Ok(model.clone()),
        |model| Secret::commit_with(model, &commit, &mut zkinfer::rng()),
    )?;
    stages.push(stage);
    let mut fresh = Some(secret);
    let (stage, secret) = meter.stage_from(
        StageName::DeriveKey,
        |used: Option<Secret>| {
            let secret = used.or_else(|| fresh.take());
            let secret = secret.expect("the first run takes it, later runs get it back");
            Ok::<_, BenchError>(secret.with_engine(options.engine))
        },
        |secret| {
            secret.prepare()?;
            Ok(secret)
        },
    )?;
    stages.push(stage);

    let (first, run) = first_run(&secret, &subject.samples)?;
    let sample = &subject.samples[first];
    let reference = ReferenceModel::from_onnx(&subject.onnx, &subject.import)?;
    let (stage, _) = meter.stage(StageName::FloatInference, || reference.run(sample))?;
    stages.push(stage);
    drop(reference);
    let (stage, _) = meter.stage(StageName::QuantizedInference, || secret.infer(sample))?;
    stages.push(stage);

    let (parts, proofs) = prove(&secret, &run, meter)?;
    stages.extend(parts);

    let card = secret.card().to_bytes();
    // The card is the owner's.
    let limits = Limits::owner();
    let (stage, verifier) = meter.stage(StageName::LoadCard, || {
        let card = Card::from_bytes(&card, limits.card_bytes)?;
        Ok::<_, BenchError>(verifier(card, &limits)?)
    })?;
    stages.push(stage);
    let sizes = Sizes {
        onnx: Some(subject.onnx.len() as u64),
        model: secret.to_bytes()?.len() as u64,
        card: card.len() as u64,
        proof: proofs[0].len() as u64,
    };
    let facts = facts(&graph, &secret);
    let bench = Bench {
        secret,
        verifier,
        first,
        run,
        proofs,
    };
    let expected = bench.expected();
    let (stage, ()) = meter.stage(StageName::Verify, || {
        bench.verify(&expected, &bench.proofs[0])
    })?;
    stages.push(stage);
    if subject.source == Samples::Random {
        notes.push(
            "Inputs are random numbers between 0 and 1: costs are the model's, errors and ranges mean little.".to_owned(),
        );
    }
    let measurement = Measurement {
        name: subject.name.clone(),
        samples: subject.source,
        facts,
        sizes,
        accuracy,
        stages,
        threads: Vec::new(),
        batches: Vec::new(),
        runs: Vec::new(),
        notes,
    };
    Ok((bench, measurement))
}

/// The first sample that can be run, and its run. The model was calibrated on it, so that failing is rare.
fn first_run(secret: &Secret, samples: &Tensors) -> Result<(usize, Run), BenchError> {
    let mut reason = None;
    for (number, sample) in samples.iter().enumerate() {
        match secret.infer(sample) {
            Ok(run) => return Ok((number, run)),
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    Err(reason.map_or(BenchError::NoSamples, BenchError::Infer))
}

/// Proves a run several times. The whole and its parts, and the proofs.
fn prove(
    secret: &Secret,
    run: &Run,
    meter: &mut Meter<'_>,
) -> Result<(Vec<Stage>, Vec<Vec<u8>>), BenchError> {
    // Of every proof: what the clocks showed when each part began, and at the end.
    let mut history: Vec<Vec<(StageName, Lap)>> = Vec::new();
    let mut proofs = Vec::new();
    let (whole, ()) = meter.stage(StageName::Prove, || {
        let clock = Clock::start();
        let mut marks = Vec::new();
        let mut watch = |stage: zkinfer::Stage, _: f64| {
            if let Some(name) = part(stage) {
                marks.push((name, clock.lap()));
            }
            ControlFlow::Continue(())
        };
        let rng = &mut zkinfer::rng();
        let visibility = Visibility::default();
        let proven = secret.prove_with_progress(run, &visibility, b"", rng, &mut watch)?;
        marks.push((StageName::Prove, clock.lap()));
        history.push(marks);
        proofs.push(proven.proof.to_bytes());
        Ok::<_, BenchError>(())
    })?;
    let mut stages = vec![whole];
    // Without the run that warmed up.
    let counted = &history[history.len() - whole.wall.runs.min(history.len())..];
    for name in StageName::PARTS {
        let laps: Vec<Lap> = counted.iter().map(|marks| length(marks, name)).collect();
        stages.push(stage(name, &laps, None));
    }
    Ok((stages, proofs))
}

/// Which part begins when the library says this; `Prove` at the end of them all.
fn part(stage: zkinfer::Stage) -> Option<StageName> {
    match stage {
        zkinfer::Stage::Witness => Some(StageName::Witness),
        zkinfer::Stage::Fold => Some(StageName::Fold),
        zkinfer::Stage::Sums => Some(StageName::Sums),
        zkinfer::Stage::Open => Some(StageName::Open),
        zkinfer::Stage::Link => Some(StageName::Link),
        zkinfer::Stage::Done => Some(StageName::Prove),
        _ => None,
    }
}

/// How long a part took, from the marks at which parts began.
fn length(marks: &[(StageName, Lap)], name: StageName) -> Lap {
    let mut sum = Lap {
        wall: 0.0,
        cpu: Some(0.0),
    };
    for pair in marks.windows(2).filter(|pair| pair[0].0 == name) {
        sum.wall += pair[1].1.wall - pair[0].1.wall;
        let cpu = pair[1].1.cpu.zip(pair[0].1.cpu).map(|(b, a)| b - a);
        sum.cpu = sum.cpu.zip(cpu).map(|(a, b)| a + b);
    }
    sum
}

/// The worst output's errors.
fn accuracy(report: &Report) -> Accuracy {
    // An output that is always zero has no range: its error is as good as infinite, which JSON does not know.
    let over_range = |error: f64, range: f64| match error {
        0.0 => 0.0,
        error => (error / range).min(1e6),
    };
    let worst = |f: fn(&OutputReport) -> f64| {
        let errors = report.outputs.iter().map(|o| over_range(f(o), o.range));
        errors.fold(0.0, f64::max)
    };
    Accuracy {
        samples: report.samples,
        out_of_range: report.out_of_range.len(),
        mean_error: worst(|o| o.mean_error),
        max_error: worst(|o| o.max_error),
        same_class: report.top_class_agreement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_between_marks() {
        let at = |wall: f64| Lap {
            wall,
            cpu: Some(2.0 * wall),
        };
        let (fold, sums) = (StageName::Fold, StageName::Sums);
        let marks = [
            (fold, at(1.0)),
            (sums, at(3.0)),
            (fold, at(4.0)),
            (StageName::Prove, at(4.5)),
        ];
        let (f, s) = (length(&marks, fold), length(&marks, sums));
        assert_eq!(
            (f.wall, f.cpu, s.wall, s.cpu),
            (2.5, Some(5.0), 1.0, Some(2.0))
        );
        assert_eq!(length(&marks, StageName::Link).wall, 0.0);
    }
}
