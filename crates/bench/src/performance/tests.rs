use super::*;
use crate::baseline::FORMAT;
use crate::report::Machine;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn committed() -> Baseline {
    Baseline::load(&root().join("benches/baseline.json")).expect("the committed baseline")
}

/// The page is what the committed baseline says, and nothing else.
#[test]
fn the_page_is_of_the_committed_baseline() {
    for (path, contents) in pages(&committed()) {
        let file = std::fs::read_to_string(root().join("docs").join(&path));
        assert!(
            file.is_ok_and(|f| f == contents),
            "docs/{path} is stale: cargo xtask performance -- --page"
        );
    }
}

/// Benchmarks that were added or renamed are in the baseline, and those that are gone are not.
#[test]
fn the_committed_baseline_has_the_benchmarks_that_exist() {
    let baseline = committed();
    assert_eq!(unknown(&baseline), Vec::<String>::new());
    let mut sources = String::new();
    for folder in ["benches", "crates/kernels/benches", "crates/engine/benches"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder of benchmarks") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "rs") {
                sources += &std::fs::read_to_string(path).expect("a source file");
            }
        }
    }
    // Names that are put together at run time: `"prove: fold"` is a constant, `prove 8 runs` a number.
    let known = |stage: &str| {
        let numbered = stage
            .replace(|c: char| c.is_ascii_digit(), "#")
            .replace("##", "#");
        sources.contains(&format!("\"{stage}\""))
            || ["prove # runs", "verify # proofs"].contains(&numbered.as_str())
    };
    for bench in &baseline.benches {
        assert!(
            known(&bench.stage),
            "{} is not measured any more",
            bench.id()
        );
    }
    for piece in sources.split("benchmark_group(\"").skip(1) {
        let stage = piece.split('"').next().unwrap_or_default();
        assert!(
            baseline.benches.iter().any(|b| b.stage == stage),
            "{stage} is not in benches/baseline.json: measure, and cargo xtask performance -- --save"
        );
    }
}

fn bench(stage: &str, case: &str, of: &str, median: f64, elements: Option<u64>) -> Bench {
    Bench {
        stage: stage.into(),
        case: case.into(),
        of: of.into(),
        median,
        low: median,
        high: median,
        elements,
    }
}

#[test]
fn figures_are_in_their_places() {
    let mut benches: Vec<Bench> = PROVER[1..8]
        .iter()
        .map(|s| bench(s.0, "", "digits", 1e-3, None))
        .collect();
    benches.extend([
        bench("prove", "", "digits", 7e-3, None),
        bench("prove", "", "another model", 9e-3, None),
        bench("verify", "", "digits", 5e-3, None),
        bench("verify 64 proofs", "", "digits", 64e-3, Some(64)),
        bench("msm", "full, 2^12", "upstream", 16e-3, None),
        bench("msm", "full, 2^12", "portable", 4e-3, None),
        bench("msm", "full, 2^12", VECTORS, 1e-3, None),
        bench("field", "mul", "portable", 2e-6, Some(100)),
        bench("field", "mul", VECTORS, 1e-6, Some(800)),
    ]);
    let baseline = Baseline {
        format: FORMAT,
        machine: Machine::default(),
        benches,
    };
    assert!(unknown(&baseline).is_empty());
    let files = pages(&baseline);
    let page = &files[0].1;
    for line in [
        "| prove | 7.00 ms | 9.00 ms |",
        "| verify 64 proofs | 64.0 ms (each 1.00 ms) |  |",
        "| msm | full, 2^12 | 16.0 ms (upstream) | 4.00 ms (4.00) | 1.00 ms (16.0) |",
        "| field | mul |  | 20.0 ns each | 1.25 ns each (16.0) |",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
    assert!(page.contains("Not measured in this run: `mlp-784-128-10`"));
    let [prove, verify, kernels] = [1, 2, 3].map(|i| &files[i].1);
    assert!(prove.contains(">2.00 ms<") && !prove.contains("another model"));
    assert!(verify.contains(">1.00 ms<") && verify.contains(">5.00 ms<"));
    assert!(kernels.contains(">MSM, full width<") && kernels.contains(">16.0×<"));
}
