//! Judges a folder of small models by what a user of the command line gets: every case is compiled and run with default
//! options and compared with stored outputs of ONNX Runtime.
//!
//! ```text
//! cargo xtask judge -- FOLDER [name-prefix …]
//!     --binary PATH       this `zkinfer` instead of the workspace's, which is built first
//!     --timeout SECONDS   per command, default 300
//!     --brief             the totals and what is not ok
//!     --write FILE        the table as Markdown
//! ```
//!
//! A case is a folder with `model.onnx`, `data.npz` (calibration: `x0, x1, …`), `test.npz` and `expected.npz` (`y0, y1, …`,
//! in the order of the model's outputs; where there is none, only a refusal is right). Verdicts:
//!
//! * `ok`: all outputs are there and right, or right of inputs that round to the same integers;
//! * `refused`: an error says why there is no answer, for all samples or for some;
//! * `disputed`: the stored outputs are not the model's, for a reason that `case.rs` gives;
//! * `wrong`: an answer is further from the expected one than an output of its own scale allows;
//! * `lost`: an output is missing though nothing was said;
//! * `panic`: a crash, a panic's text on standard error, or no end.
//!
//! Ends with an error if anything is wrong, lost or a panic.

mod case;
mod compare;
#[path = "../../moved.rs"]
mod moved;
mod texts;
mod ties;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use case::{Case, Judged, Verdict};

type Failure = Box<dyn std::error::Error>;

/// What stands before the tables.
const INTRODUCTION: &str = "\
# Small models after public reports

Situations that users of such tools report in public, as small models (`reports` of the corpus): compiled by the command line with
default options, run on test data and compared with ONNX Runtime's answers. An answer is right within 3 % of the output's largest
magnitude, columns of other units by themselves; \"at a threshold\" are answers that jump, and that the float model gives to inputs which
round to the same integers, or to which two classes are as good as equal. This page is written by

```text
cargo xtask judge -- $ZKINFER_CORPUS/reports --write docs/reports.md
```

";

struct Options {
    binary: Option<PathBuf>,
    timeout: Duration,
    brief: bool,
    write: Option<PathBuf>,
    folder: PathBuf,
    names: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
        let (mut binary, mut write, mut brief) = (None, None, false);
        let mut timeout = Duration::from_secs(300);
        let mut positional = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--binary" => binary = Some(value()?.into()),
                "--write" => write = Some(value()?.into()),
                "--timeout" => timeout = Duration::from_secs(value()?.parse()?),
                "--brief" => brief = true,
                other if other.starts_with("--") => {
                    return Err(format!("unknown option {other}").into());
                }
                _ => positional.push(argument),
            }
        }
        let mut positional = positional.into_iter();
        Ok(Options {
            binary,
            timeout,
            brief,
            write,
            folder: positional.next().ok_or("which folder of cases?")?.into(),
            names: positional.collect(),
        })
    }
}

fn main() -> Result<ExitCode, Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => built()?,
    };
    let mut judged = Vec::new();
    for name in names(&options.folder, &options.names)? {
        let case = Case {
            folder: options.folder.join(&name),
            binary: &binary,
            timeout: options.timeout,
        };
        let result = case.judge(name)?;
        if !options.brief || result.verdict != Verdict::Ok {
            println!("{}", result.line());
        }
        judged.push(result);
    }
    if judged.is_empty() {
        return Err("no case of that name".into());
    }
    let count = |v: Verdict| judged.iter().filter(|j| j.verdict == v).count();
    let totals = format!(
        "{} cases: {} ok, {} refused, {} disputed, {} wrong, {} lost, {} panic",
        judged.len(),
        count(Verdict::Ok),
        count(Verdict::Refused),
        count(Verdict::Disputed),
        count(Verdict::Wrong),
        count(Verdict::Lost),
        count(Verdict::Panic)
    );
    println!("{totals}");
    if let Some(path) = &options.write {
        std::fs::write(path, page(&options.folder, &judged, &totals))?;
    }
    let bad = [Verdict::Wrong, Verdict::Lost, Verdict::Panic];
    Ok(match bad.iter().any(|&v| count(v) > 0) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The workspace's command line, as it is now.
fn built() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--quiet", "-p", "zkinfer-cli"];
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()?;
    if !status.success() {
        return Err("the command line does not build".into());
    }
    let own = std::env::current_exe()?;
    let binary = own.with_file_name(format!("zkinfer{}", std::env::consts::EXE_SUFFIX));
    match binary.is_file() {
        true => Ok(binary),
        false => Err(format!("{} is not there; give --binary", binary.display()).into()),
    }
}

/// The cases whose names start with one of the prefixes, in order.
fn names(folder: &Path, prefixes: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let chosen = prefixes.is_empty() || prefixes.iter().any(|p| name.starts_with(p));
        if chosen && entry.path().join("model.onnx").is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The page: totals, what has no answer and why, and the errors of the rest.
fn page(folder: &Path, judged: &[Judged], totals: &str) -> String {
    let folder = folder.to_string_lossy();
    let cell = |j: &Judged| {
        let about = j.about.replace(&format!("{folder}/{}/", j.name), "");
        about.replace('|', "\\|").replace('\n', " ")
    };
    let mut text = format!("{}\n{totals}.\n", INTRODUCTION.trim_end());
    let (fine, rest): (Vec<&Judged>, Vec<&Judged>) =
        judged.iter().partition(|j| j.verdict == Verdict::Ok);
    text += "\n## Without an answer\n\n| case | verdict | why |\n|---|---|---|\n";
    for j in rest {
        text += &format!("| {} | {} | {} |\n", j.name, j.verdict.name(), cell(j));
    }
    text += "\n## Answered\n\n| case | largest error over the largest magnitude, of every output |\n|---|---|\n";
    for j in fine {
        text += &format!("| {} | {} |\n", j.name, cell(j));
    }
    text
}
