//! What a log shows, believing none of it: every slip, promise, proof and piece of evidence in it is checked again.
//!
//! A log cannot say of a host what the host did not sign. It can leave out what its author does not want to be seen: it
//! shows what is in it.

use crate::client::Pinned;
use crate::log::{Event, Record};
use serde::Serialize;
use std::collections::HashMap;
use std::io::BufRead;
use thiserror::Error;
use zkinfer_slip::evidence::{Claim, Evidence, EvidenceError, Finding, proven};
use zkinfer_slip::{Promise, RunId, Slip};

/// Longest line of a log.
const LINE: u64 = 1 << 26;

/// Why a log is not one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// It cannot be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] std::io::Error),
    /// A line that is not what it says.
    #[error("line {line}: {reason}")]
    Line {
        /// Which one, counting from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// How many answers there are, and what has come of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Answers whose slip the host signed.
    pub answers: u64,
    /// Of these, whose proof was asked for.
    pub asked: u64,
    /// Of these, whose proof is valid.
    pub proven: u64,
    /// Of these, whose proof is not due yet.
    pub pending: u64,
    /// Of these, whose proof is due by now, and the log does not say that anybody looked for it.
    pub unfetched: u64,
    /// Of these, whose proof was promised, and not there in time.
    pub overdue: u64,
    /// Of these, whose proof was not promised.
    pub refused: u64,
    /// Of these, that a proof shows to be false.
    pub failed: u64,
    /// Answers that were not accepted.
    pub unbound: u64,
    /// What third parties confirm.
    pub confirmed: Vec<Confirmed>,
}

/// A finding of a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confirmed {
    /// Line of the log, counting from 1.
    pub line: usize,
    /// What it shows.
    #[serde(flatten)]
    pub finding: Finding,
    /// What shows it.
    pub evidence: Evidence,
}

impl Summary {
    /// Whether the host did all that it signed, as far as it was asked, and until now.
    pub fn is_clean(&self) -> bool {
        self.overdue + self.refused + self.failed + self.unbound == 0 && self.confirmed.is_empty()
    }
}

/// What is known of a run.
struct Run {
    slip: Slip,
    promised: Option<(Promise, Vec<u16>)>,
    settled: bool,
}

/// Reads a log, at a time.
///
/// # Errors
/// A line that cannot be read, or that says something of the host that it did not sign or that is not so.
pub fn audit(log: impl BufRead, pinned: &Pinned, now: u64) -> Result<Summary, AuditError> {
    Ok(read(log, pinned, now, true)?.end())
}

/// What a client has to know of a log that it goes on with.
pub(crate) struct Past {
    /// Promised proofs that are not settled, in the order of the log.
    pub pending: Vec<(Slip, Promise, Vec<u16>)>,
    /// The newest slip of each numbering.
    pub last: Vec<Slip>,
}

/// Reads a client's own log: signatures are checked, what it says of proofs is believed.
pub(crate) fn past(log: impl BufRead, pinned: &Pinned) -> Result<Past, AuditError> {
    let reading = read(log, pinned, zkinfer_slip::now(), false)?;
    let open = reading.runs.into_values().filter(|run| !run.settled);
    let mut open: Vec<_> = open
        .filter_map(|run| {
            run.promised
                .map(|(promise, input)| (run.slip, promise, input))
        })
        .collect();
    open.sort_by_key(|(slip, ..)| (slip.terms.time, slip.terms.sequence));
    Ok(Past {
        pending: open,
        last: reading.last.into_values().collect(),
    })
}

fn read(
    mut log: impl BufRead,
    pinned: &Pinned,
    now: u64,
    judges: bool,
) -> Result<Reading<'_>, AuditError> {
    let mut reading = Reading {
        pinned,
        now,
        judges,
        runs: HashMap::new(),
        last: HashMap::new(),
        summary: Summary::default(),
    };
    for line in 1.. {
        let mut text = Vec::new();
        let read = std::io::Read::take(&mut log, LINE).read_until(b'\n', &mut text)?;
        if read == 0 {
            break;
        }
        let wrong = |reason: String| AuditError::Line { line, reason };
        if text.last() != Some(&b'\n') {
            return Err(wrong(
                "it does not end: it is cut off, or too long; a client that was killed may leave such a line, which \
                 can be removed if it is the last"
                    .to_owned(),
            ));
        }
        let record: Record = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        reading.read(line, record.event).map_err(wrong)?;
    }
    Ok(reading)
}

struct Reading<'a> {
    pinned: &'a Pinned,
    now: u64,
    /// Whether proofs and evidence are judged, or believed.
    judges: bool,
    runs: HashMap<RunId, Run>,
    last: HashMap<zkinfer_slip::Series, Slip>,
    summary: Summary,
}

impl Reading<'_> {
    fn read(&mut self, line: usize, event: Event) -> Result<(), String> {
        match event {
            Event::Answered { slip } => self.answered(line, slip),
            Event::Unbound { evidence, .. } => {
                self.summary.unbound += 1;
                match evidence {
                    Some(evidence) => self.confirm(line, None, evidence),
                    None => Ok(()),
                }
            }
            Event::Asked { promise, input } => {
                promise
                    .check(&self.pinned.signer(&promise.terms.host))
                    .map_err(|e| e.to_string())?;
                let run = self.open(&promise.terms.run)?;
                if run.promised.is_some() || !promise.is_of(&run.slip) {
                    return Err("the promise is not of this run, or not the first one".to_owned());
                }
                run.promised = Some((promise, input));
                self.summary.asked += 1;
                Ok(())
            }
            Event::Refused { run, evidence } => {
                let known = self.open(&run)?;
                match &evidence.claim {
                    Claim::Unanswered { slip, .. } if *slip == known.slip => {}
                    _ => return Err("the complaint is not about this run".to_owned()),
                }
                known.settled = true;
                self.summary.asked += 1;
                self.summary.refused += 1;
                Ok(())
            }
            Event::Proven { run, proof } => {
                let known = open(&mut self.runs, &run)?;
                let (_, input) = known
                    .promised
                    .as_ref()
                    .ok_or("its proof was not asked for")?;
                if self.judges {
                    let verifier = &self.pinned.verifier;
                    let context = Some(known.slip.terms.context.0.as_slice());
                    let output = proven(&known.slip, input, &proof.0, verifier, context);
                    if output.map_err(|e| e.to_string())? != known.slip.terms.output {
                        return Err("the proof is of another output".to_owned());
                    }
                }
                known.settled = true;
                self.summary.proven += 1;
                Ok(())
            }
            Event::False { run, evidence } => {
                self.open(&run)?.settled = true;
                self.summary.failed += 1;
                self.confirm(line, Some(run), evidence)
            }
            Event::Overdue { run, evidence } => {
                self.open(&run)?.settled = true;
                self.summary.overdue += 1;
                self.confirm(line, Some(run), evidence)
            }
        }
    }

    fn answered(&mut self, line: usize, slip: Slip) -> Result<(), String> {
        slip.check(&self.pinned.signer(&slip.terms.host))
            .map_err(|e| e.to_string())?;
        let terms = &slip.terms;
        if terms.card != self.pinned.verifier.digest() {
            return Err(format!("the slip is of another card, {}", terms.card));
        }
        // Several clients may write into one log: its order is not that of the slips.
        let series = terms.series;
        let last = self.last.get(&series);
        if let Some(last) = last.filter(|last| last.contradicts(&slip)) {
            let claim = Claim::Contradiction {
                slip: last.clone(),
                other: slip.clone(),
            };
            self.confirm(line, None, claim.into())?;
        }
        let newest = |last: &Slip| last.terms.sequence < slip.terms.sequence;
        if self.last.get(&series).is_none_or(newest) {
            self.last.insert(series, slip.clone());
        }
        let run = Run {
            slip,
            promised: None,
            settled: false,
        };
        if self.runs.insert(run.slip.terms.run, run).is_some() {
            return Err("the run is there twice".to_owned());
        }
        self.summary.answers += 1;
        Ok(())
    }

    fn open(&mut self, run: &RunId) -> Result<&mut Run, String> {
        open(&mut self.runs, run)
    }

    /// Judges evidence, which has to be about this run.
    fn confirm(
        &mut self,
        line: usize,
        run: Option<RunId>,
        evidence: Evidence,
    ) -> Result<(), String> {
        let (Claim::FalseOutput { slip, .. }
        | Claim::Contradiction { slip, .. }
        | Claim::Overdue { slip, .. }
        | Claim::Unanswered { slip, .. }) = &evidence.claim;
        if run.is_some_and(|run| run != slip.terms.run) {
            return Err("the evidence is about another run".to_owned());
        }
        if !self.judges {
            return Ok(());
        }
        let verdict = self.pinned.judge(&evidence, self.now, None);
        let finding = verdict.map_err(|e: EvidenceError| e.to_string())?;
        self.summary.confirmed.push(Confirmed {
            line,
            finding,
            evidence,
        });
        Ok(())
    }

    /// What is promised and has not been settled is pending, or nobody has looked.
    fn end(mut self) -> Summary {
        for run in self.runs.values().filter(|r| !r.settled) {
            match &run.promised {
                Some((promise, _)) if promise.terms.due < self.now => self.summary.unfetched += 1,
                Some(_) => self.summary.pending += 1,
                None => {}
            }
        }
        self.summary
    }
}

/// A run whose outcome is not known.
fn open<'a>(runs: &'a mut HashMap<RunId, Run>, run: &RunId) -> Result<&'a mut Run, String> {
    let known = runs
        .get_mut(run)
        .ok_or_else(|| format!("there is no answer with the run {run} before"))?;
    match known.settled {
        true => Err(format!("the run {run} is settled already")),
        false => Ok(known),
    }
}
