//! Boxes of elements: what an affine piece of the wiring is written in.

/// Digits of an element of a linear map's patches that a piece can run through.
pub(crate) const POSITION: usize = 0;
/// See [`POSITION`].
pub(crate) const INPUT: usize = 1;
/// See [`POSITION`].
pub(crate) const WINDOW: usize = 2;
/// See [`POSITION`].
pub(crate) const GROUP: usize = 3;

/// Position, input, candidate and group that an element belongs to.
pub(crate) type Digits = [i64; 4];

/// One counter of a [`Span`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loop {
    /// How often.
    pub count: i64,
    /// How far one step moves along the elements.
    pub stride: i64,
    /// How far one step moves along the digits of the reader.
    pub steps: Digits,
}

/// The elements `base + Σ stride·l` for all values of some counters `l`, and the digits that each is read for. An element
/// may occur several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The element where all counters are zero.
    pub base: i64,
    /// The digits there.
    pub at: Digits,
    /// The counters.
    pub loops: Vec<Loop>,
}

impl Span {
    /// Lets all counters run forward, and removes those that do not run.
    pub fn normalize(&mut self) {
        for l in &mut self.loops {
            if l.stride < 0 {
                self.base += l.stride * (l.count - 1);
                l.stride = -l.stride;
                for (at, step) in self.at.iter_mut().zip(&mut l.steps) {
                    *at += *step * (l.count - 1);
                    *step = -*step;
                }
            }
        }
        self.loops.retain(|l| l.count > 1);
    }

    /// How far the last element is from the first, with all counters running forward.
    pub fn reach(&self) -> i64 {
        self.loops.iter().map(|l| l.stride * (l.count - 1)).sum()
    }

    /// Only the values `from..to` of a counter.
    pub fn cut(&self, counter: usize, from: i64, to: i64) -> Span {
        let mut part = self.clone();
        let l = &mut part.loops[counter];
        l.count = to - from;
        part.base += l.stride * from;
        for (at, step) in part.at.iter_mut().zip(&l.steps) {
            *at += step * from;
        }
        part
    }

    /// A counter fixed at a value.
    pub fn fix(&self, counter: usize, value: i64) -> Span {
        let mut part = self.cut(counter, value, value + 1);
        part.loops.remove(counter);
        part
    }

    /// The values of a counter from `from` on, `chunks` times `size` of them, as two counters.
    pub fn chunk(&self, counter: usize, from: i64, chunks: i64, size: i64) -> Span {
        let mut part = self.cut(counter, from, from + size);
        let inner = &part.loops[counter];
        let outer = Loop {
            count: chunks,
            stride: inner.stride * size,
            steps: inner.steps.map(|s| s * size),
        };
        part.loops.insert(counter, outer);
        part.loops.retain(|l| l.count > 1);
        part
    }
}

/// The digits of a number, the last one first in weight.
pub(crate) fn digits(mut number: i64, radices: &[i64]) -> Vec<i64> {
    let mut out = vec![0; radices.len()];
    for (digit, &radix) in out.iter_mut().zip(radices).rev() {
        *digit = number % radix;
        number /= radix;
    }
    out
}

/// What to do with a span whose counters may carry from one digit to the next.
pub(crate) enum Aligned {
    /// No counter carries: digits of the base, and of the stride of every counter.
    Whole(Span, Vec<i64>, Vec<Vec<i64>>),
    /// Parts that have to be looked at again.
    Parts(Vec<Span>),
}

/// Whether the counters of a span (all of them run forward) move within the digits of `radices` without carrying. If not,
/// it is split: where a counter crosses a digit at regular places it becomes two, elsewhere its values are taken apart.
pub(crate) fn align(span: Span, radices: &[i64]) -> Aligned {
    let base = digits(span.base, radices);
    let strides: Vec<Vec<i64>> = span
        .loops
        .iter()
        .map(|l| digits(l.stride, radices))
        .collect();
    for at in (0..radices.len()).rev() {
        let moves = |j: usize| strides[j][at] * (span.loops[j].count - 1);
        let total: i64 = (0..strides.len()).map(moves).sum();
        let radix = radices[at];
        if base[at] + total < radix {
            continue;
        }
        // The counter that moves this digit most, and what the others add to the digit.
        let Some(most) = (0..strides.len()).max_by_key(|&j| (strides[j][at], span.loops[j].count))
        else {
            continue;
        };
        let (step, count) = (strides[most][at], span.loops[most].count);
        let others = total - moves(most);
        let mut parts = Vec::new();
        if radix % step == 0 && base[at] % step + others < step {
            // It crosses the digit after every `radix / step` values, whatever the others are.
            let size = radix / step;
            let before = base[at] / step;
            let head = if before == 0 { 0 } else { size - before }.min(count);
            let chunks = (count - head) / size;
            let tail = head + chunks * size;
            if head > 0 {
                parts.push(span.cut(most, 0, head));
            }
            if chunks > 0 {
                parts.push(span.chunk(most, head, chunks, size));
            }
            if tail < count {
                parts.push(span.cut(most, tail, count));
            }
        } else {
            // Values up to the crossing, the one that is crossed by the others, and the rest.
            let inside = radix - 1 - base[at] - others;
            let head = if inside < 0 { 0 } else { inside / step + 1 }.min(count);
            if head > 0 {
                parts.push(span.cut(most, 0, head));
            }
            if head < count {
                let crossing = base[at] + step * head < radix;
                if crossing {
                    parts.push(span.fix(most, head));
                }
                let rest = head + i64::from(crossing);
                if rest < count {
                    parts.push(span.cut(most, rest, count));
                }
            }
        }
        for part in &mut parts {
            part.normalize();
        }
        return Aligned::Parts(parts);
    }
    Aligned::Whole(span, base, strides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(span: &Span) -> Vec<(i64, Digits)> {
        let mut all = vec![(span.base, span.at)];
        for l in &span.loops {
            all = all
                .into_iter()
                .flat_map(|(base, at)| {
                    (0..l.count).map(move |i| {
                        let mut at = at;
                        at.iter_mut().zip(l.steps).for_each(|(a, s)| *a += s * i);
                        (base + l.stride * i, at)
                    })
                })
                .collect();
        }
        all.sort_unstable();
        all
    }

    proptest! {
        /// Splitting ends, loses nothing, adds nothing, and no counter of what is left carries.
        #[test]
        fn aligned_parts_are_the_whole(
            radices in prop::collection::vec(1i64..7, 1..5),
            base in 0i64..40,
            loops in prop::collection::vec((1i64..6, -9i64..10), 0..4),
        ) {
            let len: i64 = radices.iter().product();
            let loops = loops.iter().enumerate().map(|(j, &(count, stride))| {
                let mut steps = [0; 4];
                steps[j] = 1;
                Loop { count, stride, steps }
            });
            let mut span = Span { base, at: [0; 4], loops: loops.collect() };
            span.normalize();
            span.base = span.base.rem_euclid(len);
            prop_assume!(span.base + span.reach() < len);
            let expected = elements(&span);
            let mut open = vec![span];
            let mut found = Vec::new();
            let mut visited = 0;
            while let Some(span) = open.pop() {
                visited += 1;
                prop_assert!(visited < 10_000);
                match align(span, &radices) {
                    Aligned::Parts(parts) => open.extend(parts),
                    Aligned::Whole(span, base, strides) => {
                        for at in 0..radices.len() {
                            let moves = strides.iter().zip(&span.loops);
                            let moves: i64 = moves.map(|(s, l)| s[at] * (l.count - 1)).sum();
                            prop_assert!(base[at] + moves < radices[at]);
                        }
                        found.extend(elements(&span));
                    }
                }
            }
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
