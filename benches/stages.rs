//! Every stage of a proof, on models that are made on the spot and on those of the corpus where it lies beside the
//! repository: `cargo bench --bench stages`.

#[path = "common/models.rs"]
mod models;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::path::Path;
use std::time::Duration;
use zkinfer::graph::Graph;
use zkinfer::{Expected, Limits, QuantizeOptions, Samples, Secret, Side, Visibility, verifier};

struct Case {
    name: String,
    graph: Graph,
    samples: Vec<Vec<Vec<f32>>>,
}

fn cases() -> Vec<Case> {
    let made = |name: &str, graph: Graph| Case {
        name: name.into(),
        samples: models::samples(&graph, 8),
        graph,
    };
    let mut cases = vec![
        made("mlp-784-128-10", models::mlp(&[784, 128, 10])),
        made("cnn-16x16-8-8", models::cnn(16, &[1, 8, 8])),
    ];
    for path in [
        "ladder/mlp_ladder_100k",
        "trained/lenet5_mnist",
        "pretrained/zkml_mnist_cnn",
        "ladder/deepprove_cnn_62k",
        "ladder/deepprove_mlp_d5_w1000_4m",
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/corpus/models")
            .join(path);
        match corpus(&folder) {
            Ok((graph, samples)) => cases.push(Case {
                name: path.rsplit('/').next().unwrap_or(path).into(),
                graph,
                samples,
            }),
            Err(e) => eprintln!("skipped {path}: {e}"),
        }
    }
    cases
}

fn corpus(folder: &Path) -> Result<(Graph, Vec<Vec<Vec<f32>>>), Box<dyn std::error::Error>> {
    let graph = Graph::from_onnx(&std::fs::read(folder.join("network.onnx"))?)?;
    let samples = Samples::load(folder.join("samples.npz"), &graph.input_lens())?;
    Ok((graph, samples.inputs))
}

fn commit(case: &Case) -> Secret {
    let model = case
        .graph
        .quantize(&case.samples, &QuantizeOptions::default())
        .expect("the model quantizes");
    model
        .commit(&mut zkinfer::rng())
        .expect("the model has a plan")
}

fn stages(c: &mut Criterion) {
    for case in cases() {
        let secret = commit(&case);
        secret.prepare().expect("keys can be derived");
        let run = secret
            .infer(&case.samples[0])
            .expect("calibrated on this sample");
        let mut group = c.benchmark_group(&case.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(4))
            .warm_up_time(Duration::from_millis(300));
        group.bench_function(BenchmarkId::new("infer", ""), |b| {
            b.iter(|| secret.infer(&case.samples[0]))
        });
        let prove = || {
            secret
                .prove(&run, &Visibility::default(), b"", &mut zkinfer::rng())
                .expect("the run is provable")
        };
        group.bench_function(BenchmarkId::new("prove", ""), |b| b.iter(prove));
        let proof = prove().proof;
        let limits = Limits::default();
        group.bench_function(BenchmarkId::new("load card", ""), |b| {
            b.iter(|| verifier(secret.card().clone(), &limits).expect("the card is valid"))
        });
        let verifier = verifier(secret.card().clone(), &limits).expect("the card is valid");
        let expected = Expected {
            input: Some(Side::Public(run.input().to_vec())),
            ..Expected::default()
        };
        group.bench_function(BenchmarkId::new("verify", ""), |b| {
            b.iter(|| {
                verifier
                    .verify(&expected, &proof)
                    .expect("the proof is valid")
            })
        });
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
