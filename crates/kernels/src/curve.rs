//! Affine points of Vesta, many at a time: one inversion for a whole batch of additions or doublings.
//!
//! # The batch
//!
//! An affine addition needs `1 / (x2 − x1)`. Montgomery's trick turns the inversions of a batch into one: a first pass
//! multiplies the denominators up and keeps the running products, one field element is inverted, and a second pass walks
//! back and peels off one inverse at a time. Every lane of every chain has its own running product, so that the passes are
//! vector code; the lanes meet only at the one inversion. An addition costs 6 multiplications.
//!
//! # Exceptions
//!
//! A zero denominator (equal or opposite points) would make the inverses of a whole batch zero. Such lanes are recognised
//! by their abscissas. Equal points are doubled in the same batch, with twice the ordinate for a denominator; opposite points
//! and identities get the denominator one, and their sums, which take no arithmetic, are put in the place of the chord's.
//! A card's or proof's points are whatever their maker likes, and all of them equal must not take longer than others. The identity is
//! stored as `(0, 0)`: no point of Vesta has the abscissa 0 (5 is no square), so it never makes a denominator zero by
//! itself, but its sums would be wrong. It is looked for only after one has appeared, see [`Adder::add_listed`].

use crate::vector::{Backend, Point, Vector};
use ff::{Field, WithSmallOrderMulGroup};
use group::Group;
use pasta_curves::arithmetic::{CurveAffine, VartimeField};
use pasta_curves::{Eq, EqAffine, Fq};

/// Packed elements of the base field.
pub type PackedOf<B> = <<B as Backend>::Base as Vector<Fq>>::Packed;
/// Points at rest in a backend's representation.
pub type PointOf<B> = Point<PackedOf<B>>;

/// The bit of an index that asks for the opposite of the point.
pub const NEGATIVE: u32 = 1 << 31;

/// Pairs per inversion: the scratch of a batch stays in a core's own cache.
const BATCH: usize = 4096;
/// Independent running products per lane, so that multiplications overlap.
const CHAINS: usize = 2;
/// Upper bound of `LANES`.
const MAX_LANES: usize = 8;

/// The identity at rest.
#[inline(always)]
pub fn identity<B: Backend>() -> PointOf<B> {
    pack_one::<B>(Fq::ZERO, Fq::ZERO)
}

#[inline(always)]
fn pack_one<B: Backend>(x: Fq, y: Fq) -> PointOf<B> {
    let mut out = [PointOf::<B>::default(); MAX_LANES];
    B::Base::scatter(
        B::Base::splat(x),
        B::Base::splat(y),
        &mut out[..B::Base::LANES],
    );
    out[0]
}

/// One point from rest.
#[inline(always)]
pub fn unpack_point<B: Backend>(point: &PointOf<B>) -> Eq {
    let all = [*point; MAX_LANES];
    let at: [u32; MAX_LANES] = std::array::from_fn(|i| i as u32);
    let (x, y) = B::Base::gather(&all[..B::Base::LANES], &at[..B::Base::LANES]);
    let (mut xs, mut ys) = ([Fq::ZERO; MAX_LANES], [Fq::ZERO; MAX_LANES]);
    x.store(&mut xs[..B::Base::LANES]);
    y.store(&mut ys[..B::Base::LANES]);
    if bool::from(ys[0].is_zero()) {
        Eq::identity()
    } else {
        EqAffine::from_xy_unchecked(xs[0], ys[0]).into()
    }
}

/// Points from rest, `points[at[i]]`.
#[inline(always)]
pub fn unpack_points<B: Backend>(points: &[PointOf<B>], at: &[u32]) -> Vec<EqAffine> {
    let lanes = B::Base::LANES;
    let mut out = Vec::with_capacity(at.len());
    for some in at.chunks(lanes) {
        let list: [u32; MAX_LANES] = std::array::from_fn(|i| some[i.min(some.len() - 1)]);
        let (x, y) = B::Base::gather(points, &list[..lanes]);
        let (mut xs, mut ys) = ([Fq::ZERO; MAX_LANES], [Fq::ZERO; MAX_LANES]);
        x.store(&mut xs[..lanes]);
        y.store(&mut ys[..lanes]);
        for (x, y) in xs.into_iter().zip(ys).take(some.len()) {
            out.push(if bool::from(y.is_zero()) {
                EqAffine::from_xy_unchecked(Fq::ZERO, Fq::ZERO)
            } else {
                EqAffine::from_xy_unchecked(x, y)
            });
        }
    }
    out
}

/// The coordinates, `(0, 0)` for the identity.
fn affine(point: &EqAffine) -> (Fq, Fq) {
    Option::from(point.coordinates()).map_or(
        (Fq::ZERO, Fq::ZERO),
        |c: pasta_curves::arithmetic::Coordinates<_>| (*c.x(), *c.y()),
    )
}

/// Points to rest, in order.
#[inline(always)]
pub fn pack_points<B: Backend>(points: &[EqAffine]) -> Vec<PointOf<B>> {
    let lanes = B::Base::LANES;
    let mut out = vec![PointOf::<B>::default(); points.len().next_multiple_of(lanes)];
    for (from, to) in points.chunks(lanes).zip(out.chunks_exact_mut(lanes)) {
        let (mut xs, mut ys) = ([Fq::ZERO; MAX_LANES], [Fq::ZERO; MAX_LANES]);
        for (lane, point) in from.iter().enumerate() {
            (xs[lane], ys[lane]) = affine(point);
        }
        B::Base::scatter(B::Base::from_fn(|i| xs[i]), B::Base::from_fn(|i| ys[i]), to);
    }
    out.truncate(points.len());
    out
}

/// The images `(ζ·x, y)` under the endomorphism, `λ` times the points (the identity stays the identity). Both slices have
/// the same length.
#[inline(always)]
pub fn endomorphism_into<B: Backend>(points: &[PointOf<B>], out: &mut [PointOf<B>]) {
    let lanes = B::Base::LANES;
    let zeta = B::Base::splat(Fq::ZETA);
    for i in 0..points.len().div_ceil(lanes) {
        let at = consecutive::<B>(i, points.len());
        let (x, y) = B::Base::gather(points, &at[..lanes]);
        write::<B>(out, i, x.mul(zeta), y);
    }
}

/// One kind of batched operation: vector `i` of the batch.
trait Operation<B: Backend> {
    /// The denominators (bound 2), none of which is zero.
    fn denominator(&mut self, i: usize) -> B::Base;
    /// Given the denominators' inverses (bound 2), computes and writes the results.
    fn finish(&mut self, i: usize, inverse: B::Base);
    /// Whether a result is the identity.
    fn makes_identity(&self) -> bool;
}

/// Lanes of a vector whose sums are no chords.
#[derive(Clone, Copy)]
struct Exception {
    vector: usize,
    /// A point is added to itself.
    equal: u32,
    /// A point is added to its opposite, or the identity to itself.
    none: u32,
    /// The first operand is the identity, the second is not.
    second: u32,
    /// The second operand is the identity, the first is not.
    first: u32,
}

/// The exceptions of a batch, by vector.
#[derive(Default)]
struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// The denominators of vector `i`, where some abscissas are the same or an operand may be the identity. All operands
    /// have bound 1.
    #[inline(always)]
    fn denominator<B: Backend>(
        &mut self,
        vector: usize,
        (x1, y1): (B::Base, B::Base),
        (x2, y2): (B::Base, B::Base),
        zero: B::Base,
    ) -> B::Base {
        let (none_1, none_2, same) = (x1.same(zero), x2.same(zero), x1.same(x2));
        let exception = Exception {
            vector,
            equal: same & y1.same(y2) & !none_1,
            none: same & (!y1.same(y2) | none_1),
            second: none_1 & !none_2,
            first: none_2 & !none_1,
        };
        self.0.push(exception);
        let one = B::Base::splat(Fq::ONE);
        let free = exception.none | exception.first | exception.second;
        let chord = x2.sub::<1>(x1);
        chord.select(y1.add(y1), exception.equal).select(one, free)
    }

    /// Those of vector `i`. Vectors come in ascending order.
    #[inline(always)]
    fn of(&self, vector: usize) -> Option<&Exception> {
        if self.0.is_empty() {
            return None;
        }
        let at = self.0.binary_search_by_key(&vector, |e| e.vector);
        at.ok().map(|at| &self.0[at])
    }

    fn make_identity(&self) -> bool {
        self.0.iter().any(|e| e.none != 0)
    }
}

/// Scratch for batches of additions and doublings.
pub struct Adder<B: Backend> {
    /// Denominators of the batch.
    denominators: Vec<B::Base>,
    /// Running products before each denominator.
    products: Vec<B::Base>,
    /// Whether an identity may be among the operands.
    dirty: bool,
}

impl<B: Backend> Default for Adder<B> {
    fn default() -> Self {
        Adder::new()
    }
}

impl<B: Backend> Adder<B> {
    /// Empty scratch; operands are taken to be no identities until [`Adder::set_dirty`].
    pub fn new() -> Self {
        Adder {
            denominators: Vec::new(),
            products: Vec::new(),
            dirty: false,
        }
    }

    /// From now on operands may be the identity (slower). The adder sets this itself when a result is the identity.
    pub fn set_dirty(&mut self, dirty: bool) {
        self.dirty = dirty;
    }

    /// One batch of `vectors` vectors.
    #[inline(always)]
    fn batch<O: Operation<B>>(&mut self, vectors: usize, operation: &mut O) {
        let one = B::Base::splat(Fq::ONE);
        if self.products.len() < vectors {
            self.products.resize(vectors, B::Base::zero());
            self.denominators.resize(vectors, B::Base::zero());
        }
        let products = &mut self.products[..vectors];
        let denominators = &mut self.denominators[..vectors];
        let whole = vectors - vectors % CHAINS;

        let mut running = [one; CHAINS];
        macro_rules! forward {
            ($i:expr, $c:expr) => {{
                let d = operation.denominator($i);
                denominators[$i] = d;
                products[$i] = running[$c];
                running[$c] = running[$c].mul(d);
            }};
        }
        let mut i = 0;
        while i < whole {
            for c in 0..CHAINS {
                forward!(i + c, c);
            }
            i += CHAINS;
        }
        for i in whole..vectors {
            forward!(i, i - whole);
        }

        let mut inverse = invert_chains::<B>(&running);
        macro_rules! backward {
            ($i:expr, $c:expr) => {{
                let one_over = inverse[$c].mul(products[$i]);
                inverse[$c] = inverse[$c].mul(denominators[$i]);
                operation.finish($i, one_over);
            }};
        }
        for i in (whole..vectors).rev() {
            backward!(i, i - whole);
        }
        let mut i = whole;
        while i > 0 {
            i -= CHAINS;
            for c in 0..CHAINS {
                backward!(i + c, c);
            }
        }
        self.dirty |= operation.makes_identity();
    }

    /// `out[k] = points[a[k]] + points[b[k]]`. With `SIGNED`, indices with the bit [`NEGATIVE`] mean opposite points.
    ///
    /// The lists have the same length, a multiple of `LANES` ([`pad_pairs`]); `out` is at least as long. Operands may be
    /// the identity only after [`Adder::set_dirty`] or where an earlier result of this adder was the identity. Panics where
    /// an index is outside of `points`.
    #[inline(always)]
    pub fn add_listed<const SIGNED: bool>(
        &mut self,
        points: &[PointOf<B>],
        a: &[u32],
        b: &[u32],
        out: &mut [PointOf<B>],
    ) {
        let lanes = B::Base::LANES;
        for ((a, b), out) in a
            .chunks(BATCH)
            .zip(b.chunks(BATCH))
            .zip(out.chunks_mut(BATCH))
        {
            let vectors = a.len() / lanes;
            let mut operation = Listed::<B, SIGNED> {
                points,
                a,
                b,
                out,
                exceptions: Exceptions::default(),
                dirty: self.dirty,
                zero: B::Base::unpack(&[identity::<B>().x; MAX_LANES][..lanes]),
            };
            self.batch(vectors, &mut operation);
        }
    }

    /// `sums[i] ± row[i]` into `sums[i]`; both have the same length, at least 1.
    #[inline(always)]
    pub fn add_rows(&mut self, sums: &mut [PointOf<B>], row: &[PointOf<B>], negative: bool) {
        for (sums, row) in sums.chunks_mut(BATCH).zip(row.chunks(BATCH)) {
            let mut operation = Rows::<B> {
                sums,
                row,
                exceptions: Exceptions::default(),
                negative: if negative { u32::MAX } else { 0 },
                dirty: self.dirty,
                zero: B::Base::unpack(&[identity::<B>().x; MAX_LANES][..B::Base::LANES]),
            };
            self.batch(row.len().div_ceil(B::Base::LANES), &mut operation);
        }
    }

    /// Doubles all points in place.
    #[inline(always)]
    pub fn double_rows(&mut self, points: &mut [PointOf<B>]) {
        for points in points.chunks_mut(BATCH) {
            let vectors = points.len().div_ceil(B::Base::LANES);
            let mut operation = Doubles::<B> {
                points,
                makes_identity: false,
                zero: B::Base::unpack(&[identity::<B>().x; MAX_LANES][..B::Base::LANES]),
            };
            self.batch(vectors, &mut operation);
        }
    }
}

/// Repeats the last pair until the length is a multiple of `LANES`, and returns the length before.
#[inline(always)]
pub fn pad_pairs<B: Backend>(a: &mut Vec<u32>, b: &mut Vec<u32>) -> usize {
    let pairs = a.len();
    if let (Some(&x), Some(&y)) = (a.last(), b.last()) {
        let padded = pairs.next_multiple_of(B::Base::LANES);
        a.resize(padded, x);
        b.resize(padded, y);
    }
    pairs
}

/// `out[k] = points[at[k]]`, or the opposite where the index has the bit [`NEGATIVE`]. The list is padded to a multiple of
/// `LANES`; `out` has room for that.
#[inline(always)]
pub fn copy_listed<B: Backend>(points: &[PointOf<B>], at: &mut Vec<u32>, out: &mut [PointOf<B>]) {
    let lanes = B::Base::LANES;
    let Some(&last) = at.last() else { return };
    at.resize(at.len().next_multiple_of(lanes), last);
    for i in 0..at.len() / lanes {
        let (list, negative) = indices::<B, true>(at, i);
        let (x, y) = B::Base::gather(points, &list[..lanes]);
        B::Base::scatter(
            x,
            y.negate_where(negative),
            &mut out[i * lanes..(i + 1) * lanes],
        );
    }
}

/// Inverts every lane of every chain with one inversion. Bounds: 2 in, 2 out.
#[inline(always)]
fn invert_chains<B: Backend>(running: &[B::Base; CHAINS]) -> [B::Base; CHAINS] {
    let lanes = B::Base::LANES;
    let mut before = *running;
    let mut total = running[0];
    for c in 1..CHAINS {
        before[c] = total;
        total = total.mul(running[c]);
    }
    let mut values = [Fq::ONE; MAX_LANES];
    total.store(&mut values[..lanes]);
    let mut left = [Fq::ONE; MAX_LANES];
    let mut product = values[0];
    for i in 1..lanes {
        left[i] = product;
        product *= values[i];
    }
    // Denominators are differences of different canonical values, never zero.
    let mut inverse = product.invert_vartime().unwrap_or(Fq::ZERO);
    let mut inverses = [Fq::ONE; MAX_LANES];
    for i in (1..lanes).rev() {
        inverses[i] = inverse * left[i];
        inverse *= values[i];
    }
    inverses[0] = inverse;
    let mut inverse = B::Base::from_fn(|i| inverses[i]);
    let mut out = *running;
    for c in (1..CHAINS).rev() {
        out[c] = inverse.mul(before[c]);
        inverse = inverse.mul(running[c]);
    }
    out[0] = inverse;
    out
}

/// The sum of two points, from operands with bound 1 and the inverses of their denominators with bound 2; bounds 4 and 3.
#[inline(always)]
fn sum<B: Backend>(
    (x1, y1): (B::Base, B::Base),
    (x2, y2): (B::Base, B::Base),
    inverse: B::Base,
    exception: Option<&Exception>,
    zero: B::Base,
) -> (B::Base, B::Base) {
    let mut rise = y2.sub::<1>(y1);
    if let Some(e) = exception {
        let square = x1.square();
        rise = rise.select(square.add(square).add(square), e.equal);
    }
    let slope = rise.mul(inverse);
    let x3 = slope.square().sub::<1>(x1).sub::<1>(x2);
    let y3 = slope.mul(x1.sub::<4>(x3)).sub::<1>(y1);
    let Some(e) = exception else {
        return (x3, y3);
    };
    let x3 = x3.select(x1, e.first).select(x2, e.second);
    let y3 = y3.select(y1, e.first).select(y2, e.second);
    (x3.select(zero, e.none), y3.select(zero, e.none))
}

/// `LANES` indices and the mask of their signs.
#[inline(always)]
fn indices<B: Backend, const SIGNED: bool>(list: &[u32], i: usize) -> ([u32; MAX_LANES], u32) {
    let lanes = B::Base::LANES;
    let from = &list[i * lanes..(i + 1) * lanes];
    let mut at = [0; MAX_LANES];
    let mut mask = 0;
    for lane in 0..lanes {
        at[lane] = if SIGNED {
            from[lane] & !NEGATIVE
        } else {
            from[lane]
        };
        if SIGNED {
            mask |= (from[lane] >> 31) << lane;
        }
    }
    (at, mask)
}

/// Consecutive indices, the last one repeated beyond the end.
#[inline(always)]
fn consecutive<B: Backend>(i: usize, len: usize) -> [u32; MAX_LANES] {
    let first = i * B::Base::LANES;
    std::array::from_fn(|lane| (first + lane).min(len - 1) as u32)
}

/// Writes consecutive points, the last vector perhaps in part.
#[inline(always)]
fn write<B: Backend>(out: &mut [PointOf<B>], i: usize, x: B::Base, y: B::Base) {
    let lanes = B::Base::LANES;
    let out = &mut out[i * lanes..];
    if out.len() >= lanes {
        B::Base::scatter(x, y, &mut out[..lanes]);
    } else {
        let mut rest = [PointOf::<B>::default(); MAX_LANES];
        B::Base::scatter(x, y, &mut rest[..lanes]);
        out.copy_from_slice(&rest[..out.len()]);
    }
}

struct Listed<'a, B: Backend, const SIGNED: bool> {
    points: &'a [PointOf<B>],
    a: &'a [u32],
    b: &'a [u32],
    out: &'a mut [PointOf<B>],
    exceptions: Exceptions,
    dirty: bool,
    zero: B::Base,
}

impl<B: Backend, const SIGNED: bool> Listed<'_, B, SIGNED> {
    /// The operands of vector `i`. Without closures: they would be compiled without the backend's instructions.
    #[inline(always)]
    fn operands(&self, i: usize) -> [(B::Base, B::Base); 2] {
        let lanes = B::Base::LANES;
        let (a, negative_a) = indices::<B, SIGNED>(self.a, i);
        let (b, negative_b) = indices::<B, SIGNED>(self.b, i);
        let (x1, mut y1) = B::Base::gather(self.points, &a[..lanes]);
        let (x2, mut y2) = B::Base::gather(self.points, &b[..lanes]);
        if SIGNED {
            y1 = y1.negate_where(negative_a);
            y2 = y2.negate_where(negative_b);
        }
        [(x1, y1), (x2, y2)]
    }
}

impl<B: Backend, const SIGNED: bool> Operation<B> for Listed<'_, B, SIGNED> {
    #[inline(always)]
    fn denominator(&mut self, i: usize) -> B::Base {
        let lanes = B::Base::LANES;
        let (a, _) = indices::<B, SIGNED>(self.a, i);
        let (b, _) = indices::<B, SIGNED>(self.b, i);
        let x1 = B::Base::gather_x(self.points, &a[..lanes]);
        let x2 = B::Base::gather_x(self.points, &b[..lanes]);
        let mut mask = x1.same(x2);
        if self.dirty {
            mask |= x1.same(self.zero) | x2.same(self.zero);
        }
        if mask == 0 {
            return x2.sub::<1>(x1);
        }
        let [a, b] = self.operands(i);
        self.exceptions.denominator::<B>(i, a, b, self.zero)
    }

    #[inline(always)]
    fn finish(&mut self, i: usize, inverse: B::Base) {
        let lanes = B::Base::LANES;
        let [a, b] = self.operands(i);
        let (x3, y3) = sum::<B>(a, b, inverse, self.exceptions.of(i), self.zero);
        B::Base::scatter(x3, y3, &mut self.out[i * lanes..(i + 1) * lanes]);
    }

    fn makes_identity(&self) -> bool {
        self.exceptions.make_identity()
    }
}

struct Rows<'a, B: Backend> {
    sums: &'a mut [PointOf<B>],
    row: &'a [PointOf<B>],
    exceptions: Exceptions,
    negative: u32,
    dirty: bool,
    zero: B::Base,
}

impl<B: Backend> Operation<B> for Rows<'_, B> {
    #[inline(always)]
    fn denominator(&mut self, i: usize) -> B::Base {
        let lanes = B::Base::LANES;
        let at = consecutive::<B>(i, self.row.len());
        let x1 = B::Base::gather_x(self.sums, &at[..lanes]);
        let x2 = B::Base::gather_x(self.row, &at[..lanes]);
        let mut mask = x1.same(x2);
        if self.dirty {
            mask |= x1.same(self.zero) | x2.same(self.zero);
        }
        if mask == 0 {
            return x2.sub::<1>(x1);
        }
        let first = B::Base::gather(self.sums, &at[..lanes]);
        let (x2, y2) = B::Base::gather(self.row, &at[..lanes]);
        let second = (x2, y2.negate_where(self.negative));
        let exceptions = &mut self.exceptions;
        exceptions.denominator::<B>(i, first, second, self.zero)
    }

    #[inline(always)]
    fn finish(&mut self, i: usize, inverse: B::Base) {
        let lanes = B::Base::LANES;
        let at = consecutive::<B>(i, self.row.len());
        let first = B::Base::gather(self.sums, &at[..lanes]);
        let (x2, y2) = B::Base::gather(self.row, &at[..lanes]);
        let second = (x2, y2.negate_where(self.negative));
        let (x3, y3) = sum::<B>(first, second, inverse, self.exceptions.of(i), self.zero);
        write::<B>(self.sums, i, x3, y3);
    }

    fn makes_identity(&self) -> bool {
        self.exceptions.make_identity()
    }
}

struct Doubles<'a, B: Backend> {
    points: &'a mut [PointOf<B>],
    makes_identity: bool,
    zero: B::Base,
}

impl<B: Backend> Operation<B> for Doubles<'_, B> {
    #[inline(always)]
    fn denominator(&mut self, i: usize) -> B::Base {
        let at = consecutive::<B>(i, self.points.len());
        let (_, y) = B::Base::gather(self.points, &at[..B::Base::LANES]);
        let none = y.same(self.zero);
        self.makes_identity |= none != 0;
        y.add(y).select(B::Base::splat(Fq::ONE), none)
    }

    #[inline(always)]
    fn finish(&mut self, i: usize, inverse: B::Base) {
        let at = consecutive::<B>(i, self.points.len());
        let (x, y) = B::Base::gather(self.points, &at[..B::Base::LANES]);
        let square = x.square();
        let slope = square.add(square).add(square).mul(inverse);
        let mut x3 = slope.square().sub::<2>(x.add(x));
        let mut y3 = slope.mul(x.sub::<4>(x3)).sub::<1>(y);
        if self.makes_identity {
            let none = y.same(self.zero);
            (x3, y3) = (x3.select(self.zero, none), y3.select(self.zero, none));
        }
        write::<B>(self.points, i, x3, y3);
    }

    fn makes_identity(&self) -> bool {
        self.makes_identity
    }
}
