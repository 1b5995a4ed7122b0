//! Asking, checking what is signed, asking for proofs at random, verifying them.

mod answer;
mod pinned;
mod seen;

pub use pinned::{Pinned, PinnedError};

use crate::audit::{AuditError, past};
use crate::log::{Event, Log, LogError};
use crate::wire::{ANSWER, Token, Wire, WireError};
use rand_core::{CryptoRng, Rng};
use seen::Seen;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use zkinfer_circuits::statement::Side;
use zkinfer_interface::InterfaceError;
use zkinfer_slip::evidence::{Claim, Evidence, EvidenceError, ProofBytes, proven};
use zkinfer_slip::{Context, Promise, RunId, Slip, now};

/// Bytes of a context: nobody has chosen it before.
const CONTEXT: usize = 16;
/// Longest promise.
const PROMISE: u64 = 1 << 14;

/// The share of answers whose proof is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

/// No share.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("the rate of audits is {0}, and has to be from 0 to 1")]
pub struct RateError(pub f64);

impl Rate {
    /// From 0, never, to 1, always. `zkinfer_bench::economics::break_even_rate` says above which one lying does not
    /// pay.
    ///
    /// # Errors
    /// Anything else.
    pub fn new(share: f64) -> Result<Rate, RateError> {
        (0.0..=1.0)
            .contains(&share)
            .then_some(Rate(share))
            .ok_or(RateError(share))
    }

    /// Whether this one is asked about.
    pub fn draw(self, rng: &mut impl Rng) -> bool {
        // 53 bits, as a double has: below 1, so that 1 is always and 0 never.
        let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        uniform < self.0
    }
}

/// How a client behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The share of answers whose proof is asked for.
    pub rate: Rate,
    /// How far the host's clock may be off.
    pub clock_skew: Duration,
    /// How long after an answer its proof must be there to be asked for, at least.
    pub ask_for: Duration,
    /// How long a proof may take, at most.
    pub prove_within: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What a host that asks for tokens knows this client by: with the scopes `infer`, `prove` and `read`.
    pub token: Option<Token>,
}

impl Options {
    /// Half a minute for the clock, five minutes to ask in, an hour for a proof, two minutes for an answer.
    pub fn new(rate: Rate) -> Options {
        Options {
            rate,
            clock_skew: Duration::from_secs(30),
            ask_for: Duration::from_secs(300),
            prove_within: Duration::from_secs(3600),
            timeout: Duration::from_secs(120),
            token: None,
        }
    }
}

/// Why there is no answer, or none that is accepted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The input does not fit the card.
    #[error(transparent)]
    Input(#[from] InterfaceError),
    /// The host cannot be reached, or has no answer.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The answer does not bind the host to what it says.
    #[error("the answer is not accepted: {reason}")]
    Unbound {
        /// Why.
        reason: String,
        /// What shows it to others, if something does.
        evidence: Option<Box<Evidence>>,
    },
    /// The audit log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// An answer that binds the host.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The outputs, one list per tensor.
    pub outputs: Vec<Vec<f32>>,
    /// What the host signed.
    pub slip: Slip,
    /// What has come of asking for its proof; `None` if it was not drawn.
    pub audit: Option<Outcome>,
}

/// What has come of asking for a proof.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is promised.
    Pending {
        /// Until when.
        due: u64,
    },
    /// It is there, and valid.
    Proven,
    /// It shows that the answer is false.
    False(Box<Evidence>),
    /// It is not there in time, or what is there is no proof.
    Overdue(Box<Evidence>),
    /// It was not promised.
    Refused(Box<Evidence>),
}

/// Why a client cannot go on where one before it ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The audit log cannot be opened, or another client writes to it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The audit log is none of this card and this host.
    #[error("{path}: {error}")]
    Past {
        /// Which log.
        path: String,
        /// What is wrong with it.
        error: AuditError,
    },
}

/// A proof that was promised.
#[derive(Debug)]
struct Pending {
    slip: Slip,
    promise: Promise,
    input: Vec<u16>,
    /// Something that was handed out and is no proof of this.
    instead: Mutex<Option<Vec<u8>>>,
}

impl Pending {
    fn new(slip: Slip, promise: Promise, input: Vec<u16>) -> Arc<Pending> {
        Arc::new(Pending {
            slip,
            promise,
            input,
            instead: Mutex::new(None),
        })
    }
}

/// A client of one model of one host. Several threads may ask at the same time.
#[derive(Debug)]
pub struct Client<R> {
    wire: Wire,
    model: String,
    pinned: Pinned,
    options: Options,
    state: Mutex<State<R>>,
    /// Held by whoever settles, so that nothing is settled twice.
    settling: Mutex<()>,
}

/// What changes with every answer. Nobody waits for the host while holding it.
#[derive(Debug)]
struct State<R> {
    log: Log,
    rng: R,
    pending: Vec<Arc<Pending>>,
    seen: Seen,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a thread that panicked left is whole: every change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: CryptoRng> Client<R> {
    /// A client that knows what it pinned, and nothing of the host's past.
    pub fn new(
        url: &str,
        model: &str,
        pinned: Pinned,
        options: Options,
        log: Log,
        rng: R,
    ) -> Client<R> {
        Client {
            wire: Wire::new(url, options.timeout, options.token.clone()),
            model: model.to_owned(),
            pinned,
            options,
            state: Mutex::new(State {
                log,
                rng,
                pending: Vec::new(),
                seen: Seen::default(),
            }),
            settling: Mutex::new(()),
        }
    }

    /// A client that goes on where the one that wrote this log ended: with its pending proofs, and the last slip of each
    /// of the host's numberings. Makes a log if there is none. Nobody else writes to it meanwhile.
    ///
    /// Signatures are checked again; what the log says of proofs that are settled is believed, as it is its own.
    ///
    /// # Errors
    /// A log that cannot be read or written, that another client writes to, or that is of another card or host.
    pub fn resume(
        url: &str,
        model: &str,
        pinned: Pinned,
        options: Options,
        path: &Path,
        rng: R,
    ) -> Result<Client<R>, ResumeError> {
        let (log, reader) = Log::alone(path)?;
        let past = past(reader, &pinned).map_err(|error| ResumeError::Past {
            path: path.display().to_string(),
            error,
        })?;
        let client = Client::new(url, model, pinned, options, log, rng);
        let mut state = lock(&client.state);
        for slip in &past.last {
            // The newest of each numbering: there is nothing that it could contradict.
            let _ = state.seen.add(slip);
        }
        let pending = past.pending.into_iter();
        state.pending = pending
            .map(|(slip, promise, input)| Pending::new(slip, promise, input))
            .collect();
        drop(state);
        Ok(client)
    }

    /// Asks the pinned version of the model. Whether a proof of the answer is asked for is drawn when it is there, and
    /// checked.
    ///
    /// # Errors
    /// An input that the card cannot express, a host without an answer, an answer that does not bind the host. What it
    /// signed and what shows that it lied is in the log, and in the error.
    pub fn infer(&self, inputs: &[Vec<f32>]) -> Result<Answer, ClientError> {
        let card = self.pinned.verifier.card();
        let bits = card.range_bits();
        let input = self.pinned.interface.quantize_inputs(inputs, bits)?;
        let mut context = vec![0; CONTEXT];
        lock(&self.state).rng.fill_bytes(&mut context);
        let context = Context(context);
        let question = answer::question(&self.pinned.interface, inputs, &context);
        let version = self.pinned.verifier.digest();
        let model = answer::escape(&self.model);
        let path = format!("/v2/models/{model}/versions/{version}/infer");
        let sent = now();
        let bytes = self.wire.post(&path, &question, ANSWER)?;
        let asked = answer::Asked {
            input: Side::Public(input.clone()).digest(),
            context,
            sent,
            received: now(),
        };
        let checked = answer::check(&self.pinned, &self.options, &asked, &bytes);
        let (outputs, slip, drawn) = self.note(checked)?;
        let audit = match drawn {
            true => Some(self.ask(&slip, input)?),
            false => None,
        };
        Ok(Answer {
            outputs,
            slip,
            audit,
        })
    }

    /// Writes down an answer, if it contradicts none before, and draws whether its proof is asked for.
    fn note(
        &self,
        checked: Result<(Vec<Vec<f32>>, Slip), answer::Unbound>,
    ) -> Result<(Vec<Vec<f32>>, Slip, bool), ClientError> {
        let mut state = lock(&self.state);
        let State { log, rng, seen, .. } = &mut *state;
        let checked = checked.and_then(|(outputs, slip)| seen.add(&slip).map(|()| (outputs, slip)));
        match checked {
            Ok((outputs, slip)) => {
                log.write(&Event::Answered { slip: slip.clone() })?;
                let drawn = self.options.rate.draw(rng);
                Ok((outputs, slip, drawn))
            }
            Err((reason, evidence)) => {
                log.write(&Event::Unbound {
                    reason: reason.clone(),
                    evidence: evidence.as_deref().cloned(),
                })?;
                Err(ClientError::Unbound { reason, evidence })
            }
        }
    }

    /// Asks for the proof of an answer.
    fn ask(&self, slip: &Slip, input: Vec<u16>) -> Result<Outcome, ClientError> {
        let path = format!("/v1/runs/{}/prove", slip.terms.run);
        let mut said = String::new();
        // Whoever has too much to do may ask for patience, once.
        for attempt in 0..2 {
            match self.wire.post(&path, b"", PROMISE) {
                Ok(bytes) => match self.promised(slip, &bytes) {
                    Ok(promise) => {
                        let due = promise.terms.due;
                        let mut state = lock(&self.state);
                        state.log.write(&Event::Asked {
                            promise: promise.clone(),
                            input: input.clone(),
                        })?;
                        state
                            .pending
                            .push(Pending::new(slip.clone(), promise, input));
                        return Ok(Outcome::Pending { due });
                    }
                    Err(reason) => said = reason,
                },
                Err(error) => {
                    said = error.to_string();
                    if error.may_pass() && attempt == 0 {
                        std::thread::sleep(Duration::from_secs(1));
                        continue;
                    }
                }
            }
            break;
        }
        let slip = slip.clone();
        let run = slip.terms.run;
        let evidence = Evidence::from(Claim::Unanswered { slip, said });
        lock(&self.state).log.write(&Event::Refused {
            run,
            evidence: evidence.clone(),
        })?;
        Ok(Outcome::Refused(Box::new(evidence)))
    }

    /// A promise out of an answer, if it promises what the slip does.
    fn promised(&self, slip: &Slip, bytes: &[u8]) -> Result<Promise, String> {
        let promise: Promise =
            serde_json::from_slice(bytes).map_err(|e| format!("no promise: {e}"))?;
        promise
            // With the key of the slip, also where the host has gone over to another one meanwhile.
            .check(&slip.terms.host)
            .map_err(|e| e.to_string())?;
        if !promise.is_of(slip) {
            return Err("the promise is of another run".to_owned());
        }
        let latest = now().saturating_add(answer::millis(self.options.clock_skew));
        if promise.terms.due > latest.saturating_add(slip.terms.prove_within) {
            return Err("the promise is due later than the slip allows".to_owned());
        }
        Ok(promise)
    }

    /// Fetches promised proofs and verifies them; what has come of each, those that are still pending aside.
    ///
    /// # Errors
    /// If the log cannot be written. A host that cannot be reached has until its proofs are due.
    pub fn settle(&self) -> Result<Vec<(RunId, Outcome)>, ClientError> {
        let _alone = lock(&self.settling);
        let open = lock(&self.state).pending.clone();
        let mut outcomes = Vec::new();
        for pending in open {
            let run = pending.slip.terms.run;
            if let Some((event, outcome)) = self.look(&pending) {
                let mut state = lock(&self.state);
                state.log.write(&event)?;
                state.pending.retain(|p| !Arc::ptr_eq(p, &pending));
                outcomes.push((run, outcome));
            }
        }
        Ok(outcomes)
    }

    /// Promised proofs that have not been settled.
    pub fn pending(&self) -> usize {
        lock(&self.state).pending.len()
    }

    /// What was pinned.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// What was pinned, for whoever needs the client no more.
    pub fn into_pinned(self) -> Pinned {
        self.pinned
    }

    /// Looks for one proof; `None` while there is none, and time is left.
    fn look(&self, pending: &Pending) -> Option<(Event, Outcome)> {
        let Pending {
            slip,
            promise,
            input,
            instead,
        } = pending;
        let run = slip.terms.run;
        let limit = self.pinned.verifier.limits().proof_bytes as u64;
        if let Ok(bytes) = self.wire.get(&format!("/v1/runs/{run}/proof"), limit) {
            let verifier = &self.pinned.verifier;
            let same_context = Some(slip.terms.context.0.as_slice());
            match proven(slip, input, &bytes, verifier, same_context) {
                Ok(output) if output == slip.terms.output => {
                    let proof = ProofBytes(bytes);
                    return Some((Event::Proven { run, proof }, Outcome::Proven));
                }
                Ok(_) => {
                    let evidence = Evidence::from(Claim::FalseOutput {
                        slip: slip.clone(),
                        input: input.clone(),
                        proof: ProofBytes(bytes),
                    });
                    let event = Event::False {
                        run,
                        evidence: evidence.clone(),
                    };
                    return Some((event, Outcome::False(Box::new(evidence))));
                }
                Err(EvidenceError::Proof(_) | EvidenceError::Hidden) => {
                    *lock(instead) = Some(bytes)
                }
                Err(_) => {}
            }
        }
        if now() <= promise.terms.due {
            return None;
        }
        let evidence = Evidence::from(Claim::Overdue {
            slip: slip.clone(),
            promise: promise.clone(),
            input: input.clone(),
            instead: lock(instead).take().map(ProofBytes),
        });
        let event = Event::Overdue {
            run,
            evidence: evidence.clone(),
        };
        Some((event, Outcome::Overdue(Box::new(evidence))))
    }
}
