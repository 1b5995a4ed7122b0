//! Time, CPU time and memory of a piece of work that is run several times.
//!
//! * Wall time is the monotonic clock. CPU time is that of the whole process, all threads, user and system, with the
//!   resolution of the system's clock for it (nanoseconds on Linux).
//! * Memory is the resident memory of the process at its highest, on Linux: the kernel's mark is set back before the work
//!   begins (`5` to `/proc/self/clear_refs`) and read behind it. Elsewhere it is unknown.
//! * Work of less than [`SHORT`] is repeated within a run, and the run divided by the number of repetitions.
//! * The first run is not counted, unless it takes so long that it would be most of the effort.

use crate::report::{Stage, StageName, Summary};
use cpu_time::ProcessTime;
use std::time::{Duration, Instant};

/// Work that takes less is repeated within a run.
pub const SHORT: Duration = Duration::from_millis(1);
/// Most repetitions within a run.
const MOST_REPEATS: u32 = 100_000;
/// Fewest runs where nobody says how many: quartiles of fewer mean little.
const FEWEST_RUNS: usize = 5;
/// Fewest runs of work that takes longer than the time for a stage.
const FEWEST_LONG_RUNS: usize = 3;
/// Work that takes so many times the time for a stage is run once.
const ONCE: f64 = 10.0;
/// Most runs where nobody says how many.
const MOST_RUNS: usize = 101;

/// How often work is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// So many runs of every stage.
    Runs(usize),
    /// For about so long per stage, but 5 times at least and 101 times at most; work that takes longer than that 3 times,
    /// and once if it takes 10 times as long. [`Summary::runs`] tells.
    Seconds(f64),
}

impl Default for Effort {
    fn default() -> Self {
        Effort::Seconds(2.0)
    }
}

impl Effort {
    /// Whether these runs are enough.
    fn is_spent(self, runs: usize, longest: f64, total: f64) -> bool {
        match self {
            Effort::Runs(wanted) => runs >= wanted.max(1),
            Effort::Seconds(seconds) => {
                let fewest = if longest > ONCE * seconds {
                    1
                } else if longest > seconds {
                    FEWEST_LONG_RUNS
                } else {
                    FEWEST_RUNS
                };
                runs >= fewest && (total >= seconds || runs >= MOST_RUNS)
            }
        }
    }

    /// Whether work that took so long once is run without a warm-up.
    fn counts_first(self, first: f64) -> bool {
        match self {
            Effort::Runs(_) => first > 5.0,
            Effort::Seconds(seconds) => first > seconds,
        }
    }

    /// Seconds that a stage may take where work has to be prepared for it.
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Effort::Runs(_) => Effort::default().seconds(),
            Effort::Seconds(seconds) => seconds,
        }
    }
}

impl Summary {
    /// Median and quartiles, interpolated between neighbours; `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |fraction: f64| {
            let place = fraction * last as f64;
            let below = place.floor() as usize;
            let above = (below + 1).min(last);
            sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
        };
        Some(Summary {
            median: at(0.5),
            low: at(0.25),
            high: at(0.75),
            runs: sorted.len(),
        })
    }
}

/// Both clocks, running.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Instant,
    cpu: Option<ProcessTime>,
}

/// What the clocks show, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lap {
    /// Wall time.
    pub wall: f64,
    /// CPU time of the process, where the system tells.
    pub cpu: Option<f64>,
}

impl Clock {
    /// Starts both.
    pub fn start() -> Clock {
        Clock {
            cpu: ProcessTime::try_now().ok(),
            wall: Instant::now(),
        }
    }

    /// Time since the start.
    pub fn lap(&self) -> Lap {
        let wall = self.wall.elapsed().as_secs_f64();
        let since = |start: ProcessTime| Some(start.try_elapsed().ok()?.as_secs_f64());
        Lap {
            wall,
            cpu: self.cpu.and_then(since),
        }
    }
}

/// Summaries of wall and CPU times; CPU time only if every lap has it.
pub fn summarize(laps: &[Lap]) -> Option<(Summary, Option<Summary>)> {
    let wall: Vec<f64> = laps.iter().map(|l| l.wall).collect();
    let cpu: Option<Vec<f64>> = laps.iter().map(|l| l.cpu).collect();
    Some((Summary::of(&wall)?, cpu.and_then(|c| Summary::of(&c))))
}

/// The kernel's mark of the highest resident memory, set back when this was made.
#[derive(Debug)]
pub struct Memory {
    before: Option<u64>,
}

impl Memory {
    /// Sets the mark back.
    pub fn watch() -> Memory {
        let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        Memory {
            before: status("VmRSS:").filter(|_| reset),
        }
    }

    /// The highest since, and by how much that exceeds what was resident at the beginning. Bytes.
    pub fn peak(&self) -> Option<(u64, u64)> {
        let before = self.before?;
        let peak = status("VmHWM:")?;
        Some((peak, peak.saturating_sub(before)))
    }
}

/// A line of `/proc/self/status` that gives kilobytes, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Runs stages and tells somebody which.
pub struct Meter<'a> {
    /// How often.
    pub effort: Effort,
    /// Told what is being run.
    pub watch: &'a mut dyn FnMut(&str),
    /// What the stages are of, for `watch`.
    pub of: String,
}

impl Meter<'_> {
    /// Says what happens now.
    pub fn tell(&mut self, what: &str) {
        (self.watch)(&format!("{}: {what}", self.of));
    }

    /// Measures work that can be repeated as it is. Also returns the last run's result.
    ///
    /// # Errors
    /// The first error of the work.
    pub fn stage<T, E>(
        &mut self,
        name: StageName,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<(Stage, T), E> {
        self.tell(name.label());
        let memory = Memory::watch();
        let (first, mut last) = timed(&mut work)?;
        let (mut laps, mut repeats) = (Vec::new(), 1);
        if self.effort.counts_first(first.wall) {
            laps.push(first);
        } else {
            // Again, as the first is slow from caches that are cold.
            let mut short = first.wall;
            if short < SHORT.as_secs_f64() {
                let (second, result) = timed(&mut work)?;
                (short, last) = (second.wall, result);
            }
            repeats = (SHORT.as_secs_f64() / short.max(1e-9)).ceil() as u32;
            repeats = repeats.clamp(1, MOST_REPEATS);
        }
        let mut total: f64 = laps.iter().map(|l| l.wall).sum();
        let mut longest = total;
        while !self.effort.is_spent(laps.len(), longest, total) {
            self.tell(&format!("{name}, run {}", laps.len() + 1));
            let clock = Clock::start();
            for _ in 1..repeats {
                std::hint::black_box(work()?);
            }
            last = std::hint::black_box(work()?);
            let mut lap = clock.lap();
            total += lap.wall;
            longest = longest.max(lap.wall);
            lap.wall /= f64::from(repeats);
            lap.cpu = lap.cpu.map(|c| c / f64::from(repeats));
            laps.push(lap);
        }
        Ok((stage(name, &laps, memory.peak()), last))
    }

    /// Measures work that consumes something which is made anew for every run, outside of the measured time, by `make`; it
    /// is given what the run before resulted in. The first run counts. Also returns the last run's result.
    ///
    /// # Errors
    /// The first error of the work.
    pub fn stage_from<S, T, E>(
        &mut self,
        name: StageName,
        mut make: impl FnMut(Option<T>) -> Result<S, E>,
        mut work: impl FnMut(S) -> Result<T, E>,
    ) -> Result<(Stage, T), E> {
        let (mut laps, mut total, mut longest) = (Vec::new(), 0.0, 0.0f64);
        let (mut peak, mut last) = (None, None);
        loop {
            self.tell(&format!("{name}, run {}", laps.len() + 1));
            let start = make(last)?;
            let memory = Memory::watch();
            let clock = Clock::start();
            let result = std::hint::black_box(work(start)?);
            let lap = clock.lap();
            peak = peak.max(memory.peak());
            total += lap.wall;
            longest = longest.max(lap.wall);
            laps.push(lap);
            if self.effort.is_spent(laps.len(), longest, total) {
                return Ok((stage(name, &laps, peak), result));
            }
            last = Some(result);
        }
    }
}

fn timed<T, E>(work: &mut impl FnMut() -> Result<T, E>) -> Result<(Lap, T), E> {
    let clock = Clock::start();
    let result = work()?;
    Ok((clock.lap(), result))
}

/// A stage from its laps, of which there is at least one.
pub(crate) fn stage(name: StageName, laps: &[Lap], peak: Option<(u64, u64)>) -> Stage {
    let nothing = Summary {
        median: 0.0,
        low: 0.0,
        high: 0.0,
        runs: 0,
    };
    let (wall, cpu) = summarize(laps).unwrap_or((nothing, None));
    Stage {
        name,
        wall,
        cpu,
        peak_bytes: peak.map(|p| p.0),
        grown_bytes: peak.map(|p| p.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn meter(effort: Effort, watch: &mut dyn FnMut(&str)) -> Meter<'_> {
        Meter {
            effort,
            watch,
            of: "test".into(),
        }
    }

    #[test]
    fn median_and_quartiles() {
        assert_eq!(Summary::of(&[]), None);
        let one = Summary::of(&[3.0]).unwrap();
        assert_eq!(
            (one.low, one.median, one.high, one.runs),
            (3.0, 3.0, 3.0, 1)
        );
        let odd = Summary::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(
            (odd.low, odd.median, odd.high, odd.runs),
            (2.0, 3.0, 4.0, 5)
        );
        let even = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((even.low, even.median, even.high), (1.75, 2.5, 3.25));
    }

    #[test]
    fn effort_is_kept_to() {
        let mut calls = 0;
        let mut told = Vec::new();
        let mut watch = |what: &str| told.push(what.to_owned());
        let (stage, last) = meter(Effort::Runs(3), &mut watch)
            .stage(StageName::Prove, || {
                calls += 1;
                std::thread::sleep(Duration::from_millis(2));
                Ok::<_, Infallible>(calls)
            })
            .unwrap();
        // One to warm up.
        assert_eq!((stage.wall.runs, calls, last), (3, 4, 4));
        assert!(stage.wall.low >= 2e-3);
        let runs = [
            "test: prove",
            "test: prove, run 1",
            "test: prove, run 2",
            "test: prove, run 3",
        ];
        assert_eq!(told, runs);

        let seconds = Effort::Seconds(1.0);
        assert!(!seconds.is_spent(4, 0.1, 5.0) && seconds.is_spent(5, 0.1, 1.0));
        assert!(!seconds.is_spent(2, 1.5, 5.0) && seconds.is_spent(3, 1.5, 5.0));
        assert!(seconds.is_spent(1, 10.5, 10.5));
        assert!(!seconds.is_spent(100, 0.001, 0.1) && seconds.is_spent(101, 0.001, 0.1));
    }

    #[test]
    fn short_work_is_repeated_and_divided() {
        let mut calls = 0u64;
        let mut watch = |_: &str| {};
        let (stage, _) = meter(Effort::Runs(2), &mut watch)
            .stage(StageName::Verify, || {
                calls += 1;
                Ok::<_, Infallible>(())
            })
            .unwrap();
        assert!(calls > 2 * 100, "{calls}");
        assert!(stage.wall.median < SHORT.as_secs_f64());
    }

    #[test]
    fn work_that_consumes() {
        let (mut made, mut used) = (0, 0);
        let mut watch = |_: &str| {};
        let (stage, last) = meter(Effort::Runs(4), &mut watch)
            .stage_from(
                StageName::Register,
                |before| {
                    made += 1;
                    assert_eq!(before.is_some(), made > 1);
                    Ok::<_, Infallible>(Box::new(before.unwrap_or(0) + 1))
                },
                |n| {
                    used += 1;
                    Ok(*n)
                },
            )
            .unwrap();
        assert_eq!((stage.wall.runs, made, used, last), (4, 4, 4, 4));
    }

    #[test]
    fn errors_end_the_work() {
        let mut watch = |_: &str| {};
        let mut meter = meter(Effort::Runs(4), &mut watch);
        let failed = meter.stage(StageName::Prove, || Err::<(), _>("no"));
        assert_eq!(failed.err(), Some("no"));
        let failed = meter.stage_from(StageName::Prove, |_| Ok(()), |()| Err::<(), _>("no"));
        assert_eq!(failed.err(), Some("no"));
    }

    #[test]
    fn busy_threads_show_as_cpu_time() {
        let clock = Clock::start();
        let spin = || {
            let mut x = 0u64;
            for i in 0..20_000_000u64 {
                x = std::hint::black_box(x ^ i);
            }
            x
        };
        std::thread::scope(|s| {
            s.spawn(spin);
            s.spawn(spin);
        });
        let one = Clock::start();
        std::hint::black_box(spin());
        let (one, both) = (one.lap(), clock.lap());
        // Three times the work is more CPU time than the last third of it.
        if let (Some(one), Some(both)) = (one.cpu, both.cpu) {
            assert!(one > 0.0 && both > 1.5 * one, "{one} of {both}");
        }
    }

    /// Other tests of this process may allocate at the same time: that only adds.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_shows() {
        const BYTES: u64 = 64 << 20;
        let mut watch = |_: &str| {};
        let (stage, kept) = meter(Effort::Runs(1), &mut watch)
            .stage_from(
                StageName::Prove,
                |_| Ok::<_, Infallible>(()),
                |()| Ok(std::hint::black_box(vec![1u8; BYTES as usize])),
            )
            .unwrap();
        // The kernel counts in batches of pages per processor.
        let grown = stage.grown_bytes.unwrap();
        assert!(grown >= BYTES - (4 << 20), "{grown}");
        assert!(stage.peak_bytes.unwrap() >= grown);
        assert_eq!(kept.len() as u64, BYTES);
    }
}
