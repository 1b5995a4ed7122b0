//! What the owner of a model does once: import, quantization, registration, keys; and inference.
//! `cargo bench --bench owner`.

#[path = "common/cases.rs"]
mod cases;
#[path = "common/settings.rs"]
mod settings;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::cell::LazyCell;
use zkinfer::onnx::{ImportOptions, ReferenceModel};
use zkinfer::{Graph, QuantizeOptions, Secret};

fn owner(c: &mut Criterion) {
    for case in &cases::cases() {
        let id = || BenchmarkId::from_parameter(&case.name);
        if let Some(onnx) = &case.onnx {
            c.benchmark_group("import")
                .bench_function(id(), |b| b.iter(|| Graph::from_onnx(onnx)));
            let model = LazyCell::new(|| {
                let model = ReferenceModel::from_onnx(onnx, &ImportOptions::default());
                model.expect("it was imported")
            });
            c.benchmark_group("infer float").bench_function(id(), |b| {
                let model: &ReferenceModel = &model;
                b.iter(|| model.run(&case.samples[0]));
            });
        }
        c.benchmark_group("quantize").bench_function(id(), |b| {
            b.iter(|| {
                case.graph
                    .quantize(&case.samples, &QuantizeOptions::default())
            })
        });
        c.benchmark_group("register").bench_function(id(), |b| {
            let model = || case.model().clone();
            b.iter_batched(
                model,
                |model| Secret::commit(model, &mut zkinfer::rng()),
                BatchSize::PerIteration,
            )
        });
        let stored = LazyCell::new(|| case.secret().to_bytes().expect("it can be written"));
        c.benchmark_group("encode model")
            .bench_function(id(), |b| b.iter(|| case.secret().to_bytes()));
        c.benchmark_group("decode model").bench_function(id(), |b| {
            let bytes: &[u8] = &stored;
            b.iter(|| Secret::from_bytes(bytes, usize::MAX))
        });
        c.benchmark_group("derive key").bench_function(id(), |b| {
            let bytes: &[u8] = &stored;
            // One that has no key yet.
            let fresh = || Secret::from_bytes(bytes, usize::MAX).expect("written just now");
            b.iter_batched_ref(fresh, |secret| secret.prepare(), BatchSize::PerIteration)
        });
        c.benchmark_group("infer").bench_function(id(), |b| {
            let secret = case.secret();
            b.iter(|| secret.infer(&case.samples[0]))
        });
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = owner
}
criterion_main!(benches);
