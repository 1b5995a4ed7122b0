//! Which windows a sum is cut into.

/// Longest scalar: magnitudes are below `2^127`, and signed digits need one bit more.
pub const MAX_BITS: usize = 128;
/// Widest window.
const MAX_WIDTH: usize = 14;
/// What a window costs besides its additions, in additions.
const WINDOW: u32 = 4;
/// Buckets whose tables take as long as one addition.
const TABLE: u32 = 24;

/// The bits `at..at + width` of the scalars, as signed digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lowest bit.
    pub at: u32,
    /// Number of bits; digits are from `1 − 2^(width − 1)` to `2^(width − 1)`.
    pub width: u32,
}

impl Window {
    /// What is added to a digit to make it non-negative, and the digit zero's code.
    pub fn offset(&self) -> u128 {
        (1 << (self.width - 1)) - 1
    }

    /// The largest digit.
    pub fn buckets(&self) -> usize {
        1 << (self.width - 1)
    }
}

/// The cheapest windows for `lengths[b]` scalars of `b` bits each (zeros do not count), lowest first.
///
/// A window over `n` scalars that are long enough to reach it takes about `n` additions to fill and merge its buckets, plus
/// the sums over odd buckets of every level of the reduction (see `sums`): half of the non-empty buckets of that level, of
/// which there are up to `n` and up to `2^(width − 1 − level)`. The widths that minimise the total follow by dynamic
/// programming from the top bit down. Where few scalars are long, their upper bits get other windows than the bulk's.
pub fn windows(lengths: &[u32; MAX_BITS]) -> Vec<Window> {
    // reach[p]: scalars with a digit at bit p or above. A scalar of b bits needs b + 1 bits of signed digits.
    let mut reach = [0u32; MAX_BITS + 1];
    let mut count = 0;
    for p in (1..MAX_BITS).rev() {
        count += lengths[p];
        reach[p] = count;
    }
    reach[0] = count;
    let top = (0..=MAX_BITS).find(|&p| reach[p] == 0).unwrap_or(MAX_BITS);
    let mut best = [(0u32, 0u32); MAX_BITS + 1];
    for p in (0..top).rev() {
        let n = reach[p];
        let mut odd = 0u32;
        let mut least = (u32::MAX, 0);
        for width in 1..=MAX_WIDTH.min(MAX_BITS - p) {
            odd = odd.saturating_add(occupied(n, 1 << (width - 1)));
            let cost = n
                .saturating_add(odd / 2)
                .saturating_add(WINDOW + (1 << (width - 1)) / TABLE)
                .saturating_add(best[p + width].0);
            if cost < least.0 {
                least = (cost, width as u32);
            }
        }
        best[p] = least;
    }
    let mut out = Vec::new();
    let mut p = 0;
    while p < top {
        let width = best[p].1;
        out.push(Window {
            at: p as u32,
            width,
        });
        p += width as usize;
    }
    out
}

/// About how many of `buckets` are not empty with `n` points at random: `buckets·(1 − exp(−n / buckets))` within 7 %.
fn occupied(n: u32, buckets: u32) -> u32 {
    let (n, buckets) = (u64::from(n), u64::from(buckets));
    let about = 5 * n * buckets / (4 * (n + buckets));
    about.min(n).min(buckets) as u32
}
