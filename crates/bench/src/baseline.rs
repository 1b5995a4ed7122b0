//! What criterion measured: read from its folder, kept in `benches/baseline.json`, compared with what was kept.
//!
//! Criterion's own baselines are files of a build folder, one machine's for that machine. This one is small, is committed,
//! and names the machine: a comparison across machines says that it is one.

use crate::report::Machine;
use crate::units;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Number of the format of [`Baseline`].
pub const FORMAT: u32 = 1;

/// Longest file that is read: a thousand times what criterion writes.
const FILE_BYTES: u64 = 1 << 26;

/// Figures that are older than the newest by more than this are of another run: benchmarks that no longer exist, or that a
/// filter left out.
const SAME_RUN: Duration = Duration::from_secs(2 * 3600);

/// A file or folder that is not what it should be.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

/// One run of all benchmarks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// [`FORMAT`].
    pub format: u32,
    /// Where it ran. Loads are those when the figures were collected, right behind the run.
    pub machine: Machine,
    /// In the order of their names.
    pub benches: Vec<Bench>,
}

/// One benchmark. Times are seconds of one iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// What is measured: a stage, or a kernel.
    pub stage: String,
    /// Of what: empty for stages of a model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub case: String,
    /// The model; for kernels, whose code.
    pub of: String,
    /// Median.
    pub median: f64,
    /// Lower end of the median's confidence interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What one iteration does several of: proofs of a batch, weights that are folded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<u64>,
}

impl Bench {
    /// The name that criterion prints and filters by.
    pub fn id(&self) -> String {
        let parts = [&self.stage, &self.case, &self.of];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
        let parts = parts.into_iter().filter(|p| !p.is_empty());
        parts.collect::<Vec<_>>().join("/")
    }

    /// Median over the number of [elements](Self::elements).
    pub fn per_element(&self) -> f64 {
        self.median / self.elements.unwrap_or(1).max(1) as f64
    }
}

/// `benchmark.json` of criterion.
#[derive(Deserialize)]
struct Id {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    /// `{"Elements": 8}`, or of another kind.
    throughput: Option<serde_json::Value>,
}

/// `estimates.json` of criterion. Nanoseconds.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// What lies in criterion's folder.
#[derive(Debug)]
pub struct Collected {
    /// Of the last run.
    pub benches: Vec<Bench>,
    /// Names of benchmarks whose figures are of an earlier run.
    pub stale: Vec<String>,
}

/// Reads the last run from criterion's folder, `target/criterion`.
///
/// # Errors
/// A folder without results, and files that are not criterion's.
pub fn collect(folder: &Path) -> Result<Collected, ReadError> {
    let mut files = Vec::new();
    find(folder, 0, &mut files);
    let mut found = Vec::new();
    for file in files {
        let at = std::fs::metadata(&file).and_then(|m| m.modified());
        found.push((at.unwrap_or(SystemTime::UNIX_EPOCH), read(&file)?));
    }
    let Some(newest) = found.iter().map(|f| f.0).max() else {
        return Err(ReadError {
            path: folder.into(),
            reason: "no results; run cargo bench --workspace first".into(),
        });
    };
    let (mut benches, mut stale) = (Vec::new(), Vec::new());
    for (at, bench) in found {
        if newest.duration_since(at).is_ok_and(|age| age > SAME_RUN) {
            stale.push(bench.id());
        } else {
            benches.push(bench);
        }
    }
    benches.sort_by_key(Bench::id);
    stale.sort();
    Ok(Collected { benches, stale })
}

/// `…/new/estimates.json`; criterion nests at most group, function and parameter.
fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let estimates = folder.join("new/estimates.json");
    if estimates.is_file() {
        files.push(estimates);
        return;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|_| depth < 4) {
        if entry.path().is_dir() {
            find(&entry.path(), depth + 1, files);
        }
    }
}

fn read(estimates: &Path) -> Result<Bench, ReadError> {
    let id: Id = json(&estimates.with_file_name("benchmark.json"))?;
    let Estimates { median } = json(estimates)?;
    let interval = median.confidence_interval;
    Ok(Bench {
        stage: id.group_id,
        case: id.function_id.unwrap_or_default(),
        of: id.value_str.unwrap_or_default(),
        median: median.point_estimate * 1e-9,
        low: interval.lower_bound * 1e-9,
        high: interval.upper_bound * 1e-9,
        elements: id.throughput.and_then(|t| t.get("Elements")?.as_u64()),
    })
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ReadError> {
    let failed = |reason: String| ReadError {
        path: path.into(),
        reason,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| failed(e.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(failed(format!("more than {FILE_BYTES} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))
}

impl Baseline {
    /// Reads a file that was [kept](Self::to_json).
    ///
    /// # Errors
    /// A file that cannot be read, or is of another format.
    pub fn load(path: &Path) -> Result<Baseline, ReadError> {
        let baseline: Baseline = json(path)?;
        if baseline.format != FORMAT {
            return Err(ReadError {
                path: path.into(),
                reason: format!("format {}; this version reads {FORMAT}", baseline.format),
            });
        }
        Ok(baseline)
    }

    /// As it is kept: a line for every benchmark, so that changes can be read.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        let line = |value: serde_json::Result<String>| value.expect("plain data");
        let _ = write!(
            out,
            "{{\n\"format\": {},\n\"machine\": {},\n\"benches\": [",
            self.format,
            line(serde_json::to_string(&self.machine))
        );
        for (i, bench) in self.benches.iter().enumerate() {
            let comma = if i == 0 { "\n" } else { ",\n" };
            let _ = write!(out, "{comma}{}", line(serde_json::to_string(bench)));
        }
        out.push_str("\n]\n}\n");
        out
    }

    /// A benchmark.
    pub fn bench(&self, stage: &str, case: &str, of: &str) -> Option<&Bench> {
        let mut all = self.benches.iter();
        all.find(|b| (b.stage.as_str(), b.case.as_str(), b.of.as_str()) == (stage, case, of))
    }
}

/// What became of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The intervals overlap, or the medians differ by less than [`NOISE`].
    Same,
    /// Faster.
    Faster,
    /// Slower.
    Slower,
}

/// Smaller changes of a median are nobody's doing.
pub const NOISE: f64 = 0.05;

/// A benchmark in both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its name.
    pub id: String,
    /// Median in the baseline, seconds.
    pub before: f64,
    /// Median now.
    pub now: f64,
    /// Whether that is a difference.
    pub verdict: Verdict,
}

impl Change {
    fn of(before: &Bench, now: &Bench) -> Change {
        let ratio = now.median / before.median;
        let verdict = if ratio > 1.0 + NOISE && now.low > before.high {
            Verdict::Slower
        } else if ratio < 1.0 / (1.0 + NOISE) && now.high < before.low {
            Verdict::Faster
        } else {
            Verdict::Same
        };
        Change {
            id: now.id(),
            before: before.median,
            now: now.median,
            verdict,
        }
    }

    /// Above 1 is slower.
    pub fn ratio(&self) -> f64 {
        self.now / self.before
    }
}

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// In which respects the machines differ; ratios then say little about the code.
    pub machine: Vec<String>,
    /// In both.
    pub changes: Vec<Change>,
    /// Only in the baseline.
    pub gone: Vec<String>,
    /// Only in the new run.
    pub new: Vec<String>,
}

/// Compares a run with a baseline.
pub fn compare(before: &Baseline, now: &Baseline) -> Comparison {
    let find = |all: &Baseline, b: &Bench| all.bench(&b.stage, &b.case, &b.of).cloned();
    let only = |some: &Baseline, other: &Baseline| -> Vec<String> {
        let missing = some.benches.iter().filter(|b| find(other, b).is_none());
        missing.map(Bench::id).collect()
    };
    let both = now.benches.iter();
    let both = both.filter_map(|b| Some(Change::of(&find(before, b)?, b)));
    let (a, b) = (&before.machine, &now.machine);
    let cores = (a.cores.to_string(), b.cores.to_string());
    let facts = [
        ("processor", &a.cpu, &b.cpu),
        ("cores", &cores.0, &cores.1),
        ("system", &a.os, &b.os),
        ("engine", &a.engine, &b.engine),
        ("compiler", &a.rustc, &b.rustc),
    ];
    let differs = facts.iter().filter(|(_, a, b)| a != b);
    Comparison {
        machine: differs
            .map(|(what, a, b)| format!("{what}: {a}, now {b}"))
            .collect(),
        changes: both.collect(),
        gone: only(before, now),
        new: only(now, before),
    }
}

impl Comparison {
    /// Benchmarks that are slower by more than a factor.
    pub fn slower(&self, factor: f64) -> impl Iterator<Item = &Change> {
        let slower = move |c: &&Change| c.verdict == Verdict::Slower && c.ratio() > factor;
        self.changes.iter().filter(slower)
    }

    /// For the terminal.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let width = self.changes.iter().map(|c| c.id.chars().count()).max();
        let width = width.unwrap_or(9).max(9);
        let _ = writeln!(
            out,
            "{:width$} {:>9} {:>9} {:>7}",
            "benchmark", "baseline", "now", "times"
        );
        for change in &self.changes {
            let word = match change.verdict {
                Verdict::Same => "",
                Verdict::Faster => "  faster",
                Verdict::Slower => "  SLOWER",
            };
            let (before, now) = (units::time(change.before), units::time(change.now));
            let (id, ratio) = (&change.id, change.ratio());
            let _ = writeln!(out, "{id:width$} {before:>9} {now:>9} {ratio:>7.2}{word}");
        }
        let count = |verdict| self.changes.iter().filter(|c| c.verdict == verdict).count();
        let _ = writeln!(
            out,
            "\n{} slower, {} faster, {} within {:.0} % or within the intervals; geometric mean {:.3} times",
            count(Verdict::Slower),
            count(Verdict::Faster),
            count(Verdict::Same),
            100.0 * NOISE,
            self.mean(),
        );
        for (what, ids) in [
            ("only in the baseline", &self.gone),
            ("not in the baseline", &self.new),
        ] {
            if !ids.is_empty() {
                let _ = writeln!(out, "{what}: {}", ids.join(", "));
            }
        }
        if !self.machine.is_empty() {
            let _ = writeln!(
                out,
                "ANOTHER MACHINE OR BUILD ({}): these ratios are not those of the code",
                self.machine.join("; ")
            );
        }
        out
    }

    /// Geometric mean of the ratios; 1 if there are none.
    pub fn mean(&self) -> f64 {
        let logs = self.changes.iter().map(|c| c.ratio().ln());
        (logs.sum::<f64>() / self.changes.len().max(1) as f64).exp()
    }
}

#[cfg(test)]
mod tests;
