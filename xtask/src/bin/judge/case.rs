//! One case: compiled and run by the command line.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::compare::{self, Output};
use crate::ties::Ties;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Refused,
    Disputed,
    Wrong,
    Lost,
    Panic,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Refused => "refused",
            Verdict::Disputed => "disputed",
            Verdict::Wrong => "wrong",
            Verdict::Lost => "lost",
            Verdict::Panic => "panic",
        }
    }
}

/// Cases whose stored outputs are not those of the model, and how that is known.
const DISPUTED: [(&str, &str); 1] = [(
    "bf16_model",
    "the model is x·W, and the stored outputs are those of no x and W that are stored with them",
)];

pub struct Judged {
    pub name: String,
    pub verdict: Verdict,
    /// Errors of the outputs, or the reason.
    pub about: String,
    pub seconds: f64,
}

impl Judged {
    pub fn line(&self) -> String {
        let Judged {
            name,
            verdict,
            about,
            seconds,
        } = self;
        format!("{:8} {name:28} {seconds:6.1} s  {about}", verdict.name())
    }
}

pub struct Case<'a> {
    pub folder: PathBuf,
    pub binary: &'a Path,
    pub timeout: Duration,
}

/// What a command did.
struct Done {
    /// `None` if it did not end in time.
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
}

impl Done {
    /// A crash, or the text of one.
    fn panicked(&self) -> Option<String> {
        let code = match self.status {
            None => return Some("did not end in time".into()),
            Some(status) => status.code(),
        };
        let told = self.stderr.lines().find(|l| l.contains("panicked at"));
        match (code, told) {
            (_, Some(line)) => Some(line.to_owned()),
            (Some(0..=2), None) => None,
            _ => Some(format!("ended with {:?}", self.status)),
        }
    }

    fn reason(&self) -> String {
        let lines = self.stderr.lines().filter(|l| !l.trim().is_empty());
        let error = lines.clone().find(|l| l.contains("error:"));
        error.or(lines.clone().next_back()).unwrap_or("").to_owned()
    }
}

impl Case<'_> {
    pub fn judge(&self, name: String) -> Result<Judged, Failure> {
        let start = Instant::now();
        let (mut verdict, mut about) = self.verdict()?;
        let disputed = DISPUTED.iter().find(|d| d.0 == name);
        if let (Verdict::Wrong, Some((_, why))) = (verdict, disputed) {
            (verdict, about) = (Verdict::Disputed, format!("{about}; {why}"));
        }
        Ok(Judged {
            name,
            verdict,
            about,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    fn verdict(&self) -> Result<(Verdict, String), Failure> {
        let work = tempfile::tempdir()?;
        let compiled = work.path().join("case");
        let mut compile = Command::new(self.binary);
        compile.arg("compile").arg(self.folder.join("model.onnx"));
        compile
            .arg("--calibration")
            .arg(self.folder.join("data.npz"));
        compile.arg("-o").arg(&compiled);
        let done = run(compile, self.timeout)?;
        if let Some(text) = done.panicked() {
            return Ok((Verdict::Panic, text));
        }
        if !done.status.is_some_and(|s| s.success()) {
            return Ok((Verdict::Refused, done.reason()));
        }
        let mut infer = Command::new(self.binary);
        infer
            .arg("infer")
            .arg(work.path().join("case.model"))
            .arg("--input");
        infer
            .arg(self.folder.join("test.npz"))
            .args(["--all", "--json"]);
        let done = run(infer, self.timeout)?;
        if let Some(text) = done.panicked() {
            return Ok((Verdict::Panic, text));
        }
        let answers = answers(&done.stdout)?;
        let expected = match compare::expected(&self.folder.join("expected.npz"))? {
            Some(expected) => expected,
            // ONNX Runtime has no answer, so nothing that is said can be compared.
            None if answers.is_empty() => return Ok((Verdict::Refused, done.reason())),
            None => return Ok((Verdict::Wrong, "there is no expected output".into())),
        };
        let samples = expected.iter().map(Output::samples).max().unwrap_or(0);
        let mut compared = compare::compare(&expected, &answers);
        if compared.lost > 0 {
            let about = format!(
                "{} of {} outputs are missing",
                compared.lost,
                expected.len()
            );
            return Ok((Verdict::Lost, about));
        }
        if compared.wrong {
            // Sample by sample: those that are off by themselves have to be explained.
            let ties = Ties::of(&self.folder, &work.path().join("case.model"))?;
            let apart = answers.iter().filter(|answer| {
                let alone = std::slice::from_ref(*answer);
                compare::compare(&expected, alone).wrong
            });
            let apart: Vec<_> = apart.collect();
            let tied = |a: &&(usize, serde_json::Value)| ties.explain(&expected, a.0, &a.1);
            if apart.is_empty() || !apart.iter().all(tied) {
                return Ok((Verdict::Wrong, compared.about));
            }
            compared.about += &format!(", {} at a threshold", apart.len());
        }
        if answers.len() < samples {
            let about = format!(
                "{} of {samples} samples: {}",
                samples - answers.len(),
                done.reason()
            );
            return Ok((Verdict::Refused, about));
        }
        Ok((Verdict::Ok, compared.about))
    }
}

/// The samples that have an answer, with their numbers.
fn answers(stdout: &str) -> Result<Vec<(usize, serde_json::Value)>, Failure> {
    let mut answers = Vec::new();
    for line in stdout.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        let sample = value["sample"].as_u64();
        if let (Some(sample), true) = (sample, value["output"].is_array()) {
            answers.push((usize::try_from(sample)?, value));
        }
    }
    Ok(answers)
}

/// Runs a command to its end, or ends it.
fn run(mut command: Command, timeout: Duration) -> Result<Done, Failure> {
    let mut child = command
        .env("NO_COLOR", "1")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = std::thread::spawn(move || text(stdout));
    let stderr = std::thread::spawn(move || text(stderr));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Ok(Done {
        status,
        stdout: stdout.join().map_err(|_| "the reader failed")??,
        stderr: stderr.join().map_err(|_| "the reader failed")??,
    })
}

fn text(from: Option<impl Read>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        from.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
