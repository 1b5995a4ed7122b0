//! From a request to a verdict.

use crate::api::App;
use crate::ask::{Task, VerifyRequest};
use crate::cache::{failed, verifier};
use crate::metrics::VerdictLabels;
use crate::problem::{Problem, status};
use crate::store::{ContextKey, now};
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::Arc;
use zkinfer_circuits::receipt::{Outcome, Receipt, Refusal};
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, Verifier, verify_many};

/// A receipt, or why there is none.
pub type Answer = Result<Receipt, Problem>;

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
        let (expected, key) = prepare(&shared, &verifier, &task)?;
        let receipt = verifier.receipt(&expected, &task.proof);
        let mut settled = settle(&shared, vec![(key, receipt)]);
        // One in, one out.
        settled.pop().unwrap_or_else(|| Err(Problem::internal()))
    });
    let answer = answer.await.unwrap_or_else(Err);
    count(app, &answer);
    answer
}

/// Answers several, in their order.
pub async fn judge_many(
    app: &Arc<App>,
    requests: Vec<VerifyRequest>,
) -> Result<Vec<Answer>, Problem> {
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
    let mut open = Vec::new();
    let mut candidates = Vec::new();
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        answers.push(match begin(app, verifiers, request) {
            Err(problem) => Some(Err(problem)),
            Ok(begun) => match begun.candidate {
                Err(refusal) => {
                    let (card, proof) = (&begun.task.card, &begun.task.proof);
                    Some(Ok(Receipt::new(card, proof, &Err(refusal))))
                }
                Ok(candidate) => {
                    candidates.push((begun.verifier, candidate));
                    open.push((index, begun.task, begun.key));
                    None
                }
            },
        });
    }
    let results = verify_many(candidates, BatchOptions::default());
    let (indices, judged): (Vec<usize>, Vec<_>) = open
        .into_iter()
        .zip(results)
        .map(|((index, task, key), result)| {
            let result = result.map_err(Refusal::from);
            let receipt = Receipt::new(&task.card, &task.proof, &result);
            (index, (key, receipt))
        })
        .unzip();
    for (index, answer) in indices.into_iter().zip(settle(app, judged)) {
        answers[index] = Some(answer);
    }
    // Every question has an answer by now.
    let answered = |answer: Option<Answer>| answer.unwrap_or_else(|| Err(Problem::internal()));
    answers.into_iter().map(answered).collect()
}

/// A question of a batch about which nothing can be said without looking at its proof.
struct Begun<'v> {
    task: Task,
    verifier: &'v Verifier,
    key: Option<ContextKey>,
    candidate: Result<Candidate, Refusal>,
}

fn begin<'v>(
    app: &App,
    verifiers: &'v HashMap<[u8; 32], Result<Arc<Verifier>, Problem>>,
    request: VerifyRequest,
) -> Result<Begun<'v>, Problem> {
    let verifier = match verifiers.get(&request.card.0) {
        Some(Ok(verifier)) => verifier,
        Some(Err(problem)) => return Err(problem.clone()),
        None => return Err(Problem::internal()),
    };
    let task = Task::new(request)?;
    let (expected, key) = prepare(app, verifier, &task)?;
    let candidate = verifier.candidate(&expected, &task.proof);
    Ok(Begun {
        task,
        verifier,
        key,
        candidate,
    })
}

/// What is expected; refuses a context that is used up before anything is checked.
fn prepare(
    app: &App,
    verifier: &Verifier,
    task: &Task,
) -> Result<(Vec<Expected>, Option<ContextKey>), Problem> {
    let (expected, key) = task.expected(verifier)?;
    if let Some(key) = &key {
        let used = app.store.is_used(key, now());
        if used.map_err(|e| failed(&e))? {
            return Err(replayed());
        }
    }
    Ok((expected, key))
}

/// Uses up the contexts of accepted proofs that asked for it. Of two that arrive together, one is accepted.
fn settle(app: &App, judged: Vec<(Option<ContextKey>, Receipt)>) -> Vec<Answer> {
    let asked =
        |(key, receipt): &(Option<ContextKey>, Receipt)| key.filter(|_| receipt.is_accepted());
    let keys: Vec<ContextKey> = judged.iter().filter_map(asked).collect();
    if keys.is_empty() {
        return judged.into_iter().map(|(_, receipt)| Ok(receipt)).collect();
    }
    let now = now();
    let until = now.saturating_add(app.config.once_for.as_secs().max(1));
    let used = app.store.use_contexts(&keys, now, until);
    let used = used.map_err(|e| failed(&e));
    let mut fresh = used.as_ref().map(|fresh| fresh.iter());
    let settled = judged.into_iter().map(|judged| match &mut fresh {
        _ if asked(&judged).is_none() => Ok(judged.1),
        Err(problem) => Err(Problem::clone(problem)),
        Ok(fresh) => match fresh.next() {
            Some(true) => Ok(judged.1),
            _ => Err(replayed()),
        },
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
    app.metrics
        .verdicts
        .get_or_create(&VerdictLabels { code })
        .inc();
}
