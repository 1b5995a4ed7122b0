//! What is imported is what is proven: outputs are all there and right, or an error says why not.
//!
//! The models and what ONNX Runtime makes of them are in `data`, made by `data/make.py`.

use crate::dir::{Dir, asset};
use serde_json::Value;

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Compiles a model of `data` with its samples; more arguments behind.
fn compile<'a>(model: &'a str, samples: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["compile", model, "--calibration", samples, "-o", "m"];
    all.extend(more);
    all
}

fn lines(dir: &Dir, samples: &str) -> Vec<Value> {
    let told = dir.expect(
        0,
        &["infer", "m.model", "--input", samples, "--all", "--json"],
    );
    let parse = |l: &str| serde_json::from_str(l).unwrap();
    told.lines().map(parse).collect()
}

#[test]
fn texts_are_outputs() {
    let dir = Dir::new();
    let (model, samples) = (data("labels.onnx"), data("labels.npz"));
    dir.expect(0, &compile(&model, &samples, &[]));
    let texts = std::fs::read_to_string(data("labels.txt")).unwrap();
    for (line, text) in lines(&dir, &samples).iter().zip(texts.lines()) {
        assert_eq!(line["names"], serde_json::json!(["label", "scores"]));
        assert_eq!(line["shapes"], serde_json::json!([[1], [1, 3]]));
        assert_eq!(line["output_text"][0][0], text, "{line}");
        assert!(line["output"][0][0].is_u64(), "{line}");
    }
    let card = dir.json(0, &["inspect", "m.card"]);
    let labels = &card["interface"]["outputs"][0]["labels"];
    assert_eq!(*labels, serde_json::json!(["ape", "bee", "cat"]));

    // One of them, by name.
    let chosen = ["--outputs", "scores", "--force"];
    let told = dir.expect(0, &compile(&model, &samples, &chosen));
    assert!(told.contains("not proven, as chosen: label"), "{told}");
    assert_eq!(
        lines(&dir, &samples)[0]["names"],
        serde_json::json!(["scores"])
    );
    let wrong = ["--outputs", "score", "--force"];
    let error = dir.unusable(&compile(&model, &samples, &wrong));
    assert!(error.contains("label, scores"), "{error}");
}

#[test]
fn places_of_maxima_and_inputs_are_outputs() {
    let dir = Dir::new();
    let (model, samples) = (data("places.onnx"), data("places.npz"));
    // The calibration file has the outputs of ONNX Runtime, so compiling compares.
    let compiled = dir.json(0, &compile(&model, &samples, &[]));
    assert_eq!(compiled["report"]["outputs"].as_array().unwrap().len(), 3);
    assert_eq!(compiled["report"]["outputs"][1]["changed"], 0);
    let line = &lines(&dir, &samples)[0];
    assert_eq!(line["names"], serde_json::json!(["m", "i", "x"]));
    assert!(
        line["output"][1]
            .as_array()
            .unwrap()
            .iter()
            .all(Value::is_u64)
    );
}

#[test]
fn columns_of_their_own_units_are_judged_apart() {
    let dir = Dir::new();
    let (model, samples) = (data("units.onnx"), data("units.npz"));
    let error = dir.unusable(&compile(&model, &samples, &[]));
    assert!(
        error.contains("column 1") && error.contains("--allow-error"),
        "{error}"
    );
    assert!(!dir.path("m.model").exists());
    let compiled = dir.json(0, &compile(&model, &samples, &["--allow-error"]));
    assert_eq!(compiled["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn open_dimensions_and_files_beside_the_model() {
    let dir = Dir::new();
    for (from, to) in [
        ("outside.onnx", "open.onnx"),
        ("w.bin", "w.bin"),
        ("b.bin", "b.bin"),
    ] {
        std::fs::copy(data(from), dir.path(to)).unwrap();
    }
    let samples = data("open.npz");
    dir.expect(0, &compile("open.onnx", &samples, &[]));
    assert_eq!(
        lines(&dir, &samples)[0]["shapes"],
        serde_json::json!([[1, 3, 2]])
    );
    let force = |more: &[&'static str]| [&["--force"][..], more].concat();
    for fitting in ["x:1=3", "time=3"] {
        let more = ["--force", "--dim", fitting];
        dir.expect(0, &compile("open.onnx", &samples, &more));
    }
    let error = dir.unusable(&compile("open.onnx", &samples, &force(&["--dim", "tme=3"])));
    assert!(
        error.contains("time (x:1)") && error.contains("--dim"),
        "{error}"
    );
    dir.expect(
        2,
        &compile("open.onnx", &samples, &force(&["--batch", "0"])),
    );

    // What is stored as outputs is compared.
    let wrong = data("open_wrong.npz");
    let error = dir.unusable(&compile("open.onnx", &wrong, &force(&[])));
    assert!(error.contains("stored with the samples"), "{error}");
    dir.expect(0, &compile("open.onnx", &wrong, &force(&["--allow-error"])));

    // Never another folder's files.
    std::fs::remove_file(dir.path("w.bin")).unwrap();
    let error = dir.unusable(&compile("open.onnx", &samples, &force(&[])));
    assert!(error.contains("w.bin"), "{error}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(data("w.bin"), dir.path("w.bin")).unwrap();
        let error = dir.unusable(&compile("open.onnx", &samples, &force(&[])));
        assert!(error.contains("outside of the model's folder"), "{error}");
    }
    let bytes = std::fs::read(dir.path("open.onnx")).unwrap();
    for elsewhere in ["../w1", "/w.bi"] {
        let at = bytes.windows(5).position(|w| w == b"w.bin").unwrap();
        let mut changed = bytes.clone();
        changed[at..at + 5].copy_from_slice(elsewhere.as_bytes());
        std::fs::write(dir.path("elsewhere.onnx"), changed).unwrap();
        let error = dir.unusable(&compile("elsewhere.onnx", &samples, &force(&[])));
        assert!(error.contains("outside of the model's folder"), "{error}");
    }
}

#[test]
fn the_owners_file_is_not_overwritten() {
    let dir = Dir::new();
    let digits = asset("digits.onnx");
    dir.expect(0, &compile(&digits, "IMAGES", &[]));
    let first = std::fs::read(dir.path("m.model")).unwrap();
    let error = dir.unusable(&compile(&digits, "IMAGES", &[]));
    assert!(error.contains("--force"), "{error}");
    assert_eq!(std::fs::read(dir.path("m.model")).unwrap(), first);
    dir.expect(0, &compile(&digits, "IMAGES", &["--force"]));
    assert_ne!(std::fs::read(dir.path("m.model")).unwrap(), first);
}

#[test]
fn samples_behind_a_refused_one_are_run() {
    let dir = Dir::new();
    dir.expect(0, &compile(&asset("digits.onnx"), "IMAGES", &[]));
    let sample = |v: f64| serde_json::json!({ "input_data": [vec![v; 64]] });
    let several = serde_json::json!([sample(0.0), sample(1e6), sample(1.0)]);
    std::fs::write(dir.path("several.json"), several.to_string()).unwrap();
    let out = dir.run(&[
        "infer",
        "m.model",
        "--input",
        "several.json",
        "--all",
        "--json",
    ]);
    assert_eq!(out.status.code(), Some(2));
    let told = String::from_utf8(out.stdout).unwrap();
    let answers: Vec<Value> = told
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect();
    assert!(
        answers[0]["output"].is_array() && answers[2]["output"].is_array(),
        "{told}"
    );
    assert!(answers[1]["error"].is_string(), "{told}");
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(stderr.contains("1 of 3 samples"), "{stderr}");
    // Another layout of as many elements.
    let turned = serde_json::json!({ "x0": [vec![vec![0.0; 4]; 16]] });
    std::fs::write(dir.path("turned.json"), turned.to_string()).unwrap();
    dir.expect(0, &["infer", "m.model", "--input", "turned.json"]);
    std::fs::write(dir.path("big.json"), r#"{"x0": [[16777217]]}"#).unwrap();
    let error = dir.unusable(&["infer", "m.model", "--input", "big.json"]);
    assert!(error.contains("16777217"), "{error}");
}
