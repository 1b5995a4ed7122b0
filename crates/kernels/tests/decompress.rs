//! Compressed points, against `pasta_curves`.

use ff::{Field, PrimeField};
use group::{Curve, Group, GroupEncoding};
use pasta_curves::{Eq, EqAffine, Fq};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zkinfer_kernels::decompress::Decompress;
use zkinfer_kernels::native::{self, Native};
use zkinfer_kernels::vector::Portable;

/// What `pasta_curves` makes of the bytes; compared on every backend.
fn check(compressed: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
    let decode = |bytes| Option::from(EqAffine::from_bytes(bytes));
    let expected: Vec<Option<EqAffine>> = compressed.iter().map(decode).collect();
    let portable = Decompress::new(Portable).points(Portable, compressed);
    assert_eq!(portable, expected);
    assert_eq!(native::detect().decompress(compressed), expected);
    expected
}

fn bytes_of(x: Fq, sign: u8) -> [u8; 32] {
    let mut bytes = x.to_repr();
    bytes[31] |= sign << 7;
    bytes
}

/// Enough of them that every digit of the discrete logarithm takes every value (missing one: below 10^-14).
#[test]
fn points_and_their_opposites() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for n in [0, 1, 2, 3, 4, 5, 8, 9, 17, 600] {
        let points: Vec<EqAffine> = (0..n).map(|_| Eq::random(&mut rng).to_affine()).collect();
        let compressed: Vec<[u8; 32]> = points
            .iter()
            .flat_map(|p| [p.to_bytes(), (-*p).to_bytes()])
            .collect();
        let found = check(&compressed);
        let wanted = points.iter().flat_map(|p| [Some(*p), Some(-*p)]);
        assert!(found.into_iter().eq(wanted));
    }
}

/// Abscissas of no point, and bytes that are no abscissa.
#[test]
fn what_is_no_point() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let mut list = vec![[0; 32], [255; 32], [127; 32]];
    list.push(bytes_of(Fq::ZERO, 1)); // the identity has one encoding
    for i in 0..40u64 {
        for sign in [0, 1] {
            list.push(bytes_of(Fq::from(i), sign));
            list.push(bytes_of(-Fq::from(i), sign));
            // The modulus and above.
            let mut bytes = (-Fq::ONE).to_repr();
            bytes[0] = bytes[0].wrapping_add(i as u8 + 1);
            bytes[31] |= sign << 7;
            list.push(bytes);
        }
    }
    for _ in 0..400 {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        list.push(bytes);
    }
    let good = check(&list).iter().flatten().count();
    assert!(good > 80 && good < list.len() - 200, "{good}");
}

/// The verifier's entry to multi-scalar multiplication.
#[test]
fn sums() {
    use halo2_proofs::arithmetic::best_multiexp;
    use pasta_curves::Fp;
    let machines = [native::detect(), &Native::plain()];
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for n in [1, 2, 33, 700] {
        let mut points: Vec<EqAffine> = (0..n).map(|_| Eq::random(&mut rng).to_affine()).collect();
        let mut scalars: Vec<Fp> = (0..n).map(|_| Fp::random(&mut rng)).collect();
        // Equal, opposite and no points, zero scalars.
        if n > 4 {
            points[1] = points[0];
            points[2] = -points[0];
            points[3] = EqAffine::default();
            scalars[4] = Fp::ZERO;
        }
        let expected = best_multiexp(&scalars, &points);
        for native in machines {
            assert_eq!(native.prepare(&points).sum(&scalars), expected);
        }
    }
}
