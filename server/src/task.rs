//! From a request to a verdict.

use crate::api::App;
use crate::cache::{failed, verifier};
use crate::metrics::VerdictLabels;
use crate::problem::{Problem, status};
use crate::store::{ContextKey, now};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use group::GroupEncoding;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use utoipa::ToSchema;
use zkinfer::interface::Interface;
use zkinfer_circuits::C;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::receipt::{Outcome, Receipt, Refusal};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, Verifier, verify_many};

/// What is asked: is this proof right, for this model, with what I know?
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Digest of the model's card: the model that the caller asks about, whatever the proof says.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    card: Digest,
    /// The proof file, of one or several runs, in base64.
    #[schema(content_encoding = "base64")]
    proof: String,
    /// What the caller knows, one entry for each run. Left out, or a single entry with nothing in it: whatever the proof
    /// claims, and the receipt says what that is.
    #[schema(value_type = Option<Vec<ExpectedRun>>, max_items = 4096)]
    expected: Option<AtMost<ExpectedRun, 4096>>,
    /// The context (a nonce, a request id) that the proof must be bound to, in hexadecimal digits; none if left out.
    #[schema(pattern = "^([0-9a-fA-F]{2})*$")]
    context: Option<String>,
    /// The same as text, instead.
    context_text: Option<String>,
    /// Accept this context of this model once: a proof with it is refused from then on.
    #[serde(default)]
    once: bool,
}

/// What the caller knows of a run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRun {
    /// The input.
    input: Option<ExpectedSide>,
    /// The output.
    output: Option<ExpectedSide>,
}

/// An input or an output that the caller knows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedSide {
    /// Real numbers, one list for each tensor; the card says which integers stand for them.
    #[schema(value_type = Vec<Vec<f32>>, max_items = 1024)]
    Real(AtMost<Vec<f32>, 1024>),
    /// The integers of the statement, all tensors concatenated.
    Public(Vec<u16>),
    /// Commitments, compressed, in hexadecimal digits.
    #[schema(value_type = Vec<String>, max_items = 4096)]
    Committed(AtMost<String, 4096>),
}

/// Several questions at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The questions; they may be about different models.
    #[schema(value_type = Vec<VerifyRequest>, min_items = 1, max_items = 4096)]
    pub proofs: AtMost<VerifyRequest, 4096>,
}

/// A list that is refused while it is read if it gets too long: small elements take more memory than text.
#[derive(Debug)]
pub struct AtMost<T, const N: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = AtMost<T, N>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                write!(f, "a list of at most {N} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    if values.len() == N {
                        return Err(A::Error::custom(format!("more than {N} elements")));
                    }
                    values.push(value);
                }
                Ok(AtMost(values))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A question with its bytes decoded.
#[derive(Debug)]
struct Task {
    card: Digest,
    proof: Vec<u8>,
    expected: Vec<ExpectedRun>,
    context: Vec<u8>,
    once: bool,
}

/// A receipt, or why there is none.
pub type Answer = Result<Receipt, Problem>;

impl Task {
    fn new(request: VerifyRequest) -> Result<Task, Problem> {
        let proof = STANDARD
            .decode(&request.proof)
            .map_err(|e| Problem::malformed(format!("proof is not base64: {e}")))?;
        let context = match (request.context, request.context_text) {
            (Some(_), Some(_)) => {
                return Err(Problem::malformed(
                    "give the context as context or as context_text, not both",
                ));
            }
            (Some(hex), None) => unhex(&hex)
                .ok_or_else(|| Problem::malformed("context is not whole bytes in hexadecimal"))?,
            (None, Some(text)) => text.into_bytes(),
            (None, None) => Vec::new(),
        };
        if request.once && context.is_empty() {
            return Err(Problem::malformed(
                "once needs a context: without one, nothing tells two proofs apart",
            ));
        }
        Ok(Task {
            card: request.card,
            proof,
            expected: request
                .expected
                .map_or_else(|| vec![ExpectedRun::default()], |e| e.0),
            context,
            once: request.once,
        })
    }

    fn key(&self) -> ContextKey {
        ContextKey::new(&self.card, &self.context)
    }

    /// What the library is to expect.
    fn expected(&self, verifier: &Verifier) -> Result<Vec<Expected>, Problem> {
        let runs = verifier.limits().runs;
        if self.expected.len() > runs {
            return Err(Problem::statement(format!(
                "{} runs are expected, the limit is {runs}",
                self.expected.len()
            )));
        }
        let side = |side: &Option<ExpectedSide>, of: Of| {
            side.as_ref().map(|s| s.resolve(verifier, of)).transpose()
        };
        let run = |run: &ExpectedRun| {
            Ok(Expected {
                input: side(&run.input, Of::Input)?,
                output: side(&run.output, Of::Output)?,
                context: self.context.clone(),
            })
        };
        self.expected.iter().map(run).collect()
    }
}

#[derive(Clone, Copy)]
enum Of {
    Input,
    Output,
}

impl ExpectedSide {
    fn resolve(&self, verifier: &Verifier, of: Of) -> Result<Side, Problem> {
        match self {
            ExpectedSide::Public(values) => Ok(Side::Public(values.clone())),
            ExpectedSide::Real(AtMost(values)) => integers(verifier.card(), values, of),
            ExpectedSide::Committed(AtMost(points)) => {
                let limit = verifier.limits().columns;
                if points.len() > limit {
                    return Err(Problem::statement(format!(
                        "{} commitments are expected, the limit is {limit}",
                        points.len()
                    )));
                }
                let decode = |(i, hex): (usize, &String)| {
                    point(hex).ok_or_else(|| {
                        Problem::statement(format!(
                            "commitment {i} is no point of the curve, compressed, in 64 hexadecimal digits"
                        ))
                    })
                };
                let points: Result<Vec<C>, Problem> =
                    points.iter().enumerate().map(decode).collect();
                Ok(Side::Committed(points?))
            }
        }
    }
}

/// The integers that the card's scales give real numbers.
fn integers(card: &Card, values: &[Vec<f32>], of: Of) -> Result<Side, Problem> {
    let interface = Interface::from_card(card).map_err(|e| Problem::statement(e.to_string()))?;
    let bits = card.program.range_bits;
    let integers = match of {
        Of::Input => interface.quantize_inputs(values, bits),
        Of::Output => interface.quantize_outputs(values, bits),
    };
    integers
        .map(Side::Public)
        .map_err(|e| Problem::statement(e.to_string()))
}

fn point(hex: &str) -> Option<C> {
    let bytes: [u8; 32] = unhex(hex)?.try_into().ok()?;
    Option::from(C::from_bytes(&bytes))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |d: u8| char::from(d).to_digit(16).map(|d| d as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// The status of a receipt.
pub fn receipt_status(receipt: &Receipt) -> StatusCode {
    match &receipt.result {
        Outcome::Accepted { .. } => StatusCode::OK,
        Outcome::Rejected { class, code, .. } => status(*class, code),
    }
}

/// Answers one question.
pub async fn judge(app: &Arc<App>, request: VerifyRequest) -> Answer {
    let verifier = verifier(app, &request.card).await?;
    let shared = app.clone();
    let answer = app.proofs.run(move || {
        let task = Task::new(request)?;
        let expected = prepare(&shared, &verifier, &task)?;
        let receipt = verifier.receipt(&expected, &task.proof);
        settle(&shared, vec![(task, Ok(receipt))]).remove(0)
    });
    let answer = answer.await.unwrap_or_else(Err);
    count(app, &answer);
    answer
}

/// Answers several, in their order.
pub async fn judge_many(app: &Arc<App>, requests: Vec<VerifyRequest>) -> Result<Vec<Answer>, Problem> {
    let config = &app.config;
    if requests.is_empty() || requests.len() > config.batch_proofs {
        return Err(Problem::malformed(format!(
            "a batch has 1 to {} proofs, this one has {}",
            config.batch_proofs,
            requests.len()
        )));
    }
    let mut verifiers: HashMap<[u8; 32], Result<Arc<Verifier>, Problem>> = HashMap::new();
    for request in &requests {
        if verifiers.contains_key(&request.card.0) {
            continue;
        }
        if verifiers.len() == config.batch_cards {
            return Err(Problem::malformed(format!(
                "a batch has at most {} different cards",
                config.batch_cards
            )));
        }
        let verifier = verifier(app, &request.card).await;
        verifiers.insert(request.card.0, verifier);
    }
    app.metrics.batch.observe(requests.len() as f64);
    let shared = app.clone();
    let answers = app
        .proofs
        .run(move || check_many(&shared, &verifiers, requests))
        .await?;
    answers.iter().for_each(|answer| count(app, answer));
    Ok(answers)
}

fn check_many(
    app: &App,
    verifiers: &HashMap<[u8; 32], Result<Arc<Verifier>, Problem>>,
    requests: Vec<VerifyRequest>,
) -> Vec<Answer> {
    // Everything that can be said of a question by itself, or the proof that is to be checked with the others.
    let begin = |request: VerifyRequest| -> Result<(Task, &Verifier, Result<Candidate, Refusal>), Problem> {
        let verifier = match verifiers.get(&request.card.0) {
            Some(Ok(verifier)) => verifier,
            Some(Err(problem)) => return Err(problem.clone()),
            None => return Err(Problem::internal()),
        };
        let task = Task::new(request)?;
        let expected = prepare(app, verifier, &task)?;
        let candidate = verifier.candidate(&expected, &task.proof);
        Ok((task, verifier, candidate))
    };
    let mut open = Vec::new();
    let mut candidates = Vec::new();
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        answers.push(match begin(request) {
            Err(problem) => Some(Err(problem)),
            Ok((task, _, Err(refusal))) => {
                Some(Ok(Receipt::new(&task.card, &task.proof, &Err(refusal))))
            }
            Ok((task, verifier, Ok(candidate))) => {
                candidates.push((verifier, candidate));
                open.push((index, task));
                None
            }
        });
    }
    let results = verify_many(candidates, BatchOptions::default());
    let (indices, judged): (Vec<usize>, Vec<(Task, Answer)>) = open
        .into_iter()
        .zip(results)
        .map(|((index, task), result)| {
            let result = result.map_err(Refusal::from);
            let receipt = Receipt::new(&task.card, &task.proof, &result);
            (index, (task, Ok(receipt)))
        })
        .unzip();
    for (index, answer) in indices.into_iter().zip(settle(app, judged)) {
        answers[index] = Some(answer);
    }
    // Every question has an answer by now.
    let answered = |answer: Option<Answer>| answer.unwrap_or_else(|| Err(Problem::internal()));
    answers.into_iter().map(answered).collect()
}

/// What is expected; refuses a context that is used up before anything is checked.
fn prepare(app: &App, verifier: &Verifier, task: &Task) -> Result<Vec<Expected>, Problem> {
    if task.once {
        let used = app.store.is_used(&task.key(), now());
        if used.map_err(|e| failed(&e))? {
            return Err(replayed());
        }
    }
    task.expected(verifier)
}

/// Uses up the contexts of accepted proofs that asked for it. Of two that arrive together, one is accepted.
fn settle(app: &App, judged: Vec<(Task, Answer)>) -> Vec<Answer> {
    let accepted = |(task, answer): &(Task, Answer)| {
        task.once && answer.as_ref().is_ok_and(Receipt::is_accepted)
    };
    let keys: Vec<ContextKey> = judged
        .iter()
        .filter(|j| accepted(j))
        .map(|(task, _)| task.key())
        .collect();
    if keys.is_empty() {
        return judged.into_iter().map(|(_, answer)| answer).collect();
    }
    let now = now();
    let until = now.saturating_add(app.config.once_for.as_secs().max(1));
    let used = app.store.use_contexts(&keys, now, until);
    let used = used.map_err(|e| failed(&e));
    let mut fresh = used.as_ref().map(|f| f.iter());
    let settled = judged.into_iter().map(|judged| {
        if !accepted(&judged) {
            return judged.1;
        }
        match &mut fresh {
            Err(problem) => Err((*problem).clone()),
            Ok(fresh) if fresh.next() == Some(&true) => judged.1,
            Ok(_) => Err(replayed()),
        }
    });
    settled.collect()
}

fn replayed() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "replayed",
        "a proof with this context was accepted before, and its acceptance was asked for once",
    )
}

fn count(app: &App, answer: &Answer) {
    let code = match answer {
        Ok(receipt) => match &receipt.result {
            Outcome::Accepted { .. } => "accepted".to_owned(),
            Outcome::Rejected { code, .. } => code.to_string(),
        },
        Err(problem) => problem.code.to_owned(),
    };
    app.metrics.verdicts.get_or_create(&VerdictLabels { code }).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        assert_eq!(unhex(""), Some(vec![]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("é1"), None);
    }

    #[test]
    fn lists_are_bounded() {
        assert_eq!(serde_json::from_str::<AtMost<u8, 2>>("[1,2]").unwrap().0, [1, 2]);
        assert!(serde_json::from_str::<AtMost<u8, 2>>("[1,2,3]").is_err());
        assert!(serde_json::from_str::<AtMost<u8, 2>>("{}").is_err());
    }
}
