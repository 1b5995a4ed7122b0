//! Runs executions on all processors and counts how they end.

use crate::bytes::{Random, random};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What ends a run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// How an execution ends.
pub type Outcome = Cow<'static, str>;

/// Executions that a thread takes at once.
const CHUNK: u64 = 4096;

thread_local! {
    /// Which execution this thread is at, for panics.
    static AT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// What is fuzzed.
pub trait Target: Sync {
    /// What a thread carries from one execution to the next.
    type State: Default;

    /// One execution; it follows from `rng` alone. An error is a finding.
    fn execute(&self, rng: &mut Random, state: &mut Self::State) -> Result<Outcome, String>;

    /// Looks at what was carried: between executions, and at the end of all (`last`). An error is a finding.
    fn settle(&self, state: &mut Self::State, last: bool) -> Result<(), String>;
}

/// What the command line asks for: `executions` or `seed:number`, then `[seed] [folder]`; `load` takes the folder of seeds.
pub fn main<T: Target>(load: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = arguments.first().map_or("100000", String::as_str);
    let seed = arguments.get(1).and_then(|a| a.parse().ok()).unwrap_or(1);
    let folder = arguments.iter().skip(1).find(|a| a.parse::<u64>().is_err());
    let folder = folder.map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures"),
        PathBuf::from,
    );
    run(&load(&folder)?, command, seed)
}

/// `command`: how many executions, or `seed:number`, one of them again.
fn run(target: &impl Target, command: &str, seed: u64) -> Result<(), Failure> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let (seed, number) = AT.get();
        eprintln!("panic in execution {seed}:{number}");
        hook(info);
    }));
    if let Some((seed, number)) = command.split_once(':') {
        let mut state = Default::default();
        let outcome = execute(target, seed.parse()?, number.parse()?, &mut state)?;
        println!("{command}: {outcome}");
        return Ok(target.settle(&mut state, true)?);
    }
    let executions: u64 = command.parse()?;
    let clock = Instant::now();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let counts = std::thread::scope(|scope| {
        let work = || work(target, seed, executions, &next);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all: BTreeMap<Outcome, u64> = BTreeMap::new();
        for thread in threads {
            let counts = thread.join().map_err(|_| "a panic, see above")??;
            for (outcome, count) in counts {
                *all.entry(outcome).or_default() += count;
            }
        }
        Ok::<_, Failure>(all)
    })?;
    let seconds = clock.elapsed().as_secs_f64();
    let rate = executions as f64 / seconds;
    println!(
        "{executions} executions on {threads} threads in {seconds:.0} s, {rate:.0} a second, seed {seed}"
    );
    for (outcome, count) in counts {
        println!("{count:>10}  {outcome}");
    }
    Ok(())
}

/// Takes executions until there are no more.
fn work<T: Target>(
    target: &T,
    seed: u64,
    executions: u64,
    next: &AtomicU64,
) -> Result<BTreeMap<Outcome, u64>, Failure> {
    let mut counts: BTreeMap<Outcome, u64> = BTreeMap::new();
    let mut state = Default::default();
    loop {
        let from = next.fetch_add(CHUNK, Ordering::Relaxed);
        if from >= executions {
            target
                .settle(&mut state, true)
                .map_err(|e| format!("seed {seed}, at the end: {e}"))?;
            return Ok(counts);
        }
        for number in from..(from + CHUNK).min(executions) {
            let outcome = execute(target, seed, number, &mut state)
                .map_err(|e| format!("execution {seed}:{number}: {e}"))?;
            match counts.get_mut(&outcome) {
                Some(count) => *count += 1,
                None => drop(counts.insert(outcome, 1)),
            }
            target
                .settle(&mut state, false)
                .map_err(|e| format!("after execution {seed}:{number}: {e}"))?;
        }
    }
}

fn execute<T: Target>(
    target: &T,
    seed: u64,
    number: u64,
    state: &mut T::State,
) -> Result<Outcome, String> {
    AT.set((seed, number));
    target.execute(&mut random(seed, number), state)
}
