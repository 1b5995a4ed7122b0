//! A stored proof of several runs, through the binary.

use serde_json::Value;
use std::process::Command;

fn fixture(name: &str) -> String {
    format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs and expects an exit code; standard output, or standard error where nothing can be used.
#[track_caller]
fn expect(code: i32, arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkinfer"));
    command.args(arguments).env_remove("RUST_LOG");
    let out = command
        .env("ZKINFER_CACHE_DIR", cache.path())
        .output()
        .unwrap();
    let said = if code == 2 { &out.stderr } else { &out.stdout };
    let text = String::from_utf8(said.clone()).unwrap();
    assert_eq!(out.status.code(), Some(code), "{arguments:?}\n{text}");
    text
}

#[test]
fn several_runs_are_verified_and_inspected() {
    let images = format!("{}/assets/digits.npz", env!("CARGO_MANIFEST_DIR"));
    let (card, runs) = (fixture("digits.card"), fixture("digits_3.runs"));
    let verify = ["verify", &card, &runs, "--context", "digits"];
    let with = |more: &[&'static str]| -> Vec<String> {
        let more = more
            .iter()
            .map(|a| if *a == "IMAGES" { &images } else { *a });
        verify
            .iter()
            .copied()
            .chain(more)
            .map(str::to_owned)
            .collect()
    };
    let check = |code: i32, more: &[&'static str]| {
        let arguments = with(more);
        expect(
            code,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };

    let text = check(0, &[]);
    assert!(text.contains("VALID 3 runs of model \"digits\""), "{text}");
    assert!(text.contains("run 2: input: 64 values, as the proof claims"));
    // The runs are of the first three images, in this order.
    let text = check(0, &["--input", "IMAGES"]);
    assert!(text.contains("run 0: input: 64 values, as you stated"));
    let text = check(1, &["--input", "IMAGES", "--sample", "1"]);
    assert!(text.contains("another input"), "{text}");
    let found: Value = serde_json::from_str(&check(0, &["--json"])).unwrap();
    assert_eq!(found["runs"].as_array().unwrap().len(), 3);
    assert_eq!(found["runs"][1]["output"][0].as_array().unwrap().len(), 10);

    let text = expect(1, &["verify", &card, &runs]);
    assert!(text.contains("another context"), "{text}");
    let other = fixture("cnn.card");
    let text = expect(1, &["verify", &other, &runs, "--context", "digits"]);
    assert!(text.contains("the proof is about model"), "{text}");
    let text = check(2, &["--output", "nothing.json"]);
    assert!(
        text.contains("--output states the output of one run"),
        "{text}"
    );

    let text = expect(0, &["inspect", &runs]);
    assert!(text.contains("proof, 7.8 kB"), "{text}");
    assert_eq!(text.matches("64 values, which travel").count(), 3);
    let found: Value = serde_json::from_str(&expect(0, &["inspect", &runs, "--json"])).unwrap();
    assert_eq!(found["runs"].as_array().unwrap().len(), 3);
}
