//! All engines make the same bytes, on any number of threads, for one run and for several in one proof; and what several
//! runs in one proof must not allow.

use super::engine::Engine;
use super::zoo::{bases, judged_runs, secret};
use super::*;
use crate::secret::{ProvenRuns, Run, Secret, Visibility};
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

const K: u32 = 7;

fn image(i: u32) -> Vec<Vec<u32>> {
    vec![(0..16).map(|j| (j * 37 + 5 + 11 * i) % 64).collect()]
}

fn runs(secret: &Secret, count: u32) -> Vec<Run> {
    (0..count)
        .map(|i| secret.infer_integers(&image(i)).unwrap())
        .collect()
}

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(f)
}

fn prove_runs(secret: &Secret, count: u32) -> ProvenRuns {
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    secret
        .prove_runs(&runs(secret, count), &visibility, b"ctx", &mut rng)
        .unwrap()
}

#[test]
fn engines_make_the_same_bytes() {
    for k in [K, K + 1] {
        let honest = super::zoo::secret(k, 1);
        let run = honest.infer_integers(&image(0)).unwrap();
        let mut secret = honest;
        let mut proofs = Vec::new();
        for engine in Engine::available() {
            secret = secret.with_engine(engine);
            for threads in [1, 2, 3] {
                let mut rng = ChaCha20Rng::seed_from_u64(9);
                let visibility = Visibility::default();
                let proven = on_threads(threads, || {
                    secret.prove(&run, &visibility, b"x", &mut rng).unwrap()
                });
                proofs.push((engine, threads, proven.proof));
            }
        }
        for (engine, threads, proof) in &proofs {
            assert!(
                *proof == proofs[0].2,
                "{engine} on {threads} threads differs for k = {k}"
            );
        }
    }
}

#[test]
fn engines_make_the_same_bytes_of_several_runs() {
    let mut secret = secret(K, 1);
    let mut proofs: Vec<(Engine, Proof)> = Vec::new();
    for engine in Engine::available() {
        secret = secret.with_engine(engine);
        proofs.push((engine, prove_runs(&secret, 3).proof));
    }
    for (engine, proof) in &proofs {
        assert!(*proof == proofs[0].1, "{engine} differs");
    }
}

fn verifier(secret: &Secret) -> Verifier {
    Verifier::new(secret.card().clone(), bases(K), &Limits::default()).unwrap()
}

fn expected(count: usize) -> Vec<Expected> {
    vec![
        Expected {
            context: b"ctx".to_vec(),
            ..Expected::default()
        };
        count
    ]
}

#[test]
fn several_runs_verify() {
    let secret = secret(K, 1);
    let verifier = verifier(&secret);
    for count in [1, 2, 5] {
        let proven = prove_runs(&secret, count);
        let bytes = proven.proof.to_bytes();
        let proof = Proof::from_bytes(&bytes, bytes.len()).unwrap();
        assert_eq!(proof, proven.proof);
        let verdicts = judged_runs(&verifier, &expected(count as usize), &proof).unwrap();
        for (verdict, run) in verdicts.iter().zip(runs(&secret, count)) {
            assert_eq!(verdict.input, Side::Public(run.input().to_vec()));
            assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
        }
    }
}

#[test]
fn committed_sides_of_several_runs() {
    let secret = secret(K, 1);
    let visibility = Visibility {
        input: crate::secret::SideVisibility::Committed,
        output: crate::secret::SideVisibility::Committed,
        attach_input: false,
    };
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let runs = runs(&secret, 2);
    let proven = secret
        .prove_runs(&runs, &visibility, b"ctx", &mut rng)
        .unwrap();
    judged_runs(&verifier(&secret), &expected(2), &proven.proof).unwrap();
    let points = |side: &Option<crate::secret::Opening>| side.as_ref().unwrap().points.clone();
    assert_ne!(points(&proven.openings[0].0), points(&proven.openings[1].0));
}

#[test]
fn claims_of_several_runs_are_bound() {
    let secret = secret(K, 1);
    let verifier = verifier(&secret);
    let honest = prove_runs(&secret, 3).proof;
    let verify = |proof: &Proof| {
        let expected = expected(proof.runs.len());
        judged_runs(&verifier, &expected, proof).map(|_| ())
    };
    assert_eq!(verify(&honest), Ok(()));

    // Outputs of two runs exchanged, whole runs exchanged, one run twice, one left out: all of it is in the statement.
    let mut swapped = honest.clone();
    let (a, b) = (swapped.runs[0].1.clone(), swapped.runs[1].1.clone());
    (swapped.runs[0].1, swapped.runs[1].1) = (b, a);
    assert_eq!(verify(&swapped), Err(Rejection::Link));
    let mut reordered = honest.clone();
    reordered.runs.swap(0, 1);
    assert_eq!(verify(&reordered), Err(Rejection::Link));
    let mut twice = honest.clone();
    twice.runs[2] = twice.runs[1].clone();
    assert_eq!(verify(&twice), Err(Rejection::Link));
    let mut fewer = honest.clone();
    fewer.runs.pop();
    let length = Rejection::Malformed {
        what: "a proof of this card has another length",
    };
    assert_eq!(verify(&fewer), Err(length));
    let mut more = honest.clone();
    more.runs.push(more.runs[0].clone());
    assert!(verify(&more).is_err());

    // Fewer or more than expected; none at all.
    let found = judged_runs(&verifier, &expected(2), &honest);
    assert_eq!(
        found,
        Err(Rejection::Runs {
            found: 3,
            expected: 2
        })
    );
    assert!(
        verifier
            .verify_runs(
                &[],
                &Proof {
                    runs: vec![],
                    ..honest
                }
            )
            .is_err()
    );
}

/// Later runs get fold columns of their own, and change one entry of them.
struct OwnFolds {
    change: bool,
    run: usize,
}

impl Deviation for OwnFolds {
    fn repeated(&mut self, repeated: &mut Vec<bool>) {
        repeated.fill(false);
    }
    fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
        self.run += usize::from(phase == 2);
        if phase == 2 && self.run == 2 && self.change {
            columns[plan.fold_columns()[0]][1] += F::ONE;
        }
    }
}

#[test]
fn later_runs_with_weights_of_their_own() {
    // Only the first run's fold columns are linked to the model: others must be the very same commitments.
    let secret = secret(K, 1);
    let runs = runs(&secret, 2);
    for change in [false, true] {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let visibility = Visibility {
            attach_input: true,
            ..Visibility::default()
        };
        let proof = secret
            .prove_runs_with(
                &runs,
                &visibility,
                b"ctx",
                &mut OwnFolds { change, run: 0 },
                &mut rng,
            )
            .unwrap()
            .proof;
        assert_eq!(
            judged_runs(&verifier(&secret), &expected(2), &proof),
            Err(Rejection::Malformed {
                what: "runs have different fold columns"
            })
        );
    }
}

/// The second run claims another output.
struct OtherOutput {
    run: usize,
}

impl Deviation for OtherOutput {
    fn cells(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        self.run += 1;
        if self.run == 2 {
            let lane = plan.layout.output_lanes().next().unwrap();
            let cell = plan.layout.output_cells(&plan.program).next().unwrap();
            phase1.cells[lane.x][cell.row as usize] ^= 1;
        }
    }
}

#[test]
fn a_lie_in_a_later_run_is_caught() {
    let secret = secret(K, 1);
    let mut runs = runs(&secret, 3);
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let lie = |runs: &[Run], lie: &mut OtherOutput| {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let proven = secret.prove_runs_with(runs, &visibility, b"ctx", lie, &mut rng);
        let proof = proven.unwrap().proof;
        judged_runs(&verifier(&secret), &expected(3), &proof).map(|_| ())
    };
    // The column holds the lie and the claim does not, or both do.
    assert_eq!(
        lie(&runs, &mut OtherOutput { run: 0 }),
        Err(Rejection::Link)
    );
    runs[1].forge(false, true);
    assert_eq!(
        lie(&runs, &mut OtherOutput { run: 0 }),
        Err(Rejection::Circuit)
    );
    // The claim alone.
    assert_eq!(
        lie(&runs, &mut OtherOutput { run: 9 }),
        Err(Rejection::Link)
    );
}

#[test]
fn too_many_runs_or_none() {
    let secret = secret(K, 1);
    let run = runs(&secret, 1).remove(0);
    let visibility = Visibility::default();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    for count in [0, crate::secret::MAX_RUNS + 1] {
        let runs = vec![run.clone(); count];
        let error = secret
            .prove_runs(&runs, &visibility, b"", &mut rng)
            .unwrap_err();
        assert!(matches!(error, ProveError::Runs { runs, .. } if runs == count));
    }
}
