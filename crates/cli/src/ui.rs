//! What people and programs see: colours, progress, sizes, JSON lines.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use zkinfer::disclosure::{Disclosure, disclosures};
use zkinfer::{Card, Progress, Stage};

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub struct Paint(bool);

fn wanted(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// For text on standard output.
pub fn stdout() -> Paint {
    Paint(wanted(std::io::stdout().is_terminal()))
}

/// For text on standard error.
pub fn stderr() -> Paint {
    Paint(wanted(std::io::stderr().is_terminal()))
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    pub fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

/// Does something, with a spinner on standard error if that is a terminal; also returns how long it took.
pub fn step<T>(what: impl Into<String>, work: impl FnOnce() -> T) -> (T, Duration) {
    watched(what, |_| work())
}

/// [`step`], for work that says how far it has come.
pub fn watched<T>(
    what: impl Into<String>,
    work: impl FnOnce(&mut Progress<'_>) -> T,
) -> (T, Duration) {
    let (start, what) = (Instant::now(), what.into());
    let result = told(what.clone(), |tell| {
        work(&mut |stage: Stage, fraction: f64| {
            tell(&format!("{what}: {stage}, {:.0} %", 100.0 * fraction));
            ControlFlow::Continue(())
        })
    });
    (result, start.elapsed())
}

/// Does something that says in words what it is doing, with a spinner on standard error if that is a terminal.
pub fn told<T>(what: impl Into<String>, work: impl FnOnce(&mut dyn FnMut(&str)) -> T) -> T {
    let spinner = ProgressBar::new_spinner().with_message(what.into());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = work(&mut |text: &str| spinner.set_message(plain(text)));
    spinner.finish_and_clear();
    result
}

/// A bar on standard error if that is a terminal, for many equal steps.
pub fn bar(what: &'static str, len: usize) -> ProgressBar {
    let bar = ProgressBar::new(len as u64).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// Writes to standard output; unlike `println!` without a panic when nobody reads.
pub fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// One JSON value on a line of its own.
pub fn json(value: &impl serde::Serialize) -> Result<()> {
    line(&serde_json::to_string(value)?)
}

/// What a card reveals besides the architecture, if its weights are hidden.
pub fn reveals(card: &Card) -> Vec<serde_json::Value> {
    let told = card.programs().flat_map(disclosures);
    let entry = |d: Disclosure| {
        let (kind, meaning) = (d.kind.code(), d.kind.meaning());
        serde_json::json!({ "kind": kind, "place": d.place, "meaning": meaning })
    };
    told.map(entry).collect()
}

/// An error and its causes, except those that the text before already gives.
pub fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    plain(&text)
}

/// Whether an error is only that nobody reads our output.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A size for people.
pub fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A time for people.
pub fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 1.0 {
        format!("{ms:.2} ms")
    } else if ms < 1e3 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.2} s", ms / 1e3)
    }
}

/// A number for people: four significant digits.
pub fn real(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let digits = if value == 0.0 {
            0
        } else {
            (3.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize
        };
        format!("{value:.digits$}")
    } else {
        format!("{value:.3e}")
    }
}

/// A count for people: thousands apart.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Columns that a text takes, colours left out.
pub fn width(text: &str) -> usize {
    text.split('\x1b')
        .enumerate()
        .map(|(i, part)| {
            part.chars()
                .skip(if i == 0 {
                    0
                } else {
                    part.find('m').map_or(0, |at| at + 1)
                })
                .count()
        })
        .sum()
}

/// The beginning of a text that is too long for its column.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A text for a terminal: what an attacker may have put into a file does not move the cursor.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hexadecimal digits as bytes.
pub fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .map(|c| {
            c.to_digit(16)
                .with_context(|| format!("{c:?} is no hexadecimal digit; use --context for text"))
        })
        .collect::<Result<_>>()?;
    if !digits.len().is_multiple_of(2) {
        bail!(
            "{} hexadecimal digits are not whole bytes; put a 0 in front",
            digits.len()
        );
    }
    Ok(digits
        .chunks_exact(2)
        .map(|d| (d[0] * 16 + d[1]) as u8)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_repeat_themselves() {
        let error = anyhow::anyhow!("no such file")
            .context("cannot read x: no such file")
            .context("sample 3");
        assert_eq!(message(&error), "sample 3: cannot read x: no such file");
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(unhex("00fF1").ok(), None);
        assert_eq!(unhex("0g").ok(), None);
        assert_eq!(unhex("00fF").unwrap(), [0, 255]);
        assert_eq!(hex(&[0, 255]), "00ff");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [
                width("a…"),
                width(&Paint(true).red("ab")),
                width(&format!("x{}y", Paint(true).bold("b")))
            ],
            [2, 2, 3]
        );
        assert_eq!(
            [count(7), count(1234), count(1_234_567)],
            ["7", "1,234", "1,234,567"]
        );
        assert_eq!(
            [size(999), size(4_650), size(2_000_000)],
            ["999 B", "4.7 kB", "2.0 MB"]
        );
        assert_eq!(
            [real(0.0), real(-5.92274), real(123.456), real(1e-9)],
            ["0", "-5.923", "123.5", "1.000e-9"]
        );
        assert_eq!(
            [clip("abcdef", 4), clip("abc", 4), plain("a\x1b[2J")],
            ["abc…", "abc", "a\u{fffd}[2J"]
        );
    }
}
