//! Axes: where values go, and the marks that a person reads.

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, shown with the prefix that fits.
    Seconds,
    /// Bytes, in powers of 1000.
    Bytes,
    /// Things.
    Count,
    /// How many times as much.
    Ratio,
}

impl Unit {
    /// A round value, as short as possible: `10 µs`, `5 MB`, `100k`, `20×`.
    pub fn tick(self, value: f64) -> String {
        let size = value.abs();
        let (factor, prefix) = match self {
            Unit::Seconds => match size {
                0.0 => (1.0, "s"),
                s if s < 0.9999e-6 => (1e9, "ns"),
                s if s < 0.9999e-3 => (1e6, "µs"),
                s if s < 0.9999 => (1e3, "ms"),
                _ => (1.0, "s"),
            },
            Unit::Bytes => match size {
                b if b < 999.9 => (1.0, "B"),
                b if b < 999.9e3 => (1e-3, "kB"),
                b if b < 999.9e6 => (1e-6, "MB"),
                _ => (1e-9, "GB"),
            },
            Unit::Count | Unit::Ratio => match size {
                c if c < 999.9 => (1.0, ""),
                c if c < 999.9e3 => (1e-3, "k"),
                c if c < 999.9e6 => (1e-6, "M"),
                _ => (1e-9, "G"),
            },
        };
        let number = short(value * factor);
        match self {
            Unit::Seconds | Unit::Bytes => format!("{number} {prefix}"),
            Unit::Count => format!("{number}{prefix}"),
            Unit::Ratio => format!("{number}{prefix}×"),
        }
    }

    /// A measured value, with about three digits.
    pub fn value(self, value: f64) -> String {
        match self {
            Unit::Seconds => crate::units::time(value),
            Unit::Bytes => crate::units::bytes(value.max(0.0).round() as u64),
            Unit::Count => crate::units::count(value.max(0.0).round() as u64),
            Unit::Ratio => format!("{}×", crate::units::ratio(value)),
        }
    }
}

/// At most six significant digits, without zeros at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text.strip_prefix('-').unwrap_or(text) {
        "" | "0" => "0".into(),
        _ => text.into(),
    }
}

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By logarithms.
    Log,
}

/// Values beyond this are not shown: nobody measures them, and axes have to end somewhere.
const LARGEST: f64 = 1e30;

/// A range of values along a number of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    scale: Scale,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Span {
    /// Room for all values, those that the scale cannot show left out; from pixel `start` (the lowest value) to `end`. `None` without
    /// a value.
    pub fn around(
        scale: Scale,
        values: impl Iterator<Item = f64>,
        start: f64,
        end: f64,
    ) -> Option<Span> {
        let shown = values.filter(|v| can_show(scale, *v));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            return None;
        }
        let (low, high) = match scale {
            Scale::Linear => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
            // A margin, and at least two marks.
            Scale::Log => {
                let (l, h) = (low.log10(), high.log10());
                let margin = ((h - l) * 0.04).max(0.06);
                let (l, h) = (l - margin, h + margin);
                let lack = ((1.1 - (h - l)) / 2.0).max(0.0);
                (10f64.powf(l - lack), 10f64.powf(h + lack))
            }
        };
        Some(Span {
            scale,
            low,
            high,
            start,
            end,
        })
    }

    /// The pixel of a value; outside values end at the border.
    pub fn at(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => {
                (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
            }
        };
        self.start + part.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Whether a value can be shown.
    pub fn shows(&self, value: f64) -> bool {
        can_show(self.scale, value)
    }

    /// Round values, at most `most` of them (at least 2).
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.linear_ticks(most),
            Scale::Log => self.log_ticks(most),
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<f64> {
        let range = self.high - self.low;
        let power = 10f64.powf((range / most as f64).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|s| s * power)
            .into_iter()
            .find(|s| range / s < most as f64);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.low / step).ceil() as i64;
        (first..)
            .map(|i| i as f64 * step)
            .take_while(|v| *v <= self.high)
            .collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<f64> {
        let powers = |steps: &[f64], every: i32| {
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let all = (first..=last).filter(|p| p.rem_euclid(every) == 0);
            let all = all.flat_map(|p| steps.iter().map(move |s| s * 10f64.powi(p)));
            all.filter(|v| (self.low..=self.high).contains(v))
                .collect::<Vec<_>>()
        };
        let fine = [
            (&[1.0, 2.0, 5.0][..], 1),
            (&[1.0, 3.0], 1),
            (&[1.0], 1),
            (&[1.0], 2),
            (&[1.0], 3),
            (&[1.0], 4),
            (&[1.0], 6),
        ];
        let choices = fine.map(|(steps, every)| powers(steps, every));
        choices
            .into_iter()
            .find(|t| t.len() <= most)
            .unwrap_or_default()
    }
}

fn can_show(scale: Scale, value: f64) -> bool {
    value.abs() <= LARGEST && (scale == Scale::Linear || value >= 1.0 / LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_short() {
        let seconds =
            [0.0, 1e-9, 1e-5, 2e-3, 1e-3, 0.1, 1.0, 20.0, 1000.0].map(|v| Unit::Seconds.tick(v));
        assert_eq!(
            seconds,
            [
                "0 s", "1 ns", "10 µs", "2 ms", "1 ms", "100 ms", "1 s", "20 s", "1000 s"
            ]
        );
        let bytes = [1.0, 500.0, 1e3, 2e5, 1e6, 1e9, 2.5e9].map(|v| Unit::Bytes.tick(v));
        assert_eq!(
            bytes,
            ["1 B", "500 B", "1 kB", "200 kB", "1 MB", "1 GB", "2.5 GB"]
        );
        let counts = [0.5, 1.0, 1e3, 1e4, 1e6, 1e7, 1e9].map(|v| Unit::Count.tick(v));
        assert_eq!(counts, ["0.5", "1", "1k", "10k", "1M", "10M", "1G"]);
        assert_eq!(Unit::Ratio.tick(1e4), "10k×");
    }

    #[test]
    fn logarithmic_axes() {
        let span = Span::around(Scale::Log, [1e3, 1e7].into_iter(), 0.0, 400.0).unwrap();
        assert_eq!(span.ticks(6), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert_eq!(span.ticks(4), [1e4, 1e6]);
        assert!((span.at(1e5) - 200.0).abs() < 1e-9);
        assert!(span.at(1e3) > 0.0 && span.at(1e7) < 400.0);
        // What cannot be shown ends at the border rather than at infinity.
        assert_eq!(
            (span.at(0.0), span.at(-1.0), span.at(f64::INFINITY)),
            (0.0, 0.0, 400.0)
        );
        assert!(!span.shows(0.0) && !span.shows(f64::NAN) && span.shows(1.0));
        // A single value still has marks around it.
        let single = Span::around(Scale::Log, [3e-3].into_iter(), 0.0, 1.0).unwrap();
        assert!(single.ticks(6).len() >= 2, "{:?}", single.ticks(6));
    }

    #[test]
    fn linear_axes() {
        let span = Span::around(Scale::Linear, [1.0, 8.0].into_iter(), 100.0, 0.0).unwrap();
        assert_eq!(span.ticks(5), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(span.at(0.0), 100.0);
        assert!(
            Span::around(Scale::Linear, [0.0].into_iter(), 0.0, 1.0)
                .unwrap()
                .ticks(5)
                .len()
                >= 2
        );
    }

    #[test]
    fn axes_of_nothing() {
        assert_eq!(
            Span::around(Scale::Log, [0.0, -1.0, f64::NAN].into_iter(), 0.0, 1.0),
            None
        );
        assert_eq!(
            Span::around(Scale::Linear, std::iter::empty(), 0.0, 1.0),
            None
        );
    }

    #[test]
    fn never_more_marks_than_asked_for() {
        for low in -9..9 {
            for decades in 1..16 {
                let ends = [10f64.powi(low), 10f64.powi(low + decades) * 1.3];
                for scale in [Scale::Log, Scale::Linear] {
                    let ticks = Span::around(scale, ends.into_iter(), 0.0, 1.0)
                        .unwrap()
                        .ticks(6);
                    assert!(
                        (2..=6).contains(&ticks.len()),
                        "{scale:?} {ends:?}: {ticks:?}"
                    );
                }
            }
        }
    }
}
