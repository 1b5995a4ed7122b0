//! Polynomials as contiguous vectors of coefficients.

use crate::F;
use ff::Field;
use zkinfer_kernels::fft::{Interpolate, load_values};
use zkinfer_kernels::vector::{Backend, Kernel, Vector};

/// Coefficients, contiguous, bound 2.
pub(crate) type Poly<B> = Vec<<B as Backend>::Scalar>;

/// `1, x, x², …` as `vectors` contiguous vectors.
pub(crate) fn powers<B: Backend>(backend: B, x: F, vectors: usize) -> Poly<B> {
    struct Powers(F, usize);
    impl<B: Backend> Kernel<B> for Powers {
        type Output = Poly<B>;
        #[inline(always)]
        fn run(self) -> Poly<B> {
            let mut step = F::ONE;
            let mut power = B::Scalar::from_fn(|_| {
                let p = step;
                step *= self.0;
                p
            });
            let step = B::Scalar::splat(step);
            // Loops, not closures of iterators: those may be compiled on their own, without the instruction set.
            let mut powers = Vec::with_capacity(self.1);
            for _ in 0..self.1 {
                powers.push(power);
                power = power.mul(step);
            }
            powers
        }
    }
    backend.run(Powers(x, vectors))
}

/// `Σ a_i·b_i`.
pub(crate) fn dot<B: Backend>(backend: B, a: &[B::Scalar], b: &[B::Scalar]) -> F {
    struct Dot<'a, V>(&'a [V], &'a [V]);
    impl<B: Backend> Kernel<B> for Dot<'_, B::Scalar> {
        type Output = F;
        #[inline(always)]
        fn run(self) -> F {
            let mut total = B::Scalar::zero();
            // 256 products of bound 4.
            for (a, b) in self.0.chunks(256).zip(self.1.chunks(256)) {
                let mut sum = B::Scalar::wide();
                for (a, b) in a.iter().zip(b) {
                    B::Scalar::mul_add(&mut sum, *a, *b);
                }
                total = total.add(B::Scalar::finish(sum)).reduce();
            }
            let mut lanes = [F::ZERO; 8];
            total.store(&mut lanes[..B::Scalar::LANES]);
            lanes.iter().sum()
        }
    }
    backend.run(Dot(a, b))
}

/// `sum = sum·factor + term`, coefficient by coefficient.
pub(crate) fn horner<B: Backend>(backend: B, sum: &mut [B::Scalar], factor: F, term: &[B::Scalar]) {
    struct Horner<'a, V>(&'a mut [V], F, &'a [V]);
    impl<B: Backend> Kernel<B> for Horner<'_, B::Scalar> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let factor = B::Scalar::splat(self.1);
            for (s, t) in self.0.iter_mut().zip(self.2) {
                *s = s.mul(factor).add(*t).reduce();
            }
        }
    }
    backend.run(Horner(sum, factor, term));
}

/// `Σ_j factors[j]·terms[j]`; all terms have the same length.
pub(crate) fn combine<B: Backend>(backend: B, terms: &[&[B::Scalar]], factors: &[F]) -> Poly<B> {
    struct Combine<'a, V>(&'a [&'a [V]], &'a [F]);
    impl<B: Backend> Kernel<B> for Combine<'_, B::Scalar> {
        type Output = Poly<B>;
        #[inline(always)]
        fn run(self) -> Poly<B> {
            let mut factors = Vec::with_capacity(self.1.len());
            for f in self.1 {
                factors.push(B::Scalar::splat(*f));
            }
            let len = self.0.first().map_or(0, |t| t.len());
            let mut out = Vec::with_capacity(len);
            for i in 0..len {
                let mut total = B::Scalar::zero();
                for (terms, factors) in self.0.chunks(256).zip(factors.chunks(256)) {
                    let mut sum = B::Scalar::wide();
                    for (term, factor) in terms.iter().zip(factors) {
                        B::Scalar::mul_add(&mut sum, term[i], *factor);
                    }
                    total = total.add(B::Scalar::finish(sum)).reduce();
                }
                out.push(total);
            }
            out
        }
    }
    backend.run(Combine(terms, factors))
}

/// `a_i = a_i·b_i`.
pub(crate) fn scale<B: Backend>(backend: B, a: &mut [B::Scalar], b: &[B::Scalar]) {
    struct Scale<'a, V>(&'a mut [V], &'a [V]);
    impl<B: Backend> Kernel<B> for Scale<'_, B::Scalar> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for (a, b) in self.0.iter_mut().zip(self.1) {
                *a = a.mul(*b);
            }
        }
    }
    backend.run(Scale(a, b));
}

/// The polynomial through `values`.
pub(crate) fn coefficients<B: Backend>(
    backend: B,
    interpolate: &Interpolate<B>,
    values: &[F],
) -> Poly<B> {
    coefficients_with(backend, interpolate, values, &mut Vec::new())
}

/// The same with a buffer to reuse.
pub(crate) fn coefficients_with<B: Backend>(
    backend: B,
    interpolate: &Interpolate<B>,
    values: &[F],
    lanes: &mut Poly<B>,
) -> Poly<B> {
    let vectors = values.len() / B::Scalar::LANES;
    lanes.resize(vectors, B::Scalar::zero());
    load_values(backend, values, lanes);
    let mut poly = vec![B::Scalar::zero(); vectors];
    interpolate.run(lanes, &mut poly);
    poly
}
