//! Keeps, compares and publishes what criterion measured.
//!
//! ```text
//! cargo bench --workspace
//! cargo xtask performance -- --compare [--fail-above 1.2]
//! cargo xtask performance -- --save
//! cargo xtask performance -- --page
//! ```
//! `--compare` shows the last run beside `benches/baseline.json`; with `--fail-above` it ends with 1 if a benchmark is slower by more
//! than that factor on the same machine. `--save` makes the last run the baseline and writes `docs/performance.md` with its plots.
//! `--page` writes the page again from the baseline. Criterion's folder is `target/criterion`, or that of `CRITERION_HOME` or
//! `CARGO_TARGET_DIR`.

use std::path::{Path, PathBuf};
use zkinfer::Engine;
use zkinfer_bench::baseline::{self, Baseline, FORMAT};
use zkinfer_bench::performance;
use zkinfer_bench::report::Machine;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let kept = root.join("benches/baseline.json");
    match arguments.as_slice() {
        ["--compare"] => compare(&root, &kept, None),
        ["--compare", "--fail-above", factor] => compare(&root, &kept, Some(factor.parse()?)),
        ["--save"] => {
            let run = last_run(&root)?;
            let unknown = performance::unknown(&run);
            if !unknown.is_empty() {
                let unknown = unknown.join(", ");
                return Err(format!(
                    "the page has no place for {unknown}: add it to performance.rs"
                )
                .into());
            }
            std::fs::write(&kept, run.to_json())?;
            publish(&root, &run)
        }
        ["--page"] => publish(&root, &Baseline::load(&kept)?),
        _ => Err("one of --compare [--fail-above FACTOR], --save, --page".into()),
    }
}

fn criterion(root: &Path) -> PathBuf {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from);
    let target = || folder("CARGO_TARGET_DIR").unwrap_or_else(|| root.join("target"));
    folder("CRITERION_HOME").unwrap_or_else(|| target().join("criterion"))
}

fn last_run(root: &Path) -> Result<Baseline, Failure> {
    let collected = baseline::collect(&criterion(root))?;
    if !collected.stale.is_empty() {
        eprintln!(
            "left out, of an earlier run: {}",
            collected.stale.join(", ")
        );
    }
    let mut machine = Machine::here(Engine::Auto);
    machine.finish();
    Ok(Baseline {
        format: FORMAT,
        machine,
        benches: collected.benches,
    })
}

fn compare(root: &Path, kept: &Path, limit: Option<f64>) -> Result<(), Failure> {
    let comparison = baseline::compare(&Baseline::load(kept)?, &last_run(root)?);
    print!("{}", comparison.to_text());
    let slower = comparison.slower(limit.unwrap_or(f64::INFINITY)).count();
    if slower > 0 && comparison.machine.is_empty() {
        eprintln!("{slower} slower than allowed");
        std::process::exit(1);
    }
    Ok(())
}

fn publish(root: &Path, run: &Baseline) -> Result<(), Failure> {
    for (path, contents) in performance::pages(run) {
        let path = root.join("docs").join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, contents)?;
        println!("{}", path.display());
    }
    Ok(())
}
