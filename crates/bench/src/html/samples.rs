//! A made-up report for tests: costs follow formulas.

use crate::report::*;

fn summary(median: f64) -> Summary {
    Summary {
        median,
        low: median * 0.96,
        high: median * 1.07,
        runs: 9,
    }
}

pub fn stage(name: StageName, wall: f64, cpu: f64, megabytes: u64) -> Stage {
    Stage {
        name,
        wall: summary(wall),
        cpu: Some(summary(cpu)),
        peak_bytes: Some(megabytes * 1_000_000),
        grown_bytes: Some(megabytes * 400_000),
    }
}

pub fn set_cpu(model: &mut Measurement, name: StageName, seconds: f64) {
    let stage = model.stages.iter_mut().find(|s| s.name == name).unwrap();
    stage.cpu = Some(summary(seconds));
}

fn model(name: &str, scale: f64) -> Measurement {
    use StageName::*;
    let times = [
        (FloatInference, 21e-6, 20e-6, 18),
        (QuantizedInference, 120e-6, 118e-6, 18),
        (Import, 1.9e-3, 1.8e-3, 19),
        (Quantize, 25e-3, 40e-3, 24),
        (Register, 60e-3, 110e-3, 31),
        (DeriveKey, 35e-3, 61e-3, 40),
        (Prove, 0.31, 0.58, 62),
        (Witness, 41e-3, 80e-3, 50),
        (Fold, 22e-3, 35e-3, 52),
        (Sums, 74e-3, 140e-3, 55),
        (Open, 0.15, 0.28, 62),
        (Link, 23e-3, 45e-3, 62),
        (LoadCard, 9e-3, 15e-3, 30),
        (Verify, 3.1e-3, 5e-3, 30),
        (VerifyCold, 64e-3, 91e-3, 28),
    ];
    let verify = |n: usize| {
        stage(
            Verify,
            (2e-3 + 0.4e-3 * n as f64) * scale.sqrt(),
            (4e-3 + 0.9e-3 * n as f64) * scale.sqrt(),
            30,
        )
    };
    Measurement {
        name: name.into(),
        samples: Samples::Given,
        facts: Facts {
            parameters: (2410.0 * scale) as u64,
            multiply_adds: (2368.0 * scale) as u64,
            activations: 32,
            neurons: 42,
            inputs: 64,
            outputs: 10,
            k: 9,
            columns: 26,
            points: 77,
            range_bits: 10,
        },
        sizes: Sizes {
            onnx: Some(10_432),
            model: 41_000,
            card: 9_120,
            proof: 4_650,
        },
        accuracy: Some(Accuracy {
            samples: 200,
            out_of_range: 3,
            mean_error: 0.0021,
            max_error: 0.013,
            same_class: 0.995,
        }),
        stages: times
            .into_iter()
            .map(|(n, w, c, m)| stage(n, w * scale, c * scale, m))
            .collect(),
        threads: [1, 2]
            .map(|threads| ThreadPoint {
                threads,
                prove: stage(Prove, 0.6 / threads as f64, 0.6, 62),
                verify: stage(Verify, 5e-3 / threads as f64, 5e-3, 30),
            })
            .to_vec(),
        batches: [1, 4, 16, 64]
            .map(|proofs| BatchPoint {
                proofs,
                verify: verify(proofs),
            })
            .to_vec(),
        runs: [1, 4]
            .map(|runs| RunsPoint {
                runs,
                prove: stage(Prove, 0.2 + 0.1 * runs as f64, 0.5, 80),
                verify: stage(Verify, 3e-3 + 1e-3 * runs as f64, 5e-3, 30),
                proof_bytes: 4_650 + 1_000 * runs as u64,
            })
            .to_vec(),
        notes: vec!["A proof is about one run with a public output.".into()],
    }
}

/// A sweep over 10³ to 10⁷ multiply-adds, with these CPU times and a few per cent of error.
pub fn sweep(family: Family, verify: fn(f64) -> f64, float: fn(f64) -> f64) -> Sweep {
    let points = (0..9).map(|i| {
        let x = 10f64.powf(3.0 + 0.5 * f64::from(i));
        let wobble = 1.0 + 0.02 * f64::from(i * 7 % 5 - 2);
        let mut measurement = model(&format!("{family} {x:.0}"), 1.0);
        let grows = matches!(family, Family::Mlp | Family::Width | Family::Depth);
        measurement.facts.multiply_adds = x as u64;
        measurement.facts.parameters = if grows { x as u64 + 10 } else { 5_000 };
        measurement.facts.activations = if grows { 64 } else { (x / 20.0) as u64 };
        measurement.sizes.proof = 4_000 + (300.0 * x.log10()) as u64;
        let prove = (0.2 + 4e-6 * x.powf(0.9)) * wobble;
        measurement.stages = vec![
            stage(
                StageName::FloatInference,
                float(x) * wobble,
                float(x) * wobble,
                20,
            ),
            stage(
                StageName::QuantizedInference,
                6.0 * float(x),
                6.0 * float(x),
                20,
            ),
            stage(StageName::Prove, prove * 0.6, prove, 40 + (x / 2e4) as u64),
            stage(
                StageName::Verify,
                verify(x) / wobble * 0.7,
                verify(x) / wobble,
                30,
            ),
        ];
        (measurement.threads, measurement.runs) = Default::default();
        measurement.batches = [1, 64]
            .map(|proofs| {
                let each = verify(x) / wobble / if proofs == 1 { 1.0 } else { 4.0 };
                let all = each * proofs as f64;
                BatchPoint {
                    proofs,
                    verify: stage(StageName::Verify, all * 0.7, all, 30),
                }
            })
            .to_vec();
        measurement.accuracy = None;
        SweepPoint {
            size: x as u64,
            measurement,
        }
    });
    Sweep {
        family,
        axis: "multiply-adds".into(),
        points: points.collect(),
        stopped: None,
    }
}

pub fn report() -> Report {
    let time = |wall: f64, megabytes: u64| PeerTime {
        wall: Some(summary(wall)),
        cpu: Some(summary(1.8 * wall)),
        peak_bytes: Some(megabytes * 1_000_000),
    };
    let peer = Peer {
        system: "EZKL".into(),
        version: "23.0.5".into(),
        model: "digits".into(),
        parameters: Some(2410),
        same_run: true,
        machine: "this".into(),
        setup: Some(time(2.9, 330)),
        prove: Some(time(3.3, 330)),
        verify: Some(time(29e-3, 200)),
        proof_bytes: Some(3072),
        proving_key_bytes: Some(138_000_000),
        verifying_key_bytes: Some(67_000),
        hides_weights: Some(false),
        ..Peer::default()
    };
    let quoted = Peer {
        same_run: false,
        system: "DeepProve".into(),
        version: "2025-07".into(),
        model: "CIFAR CNN".into(),
        parameters: Some(62_006),
        machine: "2 shared cores, 24 GiB".into(),
        date: "2026-11-20".into(),
        source: "measured by this project".into(),
        prove: Some(PeerTime {
            wall: Some(Summary {
                runs: 1,
                ..summary(0.85)
            }),
            cpu: None,
            peak_bytes: Some(124_000_000),
        }),
        verify: Some(time(0.15, 100)),
        setup: None,
        proof_bytes: Some(8_700_000),
        proving_key_bytes: None,
        verifying_key_bytes: None,
        note: "no zero-knowledge".into(),
        ..peer.clone()
    };
    let failed = Peer {
        system: "EZKL".into(),
        model: "lenet5".into(),
        same_run: true,
        note: "out of memory at 23.8 GB".into(),
        ..Peer::default()
    };
    Report {
        format: FORMAT,
        command: "zkinfer bench examples/data/digits.onnx --calibration examples/data/digits.npz --json digits.json --html digits.html".into(),
        machine: Machine {
            cpu: "AMD EPYC 9R14".into(),
            cores: 2,
            memory_bytes: Some(24 << 30),
            os: "Linux 6.1 x86_64".into(),
            instructions: vec!["avx2".into(), "avx512ifma".into()],
            engine: "ifma".into(),
            zkinfer: "0.1.0".into(),
            halo2: "0.4.1".into(),
            rustc: "rustc 1.91.0".into(),
            started: "2026-11-27T09:00:00Z".into(),
            load_start: Some([1.2, 0.8, 0.5]),
            load_end: Some([2.0, 1.1, 0.6]),
        },
        models: vec![model("digits", 1.0), model("lenet5_mnist with a rather long name of its own", 20.0)],
        sweeps: vec![
            sweep(Family::Mlp, |x| 5e-3 + 1e-9 * x, |x| 2e-6 + 3e-10 * x),
            sweep(Family::Cnn, |x| 6e-3 + 5e-8 * x.powf(0.8), |x| 4e-6 + 8e-10 * x),
            sweep(Family::Depth, |x| 5e-3 + 2e-9 * x, |x| 2e-6 + 3e-10 * x),
            sweep(Family::Width, |x| 5e-3 + 1e-9 * x, |x| 2e-6 + 3e-10 * x),
            sweep(Family::Tokens, |x| 8e-3 + 4e-9 * x, |x| 9e-6 + 5e-10 * x),
        ],
        peers: vec![peer, failed, quoted],
    }
}
