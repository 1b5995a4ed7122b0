//! Writes the public items of every crate that can be published into `docs/api`, one text per crate, or compares them.
//!
//! ```text
//! cargo xtask api                  # writes
//! cargo xtask api -- --check       # fails if a text is not current
//! ```
//!
//! Read from the source, so that no particular compiler is needed: what macros expand to is not seen.

mod collect;
mod print;

use collect::Crate;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error>;

/// Crates with a public interface, and where they are.
const CRATES: [(&str, &str); 13] = [
    ("zkinfer", "."),
    ("zkinfer-circuits", "circuits"),
    ("zkinfer-kernels", "crates/kernels"),
    ("zkinfer-engine", "crates/engine"),
    ("zkinfer-interface", "crates/interface"),
    ("zkinfer-model", "crates/model"),
    ("zkinfer-verifier", "crates/verifier"),
    ("zkinfer-bench", "crates/bench"),
    ("zkinfer-http", "crates/http"),
    ("zkinfer-slip", "crates/slip"),
    ("zkinfer-host", "crates/host"),
    ("zkinfer-client", "crates/client"),
    ("zkinfer-server", "crates/server"),
];

fn main() -> Result<ExitCode, Failure> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => return Err(format!("no argument {other}: --check or none").into()),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("docs/api");
    std::fs::create_dir_all(&folder)?;
    let mut stale = Vec::new();
    for (name, path) in CRATES {
        let text = listing(name, &root.join(path))?;
        let file = folder.join(format!("{name}.txt"));
        if !check {
            std::fs::write(&file, text)?;
        } else if std::fs::read_to_string(&file).is_ok_and(|old| old == text) {
            println!("{name}: current, {} items", text.lines().count());
        } else {
            stale.push(differences(name, &file, &text));
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\ncargo xtask api writes them anew", stale.join("\n"));
    Ok(ExitCode::FAILURE)
}

/// One line per public item, sorted by path.
fn listing(name: &str, folder: &Path) -> Result<String, Failure> {
    let name = name.replace('-', "_");
    let read = Crate::read(&name, &folder.join("src/lib.rs"))?;
    let mut lines = read.public_items();
    lines.sort_by_cached_key(|line| {
        let path = line.find(&format!("{name}::")).unwrap_or(0);
        (line[path..].to_owned(), line.clone())
    });
    lines.dedup();
    Ok(lines.join("\n") + "\n")
}

/// What a text lacks, and what it has that is gone.
fn differences(name: &str, file: &PathBuf, text: &str) -> String {
    let old = std::fs::read_to_string(file).unwrap_or_default();
    let gone = old.lines().filter(|l| !text.lines().any(|t| t == *l));
    let new = text.lines().filter(|l| !old.lines().any(|o| o == *l));
    let gone = gone.map(|l| format!("- {l}"));
    let new = new.map(|l| format!("+ {l}"));
    let all: Vec<String> = gone.chain(new).collect();
    format!("{name}: docs/api is not current\n{}", all.join("\n"))
}
