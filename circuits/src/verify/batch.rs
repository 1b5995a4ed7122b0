//! Many proofs at once, of one model or of several.
//!
//! Everything but the group arithmetic is done for each proof by itself. The sums that remain are added up with weights
//! from a hash of all proofs of a *chunk*, and one multi-scalar multiplication for each set of generators checks them all.
//! Where the total is not zero, halves of the chunk are tried until the culprits are found: `1 + t·(2·log₂(m/t) + 2)`
//! multiplications at most for `t` of `m` proofs, and smaller and smaller ones, so that a chunk of forged proofs costs
//! about as much as two single verifications of each.
//!
//! Soundness: a proof that [`Verifier::verify`] would reject is accepted with probability at most `4·m/|F|` (`m` counts each
//! segment of a proof: two sums each, at most `2·m` evaluations), for every hash that an adversary computes. The weights depend on every byte of
//! every proof and statement of the chunk, so no proof can be made to cancel another one's error. A valid proof is
//! never rejected: its sums are zero whatever their weights, and a half of a chunk is only blamed if its sum is not zero.

use super::equations::{Equations, Sum, weight};
use super::{Expected, Verdict, Verifier};
use crate::card::Proof;
use crate::checks::{Check, drawn};
use crate::error::Rejection;
use crate::parallel;
use crate::transcript::Digest;
use std::sync::Arc;

/// A proof that is to be checked, with what its checker expects.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// One for each run.
    pub expected: Vec<Expected>,
    /// The proof.
    pub proof: Proof,
}

impl Candidate {
    /// A proof of one run.
    pub fn one(expected: Expected, proof: Proof) -> Candidate {
        Candidate {
            expected: vec![expected],
            proof,
        }
    }
}

/// How many proofs are looked at together.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Most proofs in a chunk.
    pub proofs: usize,
    /// Memory in bytes that a chunk may take, roughly; a single proof may need more.
    pub memory: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            proofs: 256,
            memory: 1 << 26,
        }
    }
}

impl BatchOptions {
    /// Sets [`BatchOptions::proofs`].
    pub fn with_proofs(mut self, proofs: usize) -> Self {
        self.proofs = proofs;
        self
    }

    /// Sets [`BatchOptions::memory`].
    pub fn with_memory(mut self, memory: usize) -> Self {
        self.memory = memory;
        self
    }
}

/// Checks proofs as [`Verifier::verify_runs`] does, in chunks of `options`. The results come in the
/// order of the proofs, one verdict for each run; items are taken from the iterator chunk by chunk.
pub fn verify_many<'v, I>(items: I, options: BatchOptions) -> Batch<'v, I::IntoIter>
where
    I: IntoIterator<Item = (&'v Verifier, Candidate)>,
{
    Batch {
        items: items.into_iter(),
        options,
        done: Vec::new().into_iter(),
    }
}

/// Results of [`verify_many`].
#[derive(Debug)]
pub struct Batch<'v, I: Iterator<Item = (&'v Verifier, Candidate)>> {
    items: I,
    options: BatchOptions,
    done: std::vec::IntoIter<Result<Vec<Verdict>, Rejection>>,
}

impl<'v, I: Iterator<Item = (&'v Verifier, Candidate)>> Iterator for Batch<'v, I> {
    type Item = Result<Vec<Verdict>, Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(result) = self.done.next() {
            return Some(result);
        }
        let mut chunk = Vec::new();
        let mut room = Room::default();
        while room.is_left(self.options, parallel::threads()) {
            let Some((verifier, candidate)) = self.items.next() else {
                break;
            };
            room.take(size(verifier, &candidate), verifier.reading_memory());
            chunk.push((verifier, candidate));
        }
        self.done = check(&chunk).into_iter();
        self.done.next()
    }
}

/// What a chunk takes in memory, in bytes.
#[derive(Default)]
struct Room {
    proofs: usize,
    /// Until the chunk is done.
    kept: usize,
    /// Most that one thread takes for as long as it reads a proof.
    reading: usize,
}

impl Room {
    fn take(&mut self, kept: usize, reading: usize) {
        self.proofs += 1;
        self.kept = self.kept.saturating_add(kept);
        self.reading = self.reading.max(reading);
    }

    /// Whether one more proof is looked at. One is, whatever it takes.
    fn is_left(&self, options: BatchOptions, threads: usize) -> bool {
        let reading = self.reading.saturating_mul(threads.min(self.proofs));
        let memory = self.kept.saturating_add(reading);
        self.proofs == 0 || (self.proofs < options.proofs && memory < options.memory)
    }
}

/// About what a proof takes until its chunk is done.
fn size(verifier: &Verifier, candidate: &Candidate) -> usize {
    let halo2 = candidate.proof.segments.iter().map(|s| s.halo2.len());
    // A coefficient for each generator, in each segment, and for each point of the card; points of the proof are decoded, and
    // then terms.
    let segments = verifier.card.segments.iter();
    let points = segments.map(|s| (1 << verifier.generators.k()) + s.points.len() + s.fixed.len());
    32 * points.sum::<usize>() + 10 * halo2.sum::<usize>()
}

fn check(chunk: &[(&Verifier, Candidate)]) -> Vec<Result<Vec<Verdict>, Rejection>> {
    let prepared = parallel::map(chunk, |(verifier, c)| {
        verifier.prepare(&c.expected, &c.proof)
    });
    let mut results = Vec::with_capacity(chunk.len());
    // With the number of the first sum.
    let mut open = Vec::new();
    let mut bytes = Vec::new();
    let mut sums = 0;
    for (index, prepared) in prepared.into_iter().enumerate() {
        results.push(prepared.map(|(verdicts, equations)| {
            bytes.extend_from_slice(&equations.digest.0);
            let first = sums;
            sums += equations.sums();
            open.push((index, first, equations));
            verdicts
        }));
    }
    let seed = Digest::of("zkinfer-batch", drawn(Check::BatchSeed, &bytes, &[]));
    let open = parallel::map_into(open, |(index, first, mut equations)| {
        // With the check switched off, a link has its circuit's weight.
        let of = |sum: usize| drawn(Check::BatchWeights, sum, sum & !1);
        equations.scale(|sum| weight(&seed, first + of(sum)));
        (index, equations)
    });
    let (whole, broken): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, e)| e.is_complete());
    for (index, equations) in &broken {
        results[*index] = Err(equations.reason());
    }
    let mut rest: Vec<&(usize, Equations<'_>)> = whole.iter().collect();
    while let Some((_, first)) = rest.first() {
        let same = |e: &&(usize, Equations<'_>)| Arc::ptr_eq(e.1.generators(), first.generators());
        let (group, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(same);
        blame(&group, false, &mut |index, reason| {
            results[index] = Err(reason)
        });
        rest = others;
    }
    results
}

/// Names the proofs of which not all sums are zero. `known`: there is one.
fn blame(
    group: &[&(usize, Equations<'_>)],
    known: bool,
    name: &mut impl FnMut(usize, Rejection),
) -> bool {
    let Some((_, first)) = group.first() else {
        return false;
    };
    if !known {
        let mut sum = Sum::new(first.verifier());
        group.iter().for_each(|(_, equations)| sum.add(equations));
        if sum.vanishes() {
            return false;
        }
    }
    if let [(index, equations)] = group {
        name(*index, equations.reason());
        return true;
    }
    let (left, right) = group.split_at(group.len() / 2);
    let left = blame(left, false, name);
    blame(right, !left, name);
    true
}

#[cfg(test)]
mod tests {
    use super::{BatchOptions, Room};

    #[test]
    fn chunks_count_what_threads_take() {
        let chunk = |kept, reading, threads| {
            let options = BatchOptions::default().with_memory(1000).with_proofs(50);
            let mut room = Room::default();
            while room.is_left(options, threads) {
                room.take(kept, reading);
            }
            room.proofs
        };
        assert_eq!(chunk(1, 0, 4), 50);
        assert_eq!(chunk(100, 0, 4), 10);
        assert_eq!(chunk(100, 200, 1), 8);
        assert_eq!(chunk(100, 200, 4), 4);
        assert_eq!(chunk(100, 500, 4), 2);
        assert_eq!(chunk(0, 500, 4), 2);
        // No more threads than proofs; and one proof, whatever it takes.
        assert_eq!(chunk(100, 600, 64), 2);
        assert_eq!(chunk(100, 2000, 4), 1);
        assert_eq!(chunk(usize::MAX, usize::MAX, usize::MAX), 1);
    }
}
