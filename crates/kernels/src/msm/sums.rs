//! Sums over windows: all points of a bucket, then all buckets with their weights, by trees of batched additions.
//!
//! # Buckets
//!
//! The points of a bucket are added in pairs, the sums in pairs again, and so on; every round is one batch over all buckets
//! of a group of windows. A group has few enough points that its sums stay in a core's own cache.
//!
//! # Weights
//!
//! With bucket sums `B_j`, `Σ j·B_j = Σ B_{2i+1} + 2·Σ i·(B_{2i} + B_{2i+1})`: one level of pairs halves the number of
//! buckets, and what remains of it is the plain sum of the odd ones, which belongs to a bit of the scalars. So a window of
//! `c` bits gives `c` points, one for each bit, by additions only; all windows' rounds share their batches. The doublings
//! are left to the caller, who does one for each bit of the scalars.

use super::Bases;
use super::plan::Window;
use super::terms::{SIGN, Terms};
use crate::curve::{Adder, PointOf, copy_listed, identity, pad_pairs};
use crate::vector::{Backend, Vector};

/// Points per group of buckets.
const GROUP: usize = 8192;
/// Bucket sums per reduction.
const REDUCE: usize = 4096;
/// No point.
const NONE: u32 = u32::MAX;

/// Terms `from..to` of a job in one window.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The window.
    pub window: Window,
    /// First term.
    pub from: usize,
    /// Last term, exclusive.
    pub to: usize,
}

/// `2^bit · point` is a part of a job's sum.
#[derive(Clone, Copy, Debug)]
pub struct BitSum<B: Backend> {
    /// Number of the job.
    pub job: u32,
    /// Power of two.
    pub bit: u32,
    /// The point.
    pub point: PointOf<B>,
}

/// A bucket whose points are being added: `count` consecutive ones, and perhaps one elsewhere.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    start: u32,
    count: u32,
    extra: u32,
    /// Where its result goes in `Engine::table`.
    slot: u32,
}

/// Part of a list of indices, belonging to a job and a bit.
#[derive(Clone, Copy, Debug)]
struct Segment {
    job: u32,
    bit: u32,
    start: u32,
    len: u32,
}

/// The state of a thread that sums windows up.
pub struct Engine<B: Backend> {
    adder: Adder<B>,
    /// Pairs of the next batch.
    a: Vec<u32>,
    b: Vec<u32>,
    /// Digits of a window.
    digits: Vec<u16>,
    counts: Vec<u32>,
    /// Signed indices of bases, sorted by window and bucket.
    entries: Vec<u32>,
    buckets: Vec<Bucket>,
    /// Points of the group that is being added.
    group: Vec<PointOf<B>>,
    /// Bucket sums, and sums of those.
    sums: Vec<PointOf<B>>,
    used: usize,
    /// Indices of the sums: for each window its buckets from 0 on.
    table: Vec<u32>,
    trees: Vec<Segment>,
    /// The next level of `table`.
    next_table: Vec<u32>,
    /// Odd buckets, and the sums of those that have begun, by level and window.
    odd: Vec<u32>,
    next_odd: Vec<u32>,
    lists: Vec<Segment>,
    results: Vec<BitSum<B>>,
}

impl<B: Backend> Engine<B> {
    /// No sums yet.
    pub fn new() -> Self {
        Engine {
            adder: Adder::new(),
            a: Vec::new(),
            b: Vec::new(),
            digits: Vec::new(),
            counts: Vec::new(),
            entries: Vec::new(),
            buckets: Vec::new(),
            group: Vec::new(),
            sums: Vec::new(),
            used: 0,
            table: Vec::new(),
            trees: Vec::new(),
            next_table: Vec::new(),
            odd: Vec::new(),
            next_odd: Vec::new(),
            lists: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Adds terms of one window of a job.
    #[inline(always)]
    pub fn push(&mut self, bases: &Bases<B>, job: u32, terms: &Terms, piece: &Piece) {
        let buckets = piece.window.buckets();
        self.digits.clear();
        self.digits.resize(piece.to - piece.from, 0);
        terms.digits(&piece.window, piece.from, &mut self.digits);
        self.counts.clear();
        self.counts.resize(buckets + 1, 0);
        for &digit in &self.digits {
            self.counts[usize::from(digit & !SIGN)] += 1;
        }

        let first = self.table.len() as u32;
        self.table.resize(self.table.len() + buckets + 1, NONE);
        self.trees.push(Segment {
            job,
            bit: piece.window.at,
            start: first,
            len: buckets as u32 + 1,
        });
        let mut next = self.entries.len() as u32;
        for (bucket, count) in self.counts.iter_mut().enumerate().skip(1) {
            let start = next;
            if *count != 0 {
                self.buckets.push(Bucket {
                    start,
                    count: *count,
                    extra: NONE,
                    slot: first + bucket as u32,
                });
            }
            next += *count;
            *count = start;
        }
        self.entries.resize(next as usize, 0);
        let ids = &terms.ids()[piece.from..piece.to];
        for (&digit, &id) in self.digits.iter().zip(ids) {
            let bucket = usize::from(digit & !SIGN);
            if bucket != 0 {
                let next = &mut self.counts[bucket];
                self.entries[*next as usize] = id ^ (u32::from(digit & SIGN) << 16);
                *next += 1;
            }
        }

        if self.entries.len() >= GROUP {
            self.fill(bases);
            if self.used >= REDUCE {
                self.reduce();
            }
        }
    }

    /// What has been added since the last call.
    #[inline(always)]
    pub fn finish(&mut self, bases: &Bases<B>) -> Vec<BitSum<B>> {
        self.fill(bases);
        self.reduce();
        self.adder.set_dirty(false);
        std::mem::take(&mut self.results)
    }

    /// Adds the points of all buckets, group by group.
    #[inline(always)]
    fn fill(&mut self, bases: &Bases<B>) {
        let mut all = std::mem::take(&mut self.buckets);
        let parts = (self.entries.len() / GROUP).max(1);
        let target = self.entries.len().div_ceil(parts);
        let mut from = 0;
        while from < all.len() {
            let (mut to, mut points) = (from, 0);
            while to < all.len() && points < target {
                points += all[to].count as usize;
                to += 1;
            }
            self.fill_group(bases, &mut all[from..to], points);
            from = to;
        }
        all.clear();
        self.buckets = all;
        self.entries.clear();
    }

    #[inline(always)]
    fn fill_group(&mut self, bases: &Bases<B>, buckets: &mut [Bucket], points: usize) {
        let lanes = B::Base::LANES;
        let room = points + 2 * lanes;
        if self.group.len() < room {
            self.group.resize(room, identity::<B>());
        }
        // The first round reads the bases. Points without a partner are copied, the sums follow them.
        self.a.clear();
        for bucket in buckets.iter_mut() {
            if bucket.count % 2 == 1 {
                bucket.extra = self.a.len() as u32;
                self.a
                    .push(self.entries[(bucket.start + bucket.count - 1) as usize]);
            }
        }
        let mut used = self.a.len();
        copy_listed::<B>(bases.points(), &mut self.a, &mut self.group);
        self.a.clear();
        self.b.clear();
        for bucket in buckets.iter_mut() {
            let (from, pairs) = (bucket.start as usize, bucket.count / 2);
            bucket.start = (used + self.a.len()) as u32;
            bucket.count = pairs;
            for pair in self.entries[from..from + 2 * pairs as usize].chunks_exact(2) {
                self.a.push(pair[0]);
                self.b.push(pair[1]);
            }
        }
        let pairs = pad_pairs::<B>(&mut self.a, &mut self.b);
        self.adder
            .add_listed::<true>(bases.points(), &self.a, &self.b, &mut self.group[used..]);
        used += pairs;

        loop {
            self.a.clear();
            self.b.clear();
            for bucket in buckets.iter_mut() {
                let Bucket {
                    start,
                    count,
                    extra,
                    ..
                } = *bucket;
                if count < 2 && (count == 0 || extra == NONE) {
                    continue;
                }
                bucket.start = (used + self.a.len()) as u32;
                for pair in 0..count / 2 {
                    self.a.push(start + 2 * pair);
                    self.b.push(start + 2 * pair + 1);
                }
                bucket.count = count / 2;
                if count % 2 == 1 {
                    let last = start + count - 1;
                    if extra == NONE {
                        bucket.extra = last;
                    } else {
                        self.a.push(last);
                        self.b.push(extra);
                        bucket.count += 1;
                        bucket.extra = NONE;
                    }
                }
            }
            let pairs = pad_pairs::<B>(&mut self.a, &mut self.b);
            if pairs == 0 {
                break;
            }
            let (points, out) = self.group.split_at_mut(used);
            self.adder
                .add_listed::<false>(points, &self.a, &self.b, out);
            used += pairs;
        }

        if self.sums.len() < self.used + buckets.len() {
            self.sums.resize(self.used + buckets.len(), identity::<B>());
        }
        for bucket in buckets.iter() {
            let at = if bucket.count == 1 {
                bucket.start
            } else {
                bucket.extra
            };
            self.sums[self.used] = self.group[at as usize];
            self.table[bucket.slot as usize] = self.used as u32;
            self.used += 1;
        }
    }

    /// Reduces the buckets of all windows to one point for each bit.
    #[inline(always)]
    fn reduce(&mut self) {
        let lanes = B::Base::LANES;
        // Buckets 0 have the weight zero at every level, and stay empty.
        let mut table = std::mem::take(&mut self.table);
        let mut next_table = std::mem::take(&mut self.next_table);
        let mut trees = std::mem::take(&mut self.trees);
        let mut odd = std::mem::take(&mut self.odd);
        let mut next_odd = std::mem::take(&mut self.next_odd);
        let mut lists = std::mem::take(&mut self.lists);
        loop {
            self.a.clear();
            self.b.clear();
            next_table.clear();
            next_odd.clear();
            // The sums over odd buckets that earlier rounds began.
            for list in lists.iter_mut() {
                let items = &odd[list.start as usize..(list.start + list.len) as usize];
                list.start = next_odd.len() as u32;
                list.len = list.len.div_ceil(2);
                for pair in items.chunks(2) {
                    if let [x, y] = *pair {
                        next_odd.push((self.used + self.a.len()) as u32);
                        self.a.push(x);
                        self.b.push(y);
                    } else {
                        next_odd.push(pair[0]);
                    }
                }
            }
            // The next level of every window.
            for tree in trees.iter_mut() {
                let items = &table[tree.start as usize..(tree.start + tree.len) as usize];
                let (start, from) = (next_table.len(), next_odd.len());
                for (i, pair) in items.chunks(2).enumerate() {
                    let (even, uneven) = (pair[0], pair.get(1).copied().unwrap_or(NONE));
                    if uneven != NONE {
                        next_odd.push(uneven);
                    }
                    next_table.push(if i == 0 {
                        NONE
                    } else if even == NONE {
                        uneven
                    } else if uneven == NONE {
                        even
                    } else {
                        self.a.push(even);
                        self.b.push(uneven);
                        (self.used + self.a.len() - 1) as u32
                    });
                }
                if next_odd.len() > from {
                    lists.push(Segment {
                        job: tree.job,
                        bit: tree.bit,
                        start: from as u32,
                        len: (next_odd.len() - from) as u32,
                    });
                }
                tree.bit += 1;
                tree.start = start as u32;
                tree.len = tree.len.div_ceil(2);
            }
            trees.retain(|tree| tree.len > 1);
            std::mem::swap(&mut table, &mut next_table);
            std::mem::swap(&mut odd, &mut next_odd);

            let pairs = pad_pairs::<B>(&mut self.a, &mut self.b);
            if pairs > 0 {
                let room = self.used + pairs + lanes;
                if self.sums.len() < room {
                    self.sums.resize(room, identity::<B>());
                }
                let (points, out) = self.sums.split_at_mut(self.used);
                self.adder
                    .add_listed::<false>(points, &self.a, &self.b, out);
                self.used += pairs;
            } else if trees.is_empty() && lists.iter().all(|list| list.len == 1) {
                break;
            }
        }
        let sums = &self.sums;
        self.results.extend(lists.iter().map(|list| BitSum {
            job: list.job,
            bit: list.bit,
            point: sums[odd[list.start as usize] as usize],
        }));
        self.used = 0;
        table.clear();
        trees.clear();
        odd.clear();
        lists.clear();
        self.table = table;
        self.next_table = next_table;
        self.trees = trees;
        self.odd = odd;
        self.next_odd = next_odd;
        self.lists = lists;
    }
}
