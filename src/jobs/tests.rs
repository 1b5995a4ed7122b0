//! Whoever does the jobs, and however badly.

use super::*;
use crate::prove::tests::copies;
use crate::prove::tests::zoo::{bases, secret, secret_of_segments};
use crate::secret::{ProvenRuns, Run, Secret, SideVisibility, Visibility};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};
use zkinfer_model::progress;

const K: u32 = 7;

fn verifier(secret: &Secret) -> Verifier {
    let card = secret.card().clone();
    let bases = bases(card.k);
    Verifier::new(card, bases, &Limits::default()).unwrap()
}

fn runs(secret: &Secret, count: u32) -> Vec<Run> {
    let len = secret.card().input_len() as u32;
    let input = |i: u32| vec![(0..len).map(|j| (j * 7 + i) % 64).collect()];
    let runs = (0..count).map(|i| secret.infer_integers(&input(i)).unwrap());
    runs.collect()
}

fn three_segments() -> Secret {
    secret_of_segments(vec![copies(6, 5), copies(6, 5), copies(6, 5)], 6, 3)
}

fn hidden() -> Visibility {
    Visibility {
        input: SideVisibility::Committed,
        output: SideVisibility::Committed,
        attach_input: false,
    }
}

type Proofs = Vec<Option<Result<ProvenRuns, JobError>>>;

/// What comes of requests, each of them told once.
fn proofs(secret: &Secret, requests: &[Request<'_>], executor: &dyn Executor) -> Proofs {
    let mut all: Proofs = requests.iter().map(|_| None).collect();
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    prove_many(
        secret,
        requests,
        executor,
        &mut rng,
        &mut |index, proven| {
            assert!(
                all[index].replace(proven).is_none(),
                "{index} was told twice"
            );
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    all
}

/// What is told, instead of what came of a job.
type Tampered = Vec<(usize, Result<Vec<u8>, JobError>)>;

/// Does jobs by files alone, as another machine would, and tampers with what comes of them.
struct Elsewhere<'a> {
    worker: Worker,
    tamper: Box<dyn Fn(usize, Result<Vec<u8>, JobError>) -> Tampered + 'a>,
}

impl<'a> Elsewhere<'a> {
    fn that(tamper: impl Fn(usize, Result<Vec<u8>, JobError>) -> Tampered + 'a) -> Elsewhere<'a> {
        Elsewhere {
            worker: Worker::new(1 << 20),
            tamper: Box::new(tamper),
        }
    }
}

impl Executor for Elsewhere<'_> {
    fn execute(&self, jobs: &[Job<'_>], done: &mut Done<'_>) -> Result<(), JobError> {
        // In no order that anybody could count on.
        for (index, job) in jobs.iter().enumerate().rev() {
            let mut result = self.worker.run(&job.bytes, &mut progress::silent);
            if let Err(JobError::Segment(wanted)) = result {
                assert_eq!(wanted, *job.segment.digest());
                self.worker.keep(&job.segment.to_bytes().unwrap()).unwrap();
                result = self.worker.run(&job.bytes, &mut progress::silent);
            }
            for (index, result) in (self.tamper)(index, result) {
                if done(index, result).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

#[test]
fn proofs_do_not_depend_on_who_makes_them() {
    for secret in [secret(K, 1), three_segments()] {
        let verifier = verifier(&secret);
        let runs = runs(&secret, 5);
        let compact: Vec<Run> = runs.iter().map(|run| run.clone().compact()).collect();
        let opening = secret
            .prove(&runs[3], &hidden(), b"", &mut ChaCha20Rng::seed_from_u64(5))
            .unwrap()
            .input
            .unwrap();
        let opened = Visibility {
            input: SideVisibility::Opened(opening),
            ..Visibility::default()
        };
        let attached = Visibility {
            attach_input: true,
            ..Visibility::default()
        };
        let request = |runs, visibility: &Visibility, context: &[u8]| Request {
            runs,
            visibility: visibility.clone(),
            context: context.to_vec(),
        };
        let requests = |runs: &'static [Run]| {
            [
                request(&runs[..1], &attached, b"0"),
                request(&runs[1..3], &attached, b"1"),
                request(&runs[3..4], &opened, b"2"),
                request(&runs[4..], &hidden(), b"3"),
            ]
        };
        let (runs, compact): (&'static [Run], &'static [Run]) = (runs.leak(), compact.leak());
        let here = proofs(&secret, &requests(runs), &Local::default());
        let waves = proofs(&secret, &requests(compact), &Local { parallel: 2 });
        let files = Elsewhere::that(|index, result| vec![(index, result)]);
        let elsewhere = proofs(&secret, &requests(runs), &files);
        for (number, request) in requests(runs).iter().enumerate() {
            let proven = |all: &Proofs| {
                all[number]
                    .as_ref()
                    .unwrap()
                    .as_ref()
                    .unwrap()
                    .proof
                    .clone()
            };
            let proof = proven(&here);
            assert_eq!(proof, proven(&waves));
            assert_eq!(proof, proven(&elsewhere));
            let context = request.context.clone();
            let expected = Expected {
                input: (number == 2).then(|| Side::Committed(claimed(&proof).to_vec())),
                context,
                ..Expected::default()
            };
            if request.runs.len() == 1 {
                verifier.verify(&expected, &proof).unwrap();
            } else {
                let each = request.runs.iter().map(|run| Expected {
                    input: Some(Side::Public(run.input().to_vec())),
                    output: Some(Side::Public(run.output().to_vec())),
                    context: request.context.clone(),
                });
                let each: Vec<Expected> = each.collect();
                verifier.verify_runs(&each, &proof).unwrap();
            }
        }
        let made = elsewhere.into_iter().map(|p| p.unwrap().unwrap());
        let made: Vec<ProvenRuns> = made.collect();
        assert!(made.iter().all(|p| !p.timings.halo2.is_zero()));
        // What was committed opens, in a proof of its own.
        let (input, output) = made[3].openings[0].clone();
        let again = Visibility {
            input: SideVisibility::Opened(input.unwrap()),
            output: SideVisibility::Opened(output.unwrap()),
            attach_input: false,
        };
        secret
            .prove(&runs[4], &again, b"", &mut ChaCha20Rng::seed_from_u64(6))
            .unwrap();
    }
}

fn claimed(proof: &zkinfer_circuits::card::Proof) -> &[zkinfer_circuits::C] {
    match &proof.runs[0].0 {
        zkinfer_circuits::statement::Claim::Committed(points) => points,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_fails_fails_alone() {
    let secret = three_segments();
    let runs = runs(&secret, 3);
    let mut foreign = hidden();
    let of_another = secret
        .prove(&runs[0], &hidden(), b"", &mut ChaCha20Rng::seed_from_u64(5))
        .unwrap();
    foreign.input = SideVisibility::Opened(of_another.input.unwrap());
    let with = |run: &'static Run, visibility: Visibility, context: Vec<u8>| Request {
        visibility,
        context,
        ..Request::of(run)
    };
    let runs: &'static [Run] = runs.leak();
    let other: &'static [Run] = self::runs(&self::secret(K, 1), 1).leak();
    let requests = [
        Request::of(&runs[0]),
        with(&runs[1], foreign, vec![]),
        Request::of(&other[0]),
        with(&runs[1], hidden(), vec![0; 5000]),
        Request {
            runs: &[],
            ..Request::of(&runs[2])
        },
        Request::of(&runs[2]),
    ];
    for executor in [
        &Local::default() as &dyn Executor,
        &Elsewhere::that(|index, result| vec![(index, result)]),
    ] {
        let all = proofs(&secret, &requests, executor);
        let errors: Vec<Option<String>> = all
            .iter()
            .map(|p| p.as_ref().unwrap().as_ref().err().map(|e| format!("{e:?}")))
            .collect();
        assert!(errors[0].is_none() && errors[5].is_none(), "{errors:?}");
        let error = |index: usize| all[index].as_ref().unwrap().as_ref().unwrap_err();
        assert!(matches!(error(1), JobError::Prove(ProveError::Opening)));
        assert!(matches!(error(2), JobError::Prove(ProveError::Run)));
        assert!(matches!(
            error(3),
            JobError::Prove(ProveError::Context { .. })
        ));
        assert!(matches!(error(4), JobError::Prove(ProveError::Runs { .. })));
    }
}

/// What an engine or a worker can do wrong is told of the request that it was done to, and of no other.
#[test]
fn executors_that_are_wrong() {
    let secret = three_segments();
    let runs = runs(&secret, 2);
    for visibility in [Visibility::default(), hidden()] {
        let request = |run| Request {
            visibility: visibility.clone(),
            ..Request::of(run)
        };
        let requests: Vec<Request<'_>> = runs.iter().map(request).collect();
        wrong(&secret, &requests);
    }
}

fn wrong(secret: &Secret, requests: &[Request<'_>]) {
    let errors = |tamper: &dyn Fn(usize, Result<Vec<u8>, JobError>) -> Tampered| {
        let all = proofs(secret, requests, &Elsewhere::that(tamper));
        let results = all.into_iter().map(|p| p.unwrap());
        results.map(Result::err).collect::<Vec<Option<JobError>>>()
    };
    // Jobs 0 to 2 are the first request's, 3 to 5 the second's. Results come from the last one on.
    let lost = errors(&|index, result| match index {
        1 => vec![],
        _ => vec![(index, result)],
    });
    assert!(matches!(lost[..], [Some(JobError::Lost), None]));
    let twice = errors(&|index, result| {
        let bytes = result.unwrap();
        vec![
            (index, Ok(bytes.clone())),
            (index, Ok(bytes)),
            (99, Err(JobError::Lost)),
        ]
    });
    assert!(matches!(twice[..], [None, None]));
    let late = errors(&|index, result| vec![(index, result), (5, Err(JobError::Lost))]);
    assert!(matches!(late[..], [None, None]));
    let failed = errors(&|index, result| match index {
        4 => vec![(index, Err(JobError::Executor("out of memory".into())))],
        _ => vec![(index, result)],
    });
    assert!(matches!(failed[..], [None, Some(JobError::Executor(_))]));
    let damaged = errors(&|index, result| {
        let mut bytes = result.unwrap();
        if index == 2 {
            bytes[40] ^= 1;
        }
        vec![(index, Ok(bytes))]
    });
    assert!(matches!(damaged[..], [Some(JobError::Decode(_)), None]));
    // Answers with what belongs to another job: the same segment of another run, another segment of the same run.
    for other in [4usize, 2] {
        let stash = std::cell::RefCell::new(Vec::new());
        let exchanged = errors(&|index, result| {
            let bytes = result.unwrap();
            if index == other {
                stash.borrow_mut().clone_from(&bytes);
            }
            match index {
                1 => vec![(1, Ok(stash.borrow().clone()))],
                _ => vec![(index, Ok(bytes))],
            }
        });
        assert!(matches!(exchanged[..], [Some(JobError::Other), None]));
    }
}

#[test]
fn nothing_more_is_begun_once_it_breaks() {
    let secret = three_segments();
    let runs = runs(&secret, 4);
    let requests: Vec<Request<'_>> = runs.iter().map(Request::of).collect();
    let begun = std::cell::Cell::new(0);
    let counting = Elsewhere::that(|index, result| {
        begun.set(begun.get() + 1);
        vec![(index, result)]
    });
    let mut told = 0;
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut done = |_, _| {
        told += 1;
        ControlFlow::Break(())
    };
    prove_many(&secret, &requests, &counting, &mut rng, &mut done).unwrap();
    assert_eq!((told, begun.get()), (1, 3));
}

/// What names the right job and shows something else, and what shows the same for another job: each check by itself.
#[test]
fn outcomes_are_held_to_job_and_statement() {
    use crate::jobs::prove::Outcome;
    let secret = three_segments();
    let runs = runs(&secret, 2);
    for hidden_sides in [false, true] {
        for alike in [false, true] {
            let visibility = if hidden_sides {
                hidden()
            } else {
                Visibility::default()
            };
            let request = |run| Request {
                visibility: visibility.clone(),
                ..Request::of(run)
            };
            let second = if alike { &runs[0] } else { &runs[1] };
            let requests = [request(&runs[0]), request(second)];
            // Job 4 is the second request's second segment, job 1 the first one's; results come from the last one on.
            let stash = std::cell::RefCell::new(Vec::new());
            let exchange = |index: usize, result: Result<Vec<u8>, JobError>| {
                let bytes = result.unwrap();
                if index == 4 {
                    stash.borrow_mut().clone_from(&bytes);
                }
                let answer = match index {
                    1 => {
                        let mut other = Outcome::from_bytes(&stash.borrow()).unwrap();
                        if !alike {
                            other.job = Outcome::from_bytes(&bytes).unwrap().job;
                        }
                        other.to_bytes()
                    }
                    _ => bytes,
                };
                vec![(index, Ok(answer))]
            };
            let all = proofs(&secret, &requests, &Elsewhere::that(exchange));
            let result = |index: usize| all[index].as_ref().unwrap().as_ref();
            assert!(matches!(result(0).unwrap_err(), JobError::Other));
            assert!(result(1).is_ok());
        }
    }
}

/// Outcomes come from whoever did the job.
#[test]
fn hostile_outcomes() {
    use crate::jobs::prove::Outcome;
    use zkinfer_circuits::card::{FileKind, seal};
    let secret = secret(K, 1);
    let runs = runs(&secret, 1);
    let bytes = std::cell::RefCell::new(Vec::new());
    let keep = |index, result: Result<Vec<u8>, JobError>| {
        bytes.borrow_mut().clone_from(result.as_ref().unwrap());
        vec![(index, result)]
    };
    proofs(&secret, &[Request::of(&runs[0])], &Elsewhere::that(keep));
    let bytes = bytes.into_inner();
    let payload = &bytes[10..bytes.len() - 32];
    assert!(Outcome::from_bytes(&bytes).is_ok());
    for at in 0..bytes.len() {
        assert!(Outcome::from_bytes(&bytes[..at]).is_err());
        let mut bent = bytes.clone();
        bent[at] ^= 1 << (at % 8);
        assert!(Outcome::from_bytes(&bent).is_err(), "{at}");
    }
    for at in 0..payload.len() {
        assert!(Outcome::from_bytes(&seal(FileKind::Outcome, &payload[..at])).is_err());
        let mut bent = payload.to_vec();
        bent[at] ^= 1 << (at % 8);
        if let Ok(outcome) = Outcome::from_bytes(&seal(FileKind::Outcome, &bent)) {
            assert_eq!(outcome.to_bytes(), seal(FileKind::Outcome, &bent), "{at}");
        }
    }
    let long = [payload, &vec![0; 1 << 22]].concat();
    assert!(Outcome::from_bytes(&seal(FileKind::Outcome, &long)).is_err());
    let mut version = bytes.clone();
    version[8] = 77;
    assert!(matches!(
        Outcome::from_bytes(&version),
        Err(DecodeError::Version { found: 77, .. })
    ));
}

/// A run of another model of the same form is refused, not proven as what it is not.
#[test]
fn runs_of_another_model() {
    let (secret, other) = (secret(K, 1), crate::prove::tests::zoo::secret(K, 2));
    let mut run = runs(&secret, 1).remove(0);
    run.forge_output(0, 1);
    for visibility in [Visibility::default(), hidden()] {
        let request = Request {
            visibility,
            ..Request::of(&run)
        };
        let all = proofs(&other, &[request], &Local::default());
        let result = all[0].as_ref().unwrap().as_ref();
        assert!(matches!(
            result.unwrap_err(),
            JobError::Prove(ProveError::Run)
        ));
    }
}

/// Two requests for the same thing draw nothing that is the same.
#[test]
fn no_two_jobs_draw_the_same() {
    let secret = secret(K, 1);
    let runs = runs(&secret, 1);
    let requests = [Request::of(&runs[0]), Request::of(&runs[0])];
    let all = proofs(&secret, &requests, &Local::default());
    let proof = |i: usize| all[i].as_ref().unwrap().as_ref().unwrap().proof.segments[0].clone();
    assert_ne!(proof(0).halo2[..32], proof(1).halo2[..32]);
    assert_ne!(proof(0).link.commitment, proof(1).link.commitment);
}

struct Listening(std::cell::RefCell<Vec<Vec<u8>>>);

impl Executor for Listening {
    fn execute(&self, jobs: &[Job<'_>], _: &mut Done<'_>) -> Result<(), JobError> {
        let bytes = jobs.iter().map(|job| job.bytes.clone());
        self.0.borrow_mut().extend(bytes);
        Ok(())
    }
}

#[test]
fn jobs_that_are_none() {
    let secret = three_segments();
    let runs = runs(&secret, 1);
    let listening = Listening(std::cell::RefCell::default());
    let request = Request {
        visibility: hidden(),
        ..Request::of(&runs[0])
    };
    let all = proofs(&secret, &[request], &listening);
    assert!(matches!(all[0], Some(Err(JobError::Lost))));
    let jobs = listening.0.into_inner();
    let worker = Worker::new(1 << 20);
    let run = |job: &[u8]| worker.run(job, &mut progress::silent);
    assert!(
        matches!(run(&jobs[0]), Err(JobError::Segment(d)) if d == *secret.segments()[0].digest())
    );
    let files = secret.segments().iter().map(|s| s.to_bytes().unwrap());
    let files: Vec<Vec<u8>> = files.collect();
    let digest = worker.keep(&files[0]).unwrap();
    assert_eq!(digest, *secret.segments()[0].digest());
    // Whoever has another segment does not take the job for its own.
    let other = secret.segments()[1].run_job(&jobs[0], &mut progress::silent);
    assert!(matches!(other, Err(JobError::Segment(_))));
    let first = run(&jobs[0]).unwrap();
    // The same job, the same bytes but for the times.
    let (a, b) = (first.clone(), run(&jobs[0]).unwrap());
    assert_eq!(a[..a.len() - 32 - 56], b[..b.len() - 32 - 56]);
    for end in 0..jobs[0].len() {
        assert!(
            matches!(run(&jobs[0][..end]), Err(JobError::Decode(_))),
            "{end}"
        );
    }
    for end in 0..files[0].len() {
        let kept = worker.keep(&files[0][..end]);
        assert!(matches!(kept, Err(JobError::File(_))), "{end}");
    }
    // Sealed anew, whatever is in it: never a panic, and never what the honest job yields.
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let payload = |bytes: &[u8]| bytes[10..bytes.len() - 32].to_vec();
    for _ in 0..300 {
        let mut bent = payload(&jobs[0]);
        let at = rng.next_u32() as usize % bent.len();
        bent[at] ^= 1 << (rng.next_u32() % 8);
        let bent = zkinfer_circuits::card::seal(zkinfer_circuits::card::FileKind::Job, &bent);
        if let Ok(outcome) = run(&bent) {
            assert_ne!(outcome[..200], first[..200], "{at}");
        }
        let mut bent = payload(&files[1]);
        let at = rng.next_u32() as usize % bent.len();
        bent[at] ^= 1 << (rng.next_u32() % 8);
        let kind = zkinfer_circuits::card::FileKind::Segment;
        let _ = Worker::new(0).keep(&zkinfer_circuits::card::seal(kind, &bent));
    }
}

#[test]
fn workers_forget_what_nobody_asks_for() {
    let secret = three_segments();
    let files = secret.segments().iter().map(|s| s.to_bytes().unwrap());
    let files: Vec<Vec<u8>> = files.collect();
    let listening = Listening(std::cell::RefCell::default());
    let runs = runs(&secret, 1);
    proofs(&secret, &[Request::of(&runs[0])], &listening);
    let jobs = listening.0.into_inner();
    let worker = Worker::new(files[0].len() + files[1].len());
    let knows = |index: usize| {
        let result = worker.run(&jobs[index], &mut progress::silent);
        !matches!(result, Err(JobError::Segment(_)))
    };
    worker.keep(&files[0]).unwrap();
    worker.keep(&files[1]).unwrap();
    worker.keep(&files[1]).unwrap();
    assert!(knows(1) && knows(0));
    worker.keep(&files[2]).unwrap();
    assert!(!knows(1) && knows(0) && knows(2));
    // One that is too long by itself is kept nevertheless.
    let small = Worker::new(1);
    small.keep(&files[1]).unwrap();
    assert!(small.run(&jobs[1], &mut progress::silent).is_ok());
}
