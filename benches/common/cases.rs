//! The models that every stage is measured on, and what the stages need of them, made when it is first asked for.

// Every benchmark uses a part of it.
#![allow(dead_code)]

#[path = "models.rs"]
mod models;

use std::cell::OnceCell;
use std::path::Path;
use zkinfer::{
    Expected, Graph, Limits, Proof, QuantizeOptions, QuantizedModel, Run, Samples, Secret, Side,
    Timings, Verifier, Visibility, verifier,
};

/// In the corpus, which `ZKINFER_CORPUS` names (docs/corpus.md): convolutions with pooling, a recurrent network, a forest.
const CORPUS: [&str; 3] = [
    "trained/lenet5_mnist",
    "trained/lstm_vol_sp500",
    "classical/rf_breast_cancer",
];

/// Different proofs of one run.
const PROOFS: usize = 4;

/// A model with samples. What is made of it is kept: criterion calls what it measures once per sample, setup and all.
pub struct Case {
    /// What it is called in the names of benchmarks.
    pub name: String,
    /// The file it was imported from, unless it was made on the spot.
    pub onnx: Option<Vec<u8>>,
    /// As imported.
    pub graph: Graph,
    /// For calibration, and to run.
    pub samples: Vec<Vec<Vec<f32>>>,
    model: OnceCell<QuantizedModel>,
    secret: OnceCell<Secret>,
    verifier: OnceCell<Verifier>,
    run: OnceCell<Run>,
    proofs: OnceCell<Vec<Proof>>,
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let assets = root.join("examples/data");
    let digits = Case::read(
        "digits",
        &assets.join("digits.onnx"),
        &assets.join("digits.npz"),
    );
    let mut cases = vec![
        digits.expect("files of this repository"),
        Case::made("mlp-784-128-10", models::mlp(&[784, 128, 10])),
        Case::made("cnn-16x16-8-8", models::cnn(16, &[1, 8, 8])),
    ];
    let corpus = std::env::var_os("ZKINFER_CORPUS").filter(|root| root != "none");
    for path in CORPUS {
        let Some(corpus) = &corpus else {
            eprintln!("*****\nNOT MEASURED: {path}: ZKINFER_CORPUS names no corpus\n*****");
            continue;
        };
        let folder = Path::new(corpus).join("models").join(path);
        let name = path.rsplit('/').next().unwrap_or(path);
        let files = (folder.join("network.onnx"), folder.join("samples.npz"));
        match Case::read(name, &files.0, &files.1) {
            Ok(case) => cases.push(case),
            Err(e) => eprintln!("*****\nNOT MEASURED: {path}: {e}\n*****"),
        }
    }
    cases
}

impl Case {
    fn new(name: &str, graph: Graph, samples: Vec<Vec<Vec<f32>>>) -> Case {
        Case {
            name: name.into(),
            onnx: None,
            graph,
            samples,
            model: OnceCell::new(),
            secret: OnceCell::new(),
            verifier: OnceCell::new(),
            run: OnceCell::new(),
            proofs: OnceCell::new(),
        }
    }

    fn made(name: &str, graph: Graph) -> Case {
        let samples = models::samples(&graph, 8);
        Case::new(name, graph, samples)
    }

    fn read(name: &str, onnx: &Path, samples: &Path) -> Result<Case, Box<dyn std::error::Error>> {
        let bytes = std::fs::read(onnx)?;
        let graph = Graph::from_onnx(&bytes)?;
        let mut samples = Samples::load(samples, &graph.input_lens())?.inputs;
        samples.truncate(32);
        let mut case = Case::new(name, graph, samples);
        case.onnx = Some(bytes);
        Ok(case)
    }

    /// Quantized.
    pub fn model(&self) -> &QuantizedModel {
        self.model.get_or_init(|| {
            let options = QuantizeOptions::default();
            let model = self.graph.quantize(&self.samples, &options);
            model.expect("the model quantizes")
        })
    }

    /// Committed to, with its key.
    pub fn secret(&self) -> &Secret {
        self.secret.get_or_init(|| {
            let model = self.model().clone();
            let secret = Secret::commit(model, &mut zkinfer::rng()).expect("the model has a plan");
            secret.prepare().expect("keys can be derived");
            secret
        })
    }

    /// A run of the first sample.
    pub fn run(&self) -> &Run {
        self.run.get_or_init(|| {
            let run = self.secret().infer(&self.samples[0]);
            run.expect("calibrated on this sample")
        })
    }

    /// A proof of it, and where the time went.
    pub fn prove(&self, run: &Run) -> (Proof, Timings) {
        let visibility = Visibility::default();
        let proven = self
            .secret()
            .prove(run, &visibility, b"", &mut zkinfer::rng())
            .expect("the run is provable");
        (proven.proof, proven.timings)
    }

    /// Several proofs of it.
    pub fn proofs(&self) -> &[Proof] {
        self.proofs
            .get_or_init(|| (0..PROOFS).map(|_| self.prove(self.run()).0).collect())
    }

    /// The card, loaded.
    pub fn verifier(&self) -> &Verifier {
        self.verifier.get_or_init(|| {
            let card = self.secret().card().clone();
            verifier(card, &Limits::default()).expect("the card is valid")
        })
    }

    /// What a verifier knows who sent the input.
    pub fn expected(&self) -> Expected {
        Expected {
            input: Some(Side::Public(self.run().input().to_vec())),
            ..Expected::default()
        }
    }
}
