//! `zkinfer bench` through the binary: structure and plausibility of what it measures, never how long something takes.

use crate::dir::{Dir, asset};
use serde_json::Value;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn check_summary(summary: &Value, runs: u64) {
    let number = |name: &str| summary[name].as_f64().unwrap();
    let (low, median, high) = (number("low"), number("median"), number("high"));
    assert!(
        0.0 < low && low <= median && median <= high && high < 1000.0,
        "{summary}"
    );
    assert_eq!(summary["runs"], runs, "{summary}");
}

#[track_caller]
fn check_stage(stage: &Value, runs: u64) {
    check_summary(&stage["wall"], runs);
    if !stage["cpu"].is_null() {
        assert_eq!(stage["cpu"]["runs"], runs, "{stage}");
    }
    if cfg!(target_os = "linux") && !stage["peak_bytes"].is_null() {
        let peak = stage["peak_bytes"].as_u64().unwrap();
        assert!((1 << 20..1 << 34).contains(&peak), "{stage}");
    }
}

#[test]
fn a_model_in_every_respect() {
    let dir = Dir::new();
    let (digits, images) = (asset("digits.onnx"), asset("digits.npz"));
    let text = dir.expect(
        0,
        &[
            "bench",
            &digits,
            "--calibration",
            &images,
            "--runs",
            "2",
            "--threads",
            "2,1,2",
            "--batches",
            "1,3",
            "--runs-per-proof",
            "2",
            "-o",
            "digits.json",
            "-o",
            "digits.html",
        ],
    );
    let report = json(&dir.path("digits.json"));
    assert_eq!(report["format"], 1);
    assert!(
        report["command"]
            .as_str()
            .unwrap()
            .ends_with("-o digits.json -o digits.html")
    );
    assert!(report["machine"]["cores"].as_u64().unwrap() >= 1);

    let model = &report["models"][0];
    assert_eq!(
        (&model["name"], &model["samples"]),
        (&"digits".into(), &"given".into())
    );
    let fact = |name: &str| model["facts"][name].as_u64().unwrap();
    let facts = [
        "parameters",
        "multiply_adds",
        "activations",
        "neurons",
        "inputs",
        "outputs",
    ];
    assert_eq!(facts.map(fact), [2410, 2368, 32, 42, 64, 10]);
    assert!(fact("k") >= 6 && fact("columns") > 10 && fact("points") > 10);
    let size = |name: &str| model["sizes"][name].as_u64().unwrap();
    assert_eq!(size("onnx"), std::fs::metadata(&digits).unwrap().len());
    assert!(size("proof") > 2_000 && size("card") > 2_000 && size("model") > size("card"));
    let accuracy = &model["accuracy"];
    assert_eq!(
        (&accuracy["samples"], &accuracy["out_of_range"]),
        (&30.into(), &0.into())
    );
    assert!(accuracy["mean_error"].as_f64().unwrap() < 0.005);

    let stages = model["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|s| s["name"].as_str().unwrap()).collect();
    let wanted = "import quantize register derive-key float-inference quantized-inference prove witness fold sums open link \
        load-card verify verify-cold";
    assert_eq!(names, wanted.split_whitespace().collect::<Vec<_>>());
    stages.iter().for_each(|s| check_stage(s, 2));
    if cfg!(unix) {
        let without: Vec<&Value> = stages
            .iter()
            .filter(|s| s["cpu"].is_null())
            .map(|s| &s["name"])
            .collect();
        assert_eq!(without, ["verify-cold"]);
    }

    let numbers = |list: &str, name: &str| -> Vec<u64> {
        let list = model[list].as_array().unwrap();
        list.iter().map(|p| p[name].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers("threads", "threads"), [1, 2]);
    assert_eq!(numbers("batches", "proofs"), [1, 3]);
    assert_eq!(numbers("runs", "runs"), [2]);
    for point in ["threads", "batches", "runs"]
        .iter()
        .flat_map(|l| model[l].as_array().unwrap())
    {
        check_stage(&point["verify"], 2);
    }
    let shared = model["runs"][0]["proof_bytes"].as_u64().unwrap();
    assert!(
        size("proof") < shared && shared < 2 * size("proof"),
        "{shared}"
    );

    for needle in [
        "digits",
        "2,410 parameters",
        "quotient and opening",
        "overhead",
        "economics",
        "written: digits.json",
    ] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let html = std::fs::read_to_string(dir.path("digits.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("digits"));

    // The same without measuring, and JSON is as it was.
    let again = dir.expect(
        0,
        &[
            "bench",
            "--from",
            "digits.json",
            "--json",
            "--price-per-core-hour",
            "1",
            "-o",
            "digits.md",
        ],
    );
    let gist = std::fs::read_to_string(dir.path("digits.md")).unwrap();
    assert!(gist.contains("| digits | 2,410 |"), "{gist}");
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["models"], &again["machine"]),
        (&report["models"], &report["machine"])
    );

    // Figures of another machine do not get into a report.
    let mut other = report.clone();
    other["machine"]["cpu"] = "another\u{1b}[2J processor".into();
    std::fs::write(dir.path("other.json"), other.to_string()).unwrap();
    let error = dir.unusable(&["bench", "--from", "digits.json", "--from", "other.json"]);
    assert!(
        error.contains("another machine") && !error.contains('\u{1b}'),
        "{error}"
    );
    other["format"] = 99.into();
    std::fs::write(dir.path("other.json"), other.to_string()).unwrap();
    assert!(
        dir.unusable(&["bench", "--from", "other.json"])
            .contains("format 99")
    );
}

#[test]
fn random_inputs_are_called_so() {
    let dir = Dir::new();
    let text = dir.expect(
        0,
        &[
            "bench",
            &asset("digits.onnx"),
            "--runs",
            "1",
            "--stages-only",
        ],
    );
    assert!(
        text.contains("random numbers") && !text.contains("threads  "),
        "{text}"
    );
}

#[test]
fn sweeps_grow() {
    let dir = Dir::new();
    let text = dir.expect(
        0,
        &[
            "bench",
            "--sweep",
            "width",
            "--sweep",
            "cnn",
            "--sweep",
            "cnn",
            "--max-parameters",
            "4000",
            "--sweep",
            "rows",
            "--max-activations",
            "3500",
            "--max-multiply-adds",
            "5000",
            "--runs",
            "1",
            "--batches",
            "2",
            "--json",
        ],
    );
    let report: Value = serde_json::from_str(&text).unwrap();
    let sweeps = report["sweeps"].as_array().unwrap();
    let families: Vec<&Value> = sweeps.iter().map(|s| &s["family"]).collect();
    assert_eq!(families, ["width", "cnn", "rows"]);
    for (sweep, grows, stays) in [
        (&sweeps[0], "parameters", None),
        (&sweeps[1], "activations", Some("parameters")),
        (&sweeps[2], "multiply_adds", None),
    ] {
        let points = sweep["points"].as_array().unwrap();
        assert_eq!((points.len(), &sweep["stopped"]), (2, &Value::Null));
        let fact = |i: usize, name: &str| points[i]["measurement"]["facts"][name].as_u64().unwrap();
        assert!(2 * fact(0, grows) < fact(1, grows));
        assert!(stays.is_none_or(|stays| fact(0, stays) == fact(1, stays)));
        for point in points {
            let stages = point["measurement"]["stages"].as_array().unwrap();
            assert_eq!(stages.len(), 14);
            stages.iter().for_each(|s| check_stage(s, 1));
            let batches = point["measurement"]["batches"].as_array().unwrap();
            assert_eq!((batches.len(), &batches[0]["proofs"]), (1, &2.into()));
        }
    }
}

#[test]
fn nonsense_is_refused() {
    let dir = Dir::new();
    let digits = asset("digits.onnx");
    dir.unusable(&["bench"]);
    for wrong in [
        &["--runs", "0"][..],
        &["--seconds", "-1"],
        &["--seconds", "nan"],
        &["--runs", "2", "--seconds", "1"],
        &["--threads", "0"],
        &["--batches", "0,1"],
        &["--runs-per-proof", "257"],
        &["--stages-only", "--threads", "1"],
        &["--bits", "99"],
        &["--engine", "gpu"],
        &["--demand", "1.5"],
        &["--price-per-core-hour", "inf"],
        &["--sampling-margin", "0.5"],
        &["--output", "report.txt"],
        &["--output", "nowhere/report.json"],
        &["--peers", "nothing.json"],
        &["--calibration", "nothing.npz"],
    ] {
        let arguments: Vec<&str> = ["bench", digits.as_str(), "--runs=1"]
            .iter()
            .chain(wrong)
            .copied()
            .collect();
        let arguments = if wrong.contains(&"--runs") {
            [&["bench", digits.as_str()], wrong].concat()
        } else {
            arguments
        };
        dir.unusable(&arguments);
    }
    dir.unusable(&["bench", "--sweep", "everything"]);
    dir.unusable(&["bench", "--sweep", "mlp", "--max-parameters", "10"]);
    dir.unusable(&[
        "bench",
        "--sweep",
        "mlp",
        "--calibration",
        &asset("digits.npz"),
    ]);
    std::fs::write(dir.path("list.json"), "[1, 2]").unwrap();
    assert!(
        dir.unusable(&["bench", "--from", "list.json"])
            .contains("not a report")
    );
    assert!(
        dir.unusable(&["bench", "--sweep", "mlp", "--peers", "list.json"])
            .contains("peers")
    );
    // A file without end is not read to its end.
    let long = std::fs::File::create(dir.path("long.json")).unwrap();
    long.set_len((1 << 26) + 1).unwrap();
    for option in ["--from", "--peers"] {
        let error = dir.unusable(&["bench", "--sweep", "mlp", option, "long.json"]);
        assert!(
            error.contains("long.json has more than 67108864 bytes"),
            "{error}"
        );
    }
}

#[test]
fn hostile_models_are_refused() {
    let dir = Dir::new();
    let onnx = std::fs::read(asset("digits.onnx")).unwrap();
    let mut flipped = onnx.clone();
    flipped
        .iter_mut()
        .skip(40)
        .step_by(97)
        .for_each(|b| *b ^= 0xff);
    for bytes in [&b"not a model"[..], &[], &onnx[..onnx.len() / 2], &flipped] {
        std::fs::write(dir.path("hostile.onnx"), bytes).unwrap();
        let error = dir.unusable(&["bench", "hostile.onnx", "--runs", "1"]);
        assert!(error.contains("hostile.onnx"), "{error}");
    }
    // Samples of another model.
    std::fs::write(dir.path("x.json"), r#"{"input_data": [[1, 2, 3]]}"#).unwrap();
    dir.unusable(&[
        "bench",
        &asset("digits.onnx"),
        "--calibration",
        "x.json",
        "--runs",
        "1",
    ]);
}
