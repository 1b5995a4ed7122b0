use super::*;
use crate::vector::{Checked, Portable};
use ff::Field;
use group::{CurveAffine as _, Group};
use halo2_proofs::arithmetic::best_multiexp;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

fn random_points(n: usize, rng: &mut ChaCha20Rng) -> Vec<EqAffine> {
    use pasta_curves::arithmetic::CurveExt;
    let points: Vec<Eq> = (0..n).map(|_| Eq::random(&mut *rng)).collect();
    let mut out = vec![EqAffine::identity(); n];
    Eq::batch_normalize_vartime(&points, &mut out);
    out
}

fn small(v: i32) -> Fp {
    let m = Fp::from(u64::from(v.unsigned_abs()));
    if v < 0 { -m } else { m }
}

/// What a job should give, term by term.
fn expected(points: &[EqAffine], job: &Job<'_>) -> Eq {
    let (mut scalars, mut bases) = (Vec::new(), Vec::new());
    for part in &job.parts {
        let values: Vec<Fp> = match part.scalars {
            Scalars::Field(v) => v.to_vec(),
            Scalars::Small(v) => v.iter().map(|&v| small(v)).collect(),
        };
        for (i, v) in values.into_iter().enumerate() {
            scalars.push(v);
            bases.push(match part.at {
                At::From(first) => points[first + i],
                At::List(list) => points[list[i] as usize],
            });
        }
    }
    best_multiexp(&scalars, &bases)
}

fn check<B: Backend>(backend: B, points: &[EqAffine], jobs: &[Job<'_>]) {
    let bases = Bases::new(backend, points);
    let want: Vec<Eq> = jobs.iter().map(|job| expected(points, job)).collect();
    assert_eq!(msm(backend, &bases, jobs), want);
    for threads in [2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        assert_eq!(pool.install(|| msm_parallel(backend, &bases, jobs)), want);
    }
}

fn field_job(scalars: &[Fp]) -> Job<'_> {
    Job {
        parts: vec![Part {
            at: At::From(0),
            scalars: Scalars::Field(scalars),
        }],
    }
}

/// Kinds of scalars.
fn scalar_sets(n: usize, rng: &mut ChaCha20Rng) -> Vec<Vec<Fp>> {
    let one = Fp::random(&mut *rng);
    let mut sets: Vec<Vec<Fp>> = vec![
        vec![Fp::ZERO; n],
        vec![Fp::ONE; n],
        vec![-Fp::ONE; n],
        vec![one; n],
    ];
    sets.push((0..n).map(|_| Fp::random(&mut *rng)).collect());
    sets.push(
        (0..n)
            .map(|_| Fp::from(u64::from(rng.next_u32() >> 20)))
            .collect(),
    );
    sets.push(
        (0..n)
            .map(|_| small((rng.next_u32() as i32) >> 20))
            .collect(),
    );
    sets.push((0..n).map(|_| -Fp::from(rng.next_u64())).collect());
    // Mostly short, a few long.
    let mut mixed = sets[5].clone();
    for v in mixed.iter_mut().step_by(97) {
        *v = Fp::random(&mut *rng);
    }
    sets.push(mixed);
    sets
}

fn all_kinds<B: Backend>(backend: B) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let points = random_points(1000, &mut rng);
    for n in [0, 1, 2, 7, 100, 1000] {
        let sets = scalar_sets(n, &mut rng);
        let jobs: Vec<Job<'_>> = sets.iter().map(|set| field_job(set)).collect();
        check(backend, &points[..n], &jobs);
        for job in &jobs {
            check(backend, &points[..n], std::slice::from_ref(job));
        }
    }
}

fn parts_and_lists<B: Backend>(backend: B) {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let points = random_points(600, &mut rng);
    let full: Vec<Fp> = (0..7).map(|_| Fp::random(&mut rng)).collect();
    let weights: Vec<i32> = (0..300).map(|_| (rng.next_u32() as i32) >> 16).collect();
    let extremes = [i32::MIN, i32::MAX, 0, -1, 1, i32::MIN];
    let list: Vec<u32> = (0..300).map(|_| rng.next_u32() % 600).collect();
    let repeated = [5, 5, 5, 5, 5, 5];
    let job = |at, scalars| Part { at, scalars };
    let jobs = [
        Job::default(),
        Job {
            parts: vec![
                job(At::List(&list), Scalars::Small(&weights)),
                job(At::From(593), Scalars::Field(&full)),
            ],
        },
        Job {
            parts: vec![
                job(At::List(&repeated), Scalars::Small(&extremes)),
                job(At::From(0), Scalars::Small(&extremes)),
                job(At::From(600), Scalars::Small(&[])),
            ],
        },
        Job {
            parts: vec![job(At::From(100), Scalars::Small(&weights))],
        },
    ];
    check(backend, &points, &jobs);
}

fn adversarial_bases<B: Backend>(backend: B) {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let n = 100;
    let fresh = random_points(n, &mut rng);
    let mut duplicates = fresh.clone();
    let mut opposites = fresh.clone();
    let mut identities = fresh.clone();
    for i in (0..n).step_by(2) {
        duplicates[i + 1] = duplicates[i];
        opposites[i + 1] = -opposites[i];
        identities[i] = EqAffine::identity();
    }
    // Sums of pairs meet their own opposites and duplicates in later rounds.
    let mut nested = fresh.clone();
    for i in (0..n).step_by(4) {
        nested[i + 2] = -nested[i];
        nested[i + 3] = -nested[i + 1];
    }
    let endo: Vec<EqAffine> = fresh
        .iter()
        .enumerate()
        .map(|(i, p)| {
            use group::CurveAffine;
            use pasta_curves::arithmetic::CurveExt;
            if i % 2 == 0 {
                *p
            } else {
                fresh[i - 1].to_curve().endo().to_affine_vartime()
            }
        })
        .collect();
    let sets = [
        duplicates,
        opposites,
        identities,
        nested,
        endo,
        vec![fresh[0]; n],
        vec![EqAffine::identity(); n],
    ];
    let scalars = scalar_sets(n, &mut rng);
    let jobs: Vec<Job<'_>> = scalars.iter().map(|set| field_job(set)).collect();
    for points in sets {
        check(backend, &points, &jobs);
    }
}

/// A test on every backend that the machine has.
macro_rules! on_all_backends {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;
            #[test]
            fn portable() {
                super::$name(Portable);
            }
            #[test]
            fn checked() {
                super::$name(Checked);
            }
            #[cfg(target_arch = "x86_64")]
            #[test]
            fn ifma() {
                if let Some(backend) = crate::vector::Ifma::detect() {
                    super::$name(backend);
                }
            }
        }
    )*};
}

on_all_backends! {
    all_kinds
    parts_and_lists
    adversarial_bases
}
