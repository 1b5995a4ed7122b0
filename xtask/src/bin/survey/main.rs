//! How far every model of a corpus gets: imported, quantized, run on every stored sample, judged against the stored float
//! outputs, proven, verified; what it costs, and the first reason why not further.
//!
//! ```text
//! cargo xtask survey -- path/to/models [group/name-prefix …]
//!     --prove             prove and verify sample 0 too
//!     --write FILE        write the table as a Markdown page (docs/models.md)
//!     --timeout SECONDS   per model, default 900
//!     --bits T            range bits, default the library's
//!     --unseen N          calibrate on N samples, judge by the others
//!     --layers            list the layers with their errors
//! ```
//!
//! Every model runs in a process of its own: a crash or a timeout costs one row, and peak memory is that model's.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod measure;
mod metric;
mod table;

use measure::Row;

type Failure = Box<dyn std::error::Error>;

/// What the command line says.
#[derive(Clone, Default)]
pub struct Options {
    prove: bool,
    write: Option<PathBuf>,
    timeout: Option<u64>,
    bits: Option<u32>,
    unseen: Option<usize>,
    layers: bool,
    /// Internal: measure this one model and print rows.
    one: bool,
    root: PathBuf,
    names: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
        let mut options = Options::default();
        let mut positional = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--prove" => options.prove = true,
                "--write" => options.write = Some(value()?.into()),
                "--timeout" => options.timeout = Some(value()?.parse()?),
                "--bits" => options.bits = Some(value()?.parse()?),
                "--unseen" => options.unseen = Some(value()?.parse()?),
                "--layers" => options.layers = true,
                "--one" => options.one = true,
                other if other.starts_with("--") => {
                    return Err(format!("unknown option {other}").into());
                }
                _ => positional.push(argument),
            }
        }
        let mut positional = positional.into_iter();
        options.root = positional.next().ok_or("which folder of models?")?.into();
        options.names = positional.collect();
        Ok(options)
    }

    /// The command line that measures one model.
    fn one(&self, name: &str) -> Vec<String> {
        let mut out = vec!["--one".to_owned()];
        let flags = [(self.prove, "--prove"), (self.layers, "--layers")];
        out.extend(flags.iter().filter(|f| f.0).map(|f| f.1.to_owned()));
        if let Some(bits) = self.bits {
            out.extend(["--bits".to_owned(), bits.to_string()]);
        }
        if let Some(count) = self.unseen {
            out.extend(["--unseen".to_owned(), count.to_string()]);
        }
        out.extend([self.root.to_string_lossy().into_owned(), name.to_owned()]);
        out
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    if options.one {
        let name = options.names.first().ok_or("which model?")?;
        measure::model(&options, name);
        return Ok(());
    }
    let names = models(&options.root, &options.names)?;
    let start = Instant::now();
    let mut rows = Vec::with_capacity(names.len());
    for name in &names {
        let row = isolated(&options, name)?;
        println!("{}", table::line(&row));
        rows.push(row);
    }
    println!(
        "{} ({:.0} s)",
        table::totals(&rows),
        start.elapsed().as_secs_f64()
    );
    if let Some(path) = &options.write {
        std::fs::write(path, table::page(&rows, &options))?;
    }
    Ok(())
}

/// `group/name` of every model whose name starts with one of the prefixes, in order.
fn models(root: &Path, prefixes: &[String]) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    for group in std::fs::read_dir(root)?.flatten() {
        for model in std::fs::read_dir(group.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = format!(
                "{}/{}",
                group.file_name().to_string_lossy(),
                model.file_name().to_string_lossy()
            );
            let chosen = prefixes.is_empty() || prefixes.iter().any(|p| name.starts_with(p));
            if chosen && model.path().join("network.onnx").is_file() {
                out.push(name);
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Measures a model in another process; the last row that it printed counts.
fn isolated(options: &Options, name: &str) -> Result<Row, Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(options.one(name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let reader = std::thread::spawn(move || {
        let mut last = None;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match serde_json::from_str::<Row>(&line) {
                Ok(row) => last = Some(row),
                Err(_) => println!("    {line}"),
            }
        }
        last
    });
    let limit = Duration::from_secs(options.timeout.unwrap_or(900));
    let start = Instant::now();
    let end = loop {
        if let Some(status) = child.try_wait()? {
            break (!status.success()).then(|| format!("ended with {status}"));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break Some(format!("not finished after {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let row = reader.join().map_err(|_| "the reader failed")?;
    let mut row = row.unwrap_or_else(|| Row::new(name));
    if end.is_some() {
        row.reason = end;
    }
    Ok(row)
}
