//! The terms of one sum: short signed scalars and the points that they multiply.

use super::plan::{MAX_BITS, Window, windows};
use super::scalar::{Short, shorten};
use super::{At, Bases, Job, Scalars};
use crate::curve::NEGATIVE;
use crate::vector::Backend;

/// Non-zero terms, longest scalars first, and the windows for their digits.
#[derive(Debug, Default)]
pub struct Terms {
    /// Low and high halves of the magnitudes plus the offsets of all windows.
    low: Vec<u64>,
    high: Vec<u64>,
    /// Indices of points, with the scalars' signs.
    ids: Vec<u32>,
    /// How many terms have scalars of at least `b` bits.
    reach: Vec<u32>,
    windows: Vec<Window>,
    /// Magnitudes and indices in the order of the job.
    unsorted: Vec<(u128, u32)>,
}

impl Terms {
    /// The terms of a job, in place of those that were here.
    #[inline(always)]
    pub fn collect<B: Backend>(&mut self, bases: &Bases<B>, job: &Job<'_>) {
        self.unsorted.clear();
        for part in &job.parts {
            match part.scalars {
                Scalars::Small(values) => {
                    check(bases, &part.at, values.len());
                    for (i, &v) in values.iter().enumerate() {
                        let at = base(&part.at, i);
                        self.push(bases, at, at, v < 0, u128::from(v.unsigned_abs()));
                    }
                }
                Scalars::Field(values) => {
                    check(bases, &part.at, values.len());
                    for (i, v) in values.iter().enumerate() {
                        let at = base(&part.at, i);
                        match shorten(v) {
                            Short::Whole(s, m) => self.push(bases, at, at, s, m),
                            Short::Halves([(s1, m1), (s2, m2)]) => {
                                self.push(bases, at, at, s1, m1);
                                self.push(bases, at, at + bases.len() as u32, s2, m2);
                            }
                        }
                    }
                }
            }
        }
        self.sort();
    }

    #[inline(always)]
    fn push<B: Backend>(
        &mut self,
        bases: &Bases<B>,
        at: u32,
        id: u32,
        negative: bool,
        magnitude: u128,
    ) {
        if magnitude != 0 && !bases.skips(at) {
            let sign = if negative { NEGATIVE } else { 0 };
            self.unsorted.push((magnitude, id | sign));
        }
    }

    /// Plans the windows and orders the terms by length.
    #[inline(always)]
    fn sort(&mut self) {
        let mut lengths = [0u32; MAX_BITS];
        for &(m, _) in &self.unsorted {
            lengths[bits(m)] += 1;
        }
        self.windows = windows(&lengths);
        let offset: u128 = self.windows.iter().map(|w| w.offset() << w.at).sum();

        // Counting sort, descending.
        self.reach.clear();
        self.reach.resize(MAX_BITS + 1, 0);
        let mut next = [0u32; MAX_BITS];
        let mut count = 0;
        for b in (0..MAX_BITS).rev() {
            next[b] = count;
            count += lengths[b];
            self.reach[b] = count;
        }
        let n = self.unsorted.len();
        for list in [&mut self.low, &mut self.high] {
            list.clear();
            list.resize(n, 0);
        }
        self.ids.clear();
        self.ids.resize(n, 0);
        for &(m, id) in &self.unsorted {
            let slot = &mut next[bits(m)];
            let k = *slot as usize;
            *slot += 1;
            let v = m + offset;
            self.low[k] = v as u64;
            self.high[k] = (v >> 64) as u64;
            self.ids[k] = id;
        }
    }

    /// The windows, lowest first.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// How many terms have digits in a window: the first ones.
    pub fn reaching(&self, window: &Window) -> usize {
        self.reach[window.at as usize] as usize
    }

    /// Indices of the points, with the scalars' signs.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The digits of terms `from..from + out.len()`: the magnitude, and the sign in the top bit.
    #[inline(always)]
    pub fn digits(&self, window: &Window, from: usize, out: &mut [u16]) {
        let low = &self.low[from..from + out.len()];
        let high = &self.high[from..from + out.len()];
        let mask = (1u64 << window.width) - 1;
        let offset = window.offset() as i32;
        let code = |v: u64| {
            let digit = (v & mask) as i32 - offset;
            digit.unsigned_abs() as u16 | (((digit >> 31) as u16) & SIGN)
        };
        let (at, end) = (window.at, window.at + window.width);
        if end <= 64 {
            for (out, &v) in out.iter_mut().zip(low) {
                *out = code(v >> at);
            }
        } else if at >= 64 {
            for (out, &v) in out.iter_mut().zip(high) {
                *out = code(v >> (at - 64));
            }
        } else {
            for ((out, &l), &h) in out.iter_mut().zip(low).zip(high) {
                *out = code(l >> at | h << (64 - at));
            }
        }
    }
}

/// The sign of a digit.
pub const SIGN: u16 = 1 << 15;

#[inline(always)]
fn bits(m: u128) -> usize {
    (128 - m.leading_zeros()) as usize
}

#[inline(always)]
fn base(at: &At<'_>, i: usize) -> u32 {
    match at {
        At::From(first) => (first + i) as u32,
        At::List(list) => list[i],
    }
}

/// Panics where a part names bases that do not exist.
fn check<B: Backend>(bases: &Bases<B>, at: &At<'_>, len: usize) {
    match at {
        At::From(first) => assert!(
            first.checked_add(len).is_some_and(|end| end <= bases.len()),
            "a part ends beyond the bases"
        ),
        At::List(list) => {
            assert_eq!(list.len(), len, "as many bases as scalars");
            assert!(
                list.iter().all(|&at| (at as usize) < bases.len()),
                "a part names a base that does not exist"
            );
        }
    }
}
