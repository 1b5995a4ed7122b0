//! The whole flow on the demo's network, through the binary.

use crate::dir::{Dir, asset};
use serde_json::Value;
use std::path::Path;

fn compiled() -> Dir {
    let dir = Dir::new();
    let digits = asset("digits.onnx");
    dir.expect(
        0,
        &[
            "compile",
            &digits,
            "--calibration",
            "IMAGES",
            "-o",
            "digits",
        ],
    );
    dir
}

/// A model that is cut: the same commands, one card, one proof.
#[test]
fn segments() {
    let dir = Dir::new();
    let digits = asset("digits.onnx");
    let compile = ["compile", &digits, "--calibration", "IMAGES", "-o", "cut"];
    let said = dir.json(0, &[&compile[..], &["--segments", "3"]].concat());
    assert_eq!(said["plan"]["segments"], 3);
    let prove = ["prove", "cut.model", "--input", "IMAGES", "-o", "cut.proof"];
    dir.expect(0, &prove);
    let verify = ["verify", "cut.card", "cut.proof", "--input", "IMAGES"];
    assert_eq!(dir.json(0, &verify)["status"], "valid");
    let card = dir.json(0, &["inspect", "cut.card"]);
    assert_eq!(card["segments"], 3);
    let many = [&compile[..], &["--force", "--segments", "1000"]].concat();
    assert!(
        dir.unusable(&many)
            .contains("cannot be cut into 1000 segments")
    );
}

/// What is predicted is said, kept, and refused where it cannot be.
#[test]
fn memory() {
    let dir = Dir::new();
    let digits = asset("digits.onnx");
    let compile = ["compile", &digits, "--calibration", "IMAGES", "-o", "small"];
    let bounded = |memory: &'static str| [&compile[..], &["--memory", memory]].concat();
    let said = dir.unusable(&bounded("5MB"));
    assert!(said.contains("5 MB are allowed"), "{said}");
    assert!(said.contains("--memory"), "{said}");
    let said = dir.json(0, &bounded("1GiB"));
    assert_eq!(said["plan"]["segments"], 1);
    let candidates = said["plan"]["candidates"].as_array().unwrap();
    assert!(
        candidates
            .iter()
            .all(|c| c["memory_bytes"].as_u64() > Some(20_000_000))
    );
    let model = dir.json(0, &["inspect", "small.model"]);
    let chosen = candidates.iter().find(|c| c["k"] == said["plan"]["k"]);
    assert_eq!(
        model["predicted"]["memory_bytes"],
        chosen.unwrap()["memory_bytes"]
    );
    assert!(model["predicted"]["cpu_seconds"].as_f64() > Some(0.0));
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = if at < bytes.len() {
        at
    } else {
        bytes.len() - 1
    };
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn compile_infer_prove_verify() {
    let dir = Dir::new();
    let compiled = dir.json(
        0,
        &[
            "compile",
            &asset("digits.onnx"),
            "--calibration",
            "IMAGES",
            "-o",
            "digits",
        ],
    );
    assert_eq!(compiled["weights_hidden"], true);
    assert_eq!(compiled["weights"], 2410);
    assert!(compiled["report"]["top_class_agreement"].as_f64().unwrap() > 0.99);
    assert!(
        compiled["report"]["outputs"][0]["relative_error"]
            .as_f64()
            .unwrap()
            < 0.003
    );
    let candidates = compiled["plan"]["candidates"].as_array().unwrap();
    assert!(candidates.iter().any(|c| c["k"] == compiled["plan"]["k"]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path("digits.model"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "the model file is for its owner only");
    }

    let lines = dir.expect(
        0,
        &[
            "infer",
            "digits.model",
            "--input",
            "IMAGES",
            "--all",
            "--json",
        ],
    );
    let lines: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 30);
    let one = dir.json(
        0,
        &[
            "infer",
            "digits.model",
            "--input",
            "IMAGES",
            "--sample",
            "4",
        ],
    );
    assert_eq!(one, lines[4]);
    assert_eq!(
        (
            one["sample"].as_u64(),
            one["output"][0].as_array().unwrap().len()
        ),
        (Some(4), 10)
    );
    assert_eq!(one["output_int"][0].as_array().unwrap().len(), 10);
    std::fs::write(dir.path("out.json"), one.to_string()).unwrap();
    std::fs::write(
        dir.path("reals.json"),
        format!("{{\"output_data\": {}}}", one["output"]),
    )
    .unwrap();
    std::fs::write(dir.path("other.json"), lines[5].to_string()).unwrap();

    let proven = dir.json(
        0,
        &[
            "prove",
            "digits.model",
            "--input",
            "IMAGES",
            "--sample",
            "4",
            "-o",
            "run.proof",
        ],
    );
    assert_eq!(proven["output_int"], one["output_int"]);
    assert_eq!(proven["card"], compiled["card"]["digest"]);
    let verify = [
        "verify",
        "digits.card",
        "run.proof",
        "--input",
        "IMAGES",
        "--sample",
        "4",
    ];
    let with = |more: &[&'static str]| [&verify[..], more].concat();
    let valid = dir.json(0, &verify);
    assert_eq!(
        (&valid["status"], &valid["output_int"]),
        (&"valid".into(), &one["output_int"])
    );
    assert!(dir.expect(0, &verify).starts_with("VALID"));
    for output in ["out.json", "reals.json"] {
        dir.expect(0, &with(&["--output", output]));
    }

    // Other expectations.
    for (arguments, reason) in [
        (with(&["--output", "other.json"]), "another output"),
        (with(&["--context", "x"]), "another context"),
        (with(&["--context-hex", "00"]), "another context"),
        (
            [
                "verify",
                "digits.card",
                "run.proof",
                "--input",
                "IMAGES",
                "--sample",
                "5",
            ]
            .to_vec(),
            "another input",
        ),
    ] {
        let rejected = dir.json(1, &arguments);
        assert_eq!(rejected["status"], "rejected");
        assert!(
            rejected["reason"].as_str().unwrap().contains(reason),
            "{rejected}"
        );
        assert!(dir.expect(1, &arguments).starts_with("REJECTED"));
    }
    // Nothing to check against.
    assert!(
        dir.unusable(&["verify", "digits.card", "run.proof"])
            .contains("--input")
    );

    // JSON forms.
    dir.expect(0, &["inspect", "run.proof", "--to-json", "run.json"]);
    dir.expect(0, &["inspect", "digits.card", "--to-json", "card.json"]);
    dir.expect(
        0,
        &[
            "verify",
            "card.json",
            "run.json",
            "--input",
            "IMAGES",
            "--sample",
            "4",
        ],
    );
    let text = std::fs::read_to_string(dir.path("run.json")).unwrap();
    let value = one["output_int"][0][0].as_u64().unwrap();
    let forged = text.replacen(
        &format!("\"output\":{{\"values\":[{value},"),
        &format!("\"output\":{{\"values\":[{},", value + 1),
        1,
    );
    assert_ne!(forged, text);
    std::fs::write(dir.path("forged.json"), forged).unwrap();
    let rejected = dir.json(
        1,
        &[
            "verify",
            "card.json",
            "forged.json",
            "--input",
            "IMAGES",
            "--sample",
            "4",
        ],
    );
    assert!(
        rejected["reason"]
            .as_str()
            .unwrap()
            .contains("invalid proof"),
        "{rejected}"
    );
}

#[test]
fn sides_and_contexts() {
    let dir = compiled();
    let prove = [
        "prove",
        "digits.model",
        "--input",
        "IMAGES",
        "-o",
        "run.proof",
    ];
    let with = |more: &[&'static str]| [&prove[..], more].concat();

    dir.expect(0, &with(&["--commit-input", "--context", "request 17"]));
    let valid = dir.json(
        0,
        &[
            "verify",
            "digits.card",
            "run.proof",
            "--context-hex",
            "72657175657374203137",
        ],
    );
    assert_eq!(
        (&valid["input"], &valid["output_visibility"]),
        (&"committed".into(), &"public".into())
    );
    let rejected = dir.json(
        1,
        &[
            "verify",
            "digits.card",
            "run.proof",
            "--context",
            "request 17",
            "--input",
            "IMAGES",
        ],
    );
    assert!(
        rejected["reason"].as_str().unwrap().contains("hidden"),
        "{rejected}"
    );
    let rejected = dir.json(1, &["verify", "digits.card", "run.proof"]);
    assert!(
        rejected["reason"].as_str().unwrap().contains("request 17"),
        "{rejected}"
    );

    dir.expect(0, &with(&["--commit-output", "--attach-input"]));
    let valid = dir.json(0, &["verify", "digits.card", "run.proof"]);
    assert_eq!(
        (&valid["output_visibility"], &valid["output_int"]),
        (&"committed".into(), &Value::Null)
    );

    dir.expect(2, &with(&["--commit-input", "--attach-input"]));
    dir.expect(2, &with(&["--context", "a", "--context-hex", "00"]));
    dir.expect(2, &with(&["--context-hex", "xy"]));
    let long = "x".repeat(5000);
    dir.expect(2, &[&prove[..], &["--context", &long]].concat());
}

#[test]
fn tampered_files() {
    let dir = compiled();
    dir.expect(
        0,
        &[
            "prove",
            "digits.model",
            "--input",
            "IMAGES",
            "-o",
            "run.proof",
        ],
    );
    let original = std::fs::read(dir.path("run.proof")).unwrap();
    let verify = ["verify", "digits.card", "bad.proof", "--input", "IMAGES"];
    for at in [10, 50, 400, original.len() / 2, original.len() - 1] {
        std::fs::write(dir.path("bad.proof"), &original).unwrap();
        flip(&dir.path("bad.proof"), at);
        let rejected = dir.json(1, &verify);
        assert!(
            rejected["reason"].as_str().unwrap().contains("malformed"),
            "{rejected}"
        );
    }
    std::fs::write(dir.path("bad.proof"), &original[..original.len() - 1]).unwrap();
    dir.expect(1, &verify);
    std::fs::write(dir.path("bad.proof"), [&original[..], &[0]].concat()).unwrap();
    dir.expect(1, &verify);

    // Another version, another kind, something else, nothing.
    let mut other = original.clone();
    other[8] = 9;
    std::fs::write(dir.path("bad.proof"), other).unwrap();
    let status = dir.json(2, &verify);
    assert_eq!(status["status"], "unusable");
    assert!(
        status["error"]
            .as_str()
            .unwrap()
            .contains("format version 9, this build reads version 4"),
        "{status}"
    );
    assert!(
        dir.unusable(&["verify", "run.proof", "run.proof"])
            .contains("is a proof file, not a card file")
    );
    assert!(
        dir.unusable(&["verify", "digits.card", "digits.card"])
            .contains("is a card file, not a proof file")
    );
    assert!(
        dir.unusable(&["prove", "digits.card", "--input", "IMAGES", "-o", "x"])
            .contains("NAME.model")
    );
    assert!(
        dir.unusable(&["verify", "digits.card", "none.proof"])
            .contains("none.proof")
    );
    assert!(
        dir.unusable(&["verify", "digits.card", &asset("digits.onnx")])
            .contains("not a zkinfer proof file")
    );

    // The owner's and the verifier's own files.
    for name in ["digits.model", "digits.card"] {
        let good = std::fs::read(dir.path(name)).unwrap();
        flip(&dir.path(name), good.len() / 2);
        dir.expect(2, &["inspect", name]);
        let command = if name == "digits.card" {
            vec!["verify", name, "run.proof"]
        } else {
            vec!["infer", name, "--input", "IMAGES"]
        };
        assert!(dir.unusable(&command).contains("damaged"));
        std::fs::write(dir.path(name), good).unwrap();
    }
}

#[test]
fn another_model() {
    let dir = compiled();
    dir.expect(
        0,
        &[
            "compile",
            &asset("digits.onnx"),
            "--calibration",
            "IMAGES",
            "-o",
            "other",
            "--public-weights",
            "--bits",
            "13",
        ],
    );
    dir.expect(
        0,
        &[
            "prove",
            "other.model",
            "--input",
            "IMAGES",
            "-o",
            "other.proof",
        ],
    );
    dir.expect(
        0,
        &["verify", "other.card", "other.proof", "--input", "IMAGES"],
    );
    let rejected = dir.json(1, &["verify", "digits.card", "other.proof"]);
    assert!(
        rejected["reason"].as_str().unwrap().contains("about model"),
        "{rejected}"
    );
}

#[test]
fn inspection_shows_no_secrets() {
    let dir = compiled();
    let model = dir.expect(0, &["inspect", "digits.model"]);
    assert!(
        model.contains("not shown") && model.contains("2,410 weights"),
        "{model}"
    );
    let model = dir.json(0, &["inspect", "digits.model"]);
    let card = dir.json(0, &["inspect", "digits.card"]);
    assert_eq!(
        (&model["kind"], &card["kind"]),
        (&"model".into(), &"card".into())
    );
    assert_eq!(model["digest"], card["digest"]);
    assert_eq!(
        card["interface"]["inputs"][0]["shape"],
        serde_json::json!([1, 64])
    );
    // All that is more in the model's description than in the card's.
    let (model, card) = (model.as_object().unwrap(), card.as_object().unwrap());
    let more: Vec<&String> = model.keys().filter(|k| !card.contains_key(*k)).collect();
    assert_eq!(more, ["calibration", "predicted"]);
    assert!(
        dir.unusable(&["inspect", "digits.model", "--to-json", "x.json"])
            .contains("only cards and proofs")
    );
    assert!(!dir.path("x.json").exists());
    dir.expect(2, &["inspect", &asset("digits.onnx")]);
}

#[test]
fn unusable_inputs() {
    let dir = compiled();
    let infer = |file: &str, sample: &str| {
        dir.unusable(&["infer", "digits.model", "--input", file, "--sample", sample])
    };
    assert!(infer("IMAGES", "30").contains("it has 30"));
    assert!(infer("none.npz", "0").contains("none.npz"));
    std::fs::write(dir.path("short.json"), r#"{"input_data": [[1, 2, 3]]}"#).unwrap();
    assert!(infer("short.json", "0").contains("64"));
    let far = serde_json::json!({ "input_data": [vec![1e6; 64]] });
    std::fs::write(dir.path("far.json"), far.to_string()).unwrap();
    assert!(infer("far.json", "0").contains("calibrated"));
    let compile = |model: &str, data: &str, more: &[&str]| {
        let model = asset(model);
        let arguments = ["compile", &model, "--calibration", data, "-o", "x"];
        dir.unusable(&[&arguments, more].concat())
    };
    compile("digits.npz", "IMAGES", &[]);
    compile("digits.onnx", "short.json", &[]);
    compile("digits.onnx", "IMAGES", &["--k", "30"]);
    assert!(compile("digits.onnx", "IMAGES", &["--bits", "40"]).contains("4 to 14"));
    dir.expect(2, &["infer", "digits.model"]);
}

/// A preference chooses the number of rows that is predicted to be best at it.
#[test]
fn the_planner_takes_a_preference() {
    let dir = Dir::new();
    let model = asset("digits.onnx");
    let compiled = |more: &[&str]| {
        let arguments = [
            "compile",
            &model,
            "--calibration",
            "IMAGES",
            "-o",
            "x",
            "--force",
        ];
        dir.json(0, &[&arguments, more].concat())["plan"].clone()
    };
    let mut chosen = std::collections::BTreeSet::new();
    for (preference, measure) in [
        ("prove", "prove_ms"),
        ("verify", "verify_ms"),
        ("size", "proof_bytes"),
    ] {
        let plan = compiled(&["--prefer", preference]);
        let candidates = plan["candidates"].as_array().unwrap();
        let of = |c: &serde_json::Value| c[measure].as_f64().unwrap();
        let best = candidates.iter().map(of).fold(f64::INFINITY, f64::min);
        let taken = candidates.iter().find(|c| c["k"] == plan["k"]).unwrap();
        assert_eq!(of(taken), best, "{preference}");
        chosen.insert(plan["k"].as_u64());
    }
    assert!(chosen.len() > 1, "{chosen:?}");
    assert_eq!(compiled(&[])["k"], compiled(&["--prefer", "balanced"])["k"]);
    let both = ["--prefer", "size", "--k", "9"];
    let arguments = [
        "compile",
        &model,
        "--calibration",
        "IMAGES",
        "-o",
        "x",
        "--force",
    ];
    dir.expect(2, &[&arguments[..], &both[..]].concat());
}

#[test]
fn parameters_are_cached() {
    let dir = Dir::new();
    dir.expect(
        0,
        &[
            "compile",
            &asset("digits.onnx"),
            "--calibration",
            "IMAGES",
            "-o",
            "big",
            "--k",
            "13",
        ],
    );
    let cached = dir.path("cache/params-k13.bin");
    let good = std::fs::read(&cached).unwrap();
    let described = dir.json(0, &["inspect", cached.to_str().unwrap()]);
    assert_eq!(
        (&described["kind"], &described["k"]),
        (&"params".into(), &13.into())
    );
    flip(&cached, 5000);
    let out = dir.run(&["infer", "big.model", "--input", "IMAGES"]);
    assert!(
        out.status.success()
            && String::from_utf8_lossy(&out.stderr).contains("cached parameters are unusable")
    );
    assert!(std::fs::read(&cached).unwrap() == good);

    // Two processes that both have to make them.
    std::fs::remove_file(&cached).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| dir.expect(0, &["infer", "big.model", "--input", "IMAGES"]));
        }
    });
    assert!(std::fs::read(&cached).unwrap() == good);
    assert_eq!(
        std::fs::read_dir(dir.path("cache")).unwrap().count(),
        1,
        "nothing temporary stays behind"
    );
}

#[test]
fn demo() {
    let dir = Dir::new();
    let told = dir.expect(0, &["demo"]);
    assert!(
        told.contains("VALID") && told.matches("REJECTED").count() == 4,
        "{told}"
    );
    assert!(!told.contains('\x1b'), "no colours where nobody looks");
    assert!(told.lines().all(|l| l.chars().count() <= 80), "{told}");
    let json = dir.json(0, &["demo", "--image", "7"]);
    assert_eq!(
        (&json["class"], &json["label"], &json["valid"]),
        (&7.into(), &7.into(), &true.into())
    );
    assert!(
        json["lies"]
            .as_array()
            .unwrap()
            .iter()
            .all(|l| l["rejected"] == true)
    );
    assert!(json["bytes"]["proof"].as_u64().unwrap() < 10_000, "{json}");
    dir.expect(2, &["demo", "--image", "30"]);
}

#[test]
fn help_has_examples() {
    let dir = Dir::new();
    for command in ["compile", "infer", "prove", "verify", "inspect", "demo"] {
        assert!(
            dir.expect(0, &[command, "--help"]).contains("Examples:"),
            "{command}"
        );
    }
    assert!(dir.expect(0, &["--help"]).contains("Exit codes"));
    dir.expect(2, &["nonsense"]);
}
