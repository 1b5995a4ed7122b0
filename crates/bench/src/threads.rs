//! Proving and verifying with a number of threads.

use crate::error::BenchError;
use crate::measure::Meter;
use crate::report::{StageName, ThreadPoint};
use crate::stages::Bench;

/// `1, 2, 4, …` and how many this machine has.
pub fn counts() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts: Vec<usize> = std::iter::successors(Some(1), |n| Some(2 * n))
        .take_while(|&n| n < all)
        .collect();
    counts.push(all);
    counts
}

pub(crate) fn measure(
    bench: &Bench,
    threads: &[usize],
    meter: &mut Meter<'_>,
) -> Result<Vec<ThreadPoint>, BenchError> {
    let expected = bench.expected();
    let of = meter.of.clone();
    let mut points = Vec::new();
    for &threads in threads {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        meter.of = format!("{of}, threads: {threads}");
        let (prove, _) = meter.stage(StageName::Prove, || pool.install(|| bench.prove()))?;
        let verify = || pool.install(|| bench.verify(&expected, &bench.proofs[0]));
        let (verify, ()) = meter.stage(StageName::Verify, verify)?;
        points.push(ThreadPoint {
            threads,
            prove,
            verify,
        });
    }
    meter.of = of;
    Ok(points)
}
