//! From a request to a verdict.

use crate::api::App;
use crate::ask::{Task, VerifyRequest};
use crate::cache::{Model, failed, model};
use crate::metrics::VerdictLabels;
use crate::store::{ContextKey, Store, now};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::receipt::{Class, Outcome, Receipt, Refusal, StatedSide};
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, verify_many};
use zkinfer_http::body::Share;
use zkinfer_http::lane::Stop;
use zkinfer_http::problem::{Problem, status};
use zkinfer_interface::{RealReceipt, with_reals};

/// A receipt, or why there is none.
pub type Answer = Result<RealReceipt, Problem>;

/// The models that a batch is about.
type Models = HashMap<[u8; 32], Result<Arc<Model>, Problem>>;

/// Proofs of a batch that are looked at before it is asked again whether anybody waits.
const CHUNK: usize = 32;

/// Digits in base64 that say of how many runs a proof is, however long its context.
const HEAD: usize = 6000;

/// The status of a receipt.
pub fn receipt_status(receipt: &RealReceipt) -> StatusCode {
    match &receipt.result {
        Outcome::Accepted { .. } => StatusCode::OK,
        Outcome::Rejected { class, code, .. } => status(*class, code),
    }
}

/// Answers one question; what the answer takes is added to what the question does.
pub async fn judge(
    app: &Arc<App>,
    client: IpAddr,
    request: VerifyRequest,
    held: &mut Share,
) -> Answer {
    let model = model(app, client, &request.card).await?;
    let answer = check_one(app, client, model, request, held).await;
    count(app, &answer);
    answer
}

async fn check_one(
    app: &Arc<App>,
    client: IpAddr,
    model: Arc<Model>,
    request: VerifyRequest,
    held: &mut Share,
) -> Answer {
    let cost = cost(&model, &request);
    // By the estimate alone; what was learned counts when it is known of how many runs the proof is.
    let (least, most) = (model.cost.estimated(1), app.config.job_timeout);
    if least > most {
        return Err(too_costly(least, most));
    }
    let shared = app.clone();
    let mut room = app.memory.share(client);
    let job = move |stop: &Stop| {
        if stop.is_due() {
            return Err(late());
        }
        let begun = begin(&shared, &model, request, &mut room)?;
        let receipt = check_begun(&begun);
        let mut settled = settle(
            &shared.store,
            shared.config.once_for,
            vec![(begun.key, receipt)],
            stop,
        );
        // One in, one out.
        let receipt = settled.pop().unwrap_or_else(|| Err(Problem::internal()))?;
        Ok((receipt, room))
    };
    let asking = app.asking(client, cost);
    let (receipt, room) = app.lane(cost).run(asking, job).await??;
    held.join(room);
    Ok(receipt)
}

fn check_begun(begun: &Begun<'_>) -> RealReceipt {
    let verifier = &begun.model.verifier;
    let start = Instant::now();
    let result = match &begun.candidate {
        Err(refusal) => Err(refusal.clone()),
        Ok(candidate) => verifier
            .verify_runs(&candidate.expected, &candidate.proof)
            .map_err(Refusal::from),
    };
    if let Ok(candidate) = &begun.candidate {
        learn(begun.model, candidate, &result, start.elapsed());
    }
    begun.receipt(&result)
}

/// Takes note of what a proof took. One that was refused before all of it was looked at says nothing, unless it took longer
/// than is believed.
fn learn<T>(model: &Model, candidate: &Candidate, result: &Result<T, Refusal>, took: Duration) {
    let looked_at = match result {
        Ok(_) => true,
        Err(refusal) => refusal.class() == Class::InvalidProof,
    };
    let runs = runs(candidate);
    if looked_at || took > model.cost.runs(runs) {
        model.cost.learn(runs, took);
    }
}

fn runs(candidate: &Candidate) -> usize {
    candidate.proof.runs.len()
}

/// What a question is thought to take, from the beginning of its file.
fn cost(model: &Model, request: &VerifyRequest) -> Duration {
    let proof = request.proof.as_bytes();
    let bytes = proof.len() / 4 * 3;
    let head = STANDARD.decode(&proof[..proof.len().min(HEAD)]);
    let runs = head.ok().and_then(|head| Proof::runs_of(&head));
    // One that is too long, or of too many, is refused at once.
    let limits = model.verifier.limits();
    let fits = |runs: &usize| bytes <= limits.proof_bytes && *runs <= limits.runs;
    model.cost.runs(runs.filter(fits).unwrap_or(1))
}

/// Whether a question about so many runs may take as long as it will.
fn affordable(app: &App, model: &Model, runs: usize) -> Result<(), Problem> {
    let most = app.config.job_timeout;
    if model.cost.is_within(runs, most, now()) {
        return Ok(());
    }
    Err(too_costly(model.cost.runs(runs), most))
}

fn too_costly(cost: Duration, most: Duration) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "too_costly",
        format!(
            "this would take about {cost:.1?}, the limit is {most:?}: send fewer runs or proofs"
        ),
    )
}

fn late() -> Problem {
    Problem::timeout("there was no result in time; try again with fewer proofs")
}

/// Answers several, in their order; what the answers take is added to what the questions do.
pub async fn judge_many(
    app: &Arc<App>,
    client: IpAddr,
    requests: Vec<VerifyRequest>,
    held: &mut Share,
) -> Result<Vec<Answer>, Problem> {
    let config = &app.config;
    if requests.is_empty() || requests.len() > config.batch_proofs {
        return Err(Problem::malformed(format!(
            "a batch has 1 to {} proofs, this one has {}",
            config.batch_proofs,
            requests.len()
        )));
    }
    let mut models: Models = HashMap::new();
    for request in &requests {
        if models.contains_key(&request.card.0) {
            continue;
        }
        if models.len() == config.batch_cards {
            return Err(Problem::malformed(format!(
                "a batch has at most {} different cards",
                config.batch_cards
            )));
        }
        let model = model(app, client, &request.card).await;
        models.insert(request.card.0, model);
    }
    let costs = requests
        .iter()
        .map(|request| match models.get(&request.card.0) {
            Some(Ok(model)) => cost(model, request),
            _ => Duration::ZERO,
        });
    // Together they take a part of what they take one by one: what is learned is of single ones, and that is no harm.
    let cost = costs.fold(Duration::ZERO, Duration::saturating_add);
    app.metrics.batch.observe(requests.len() as f64);
    let shared = app.clone();
    let mut room = app.memory.share(client);
    let job = move |stop: &Stop| {
        let answers = check_many(&shared, &models, requests, &mut room, stop);
        (answers, room)
    };
    let asking = app.asking(client, cost.min(config.job_timeout));
    let (answers, room) = app.lane(cost).run(asking, job).await?;
    held.join(room);
    answers.iter().for_each(|answer| count(app, answer));
    Ok(answers)
}

/// Checks a batch in chunks. What there is no time for has no verdict.
fn check_many(
    app: &App,
    models: &Models,
    requests: Vec<VerifyRequest>,
    room: &mut Share,
    stop: &Stop,
) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter().peekable();
    while requests.peek().is_some() {
        let chunk: Vec<VerifyRequest> = requests.by_ref().take(CHUNK).collect();
        if stop.is_due() {
            answers.extend(chunk.iter().map(|_| Err(late())));
        } else {
            answers.extend(check_chunk(app, models, chunk, room, stop));
        }
    }
    answers
}

fn check_chunk(
    app: &App,
    models: &Models,
    requests: Vec<VerifyRequest>,
    room: &mut Share,
    stop: &Stop,
) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
    let mut open = Vec::new();
    for (index, request) in requests.into_iter().enumerate() {
        if stop.is_due() {
            answers.push(Some(Err(late())));
            continue;
        }
        answers.push(match open_one(app, models, request, room) {
            Err(problem) => Some(Err(problem)),
            Ok(begun) => match &begun.candidate {
                Err(refusal) => Some(Ok(begun.receipt(&Err(refusal.clone())))),
                Ok(_) => {
                    open.push((index, begun));
                    None
                }
            },
        });
    }
    let mut judged = Vec::with_capacity(open.len());
    let mut open = open.into_iter().peekable();
    while open.peek().is_some() {
        let group = together(&mut open, app.config.long, |(_, begun)| begun.cost());
        if stop.is_due() {
            for (index, _) in group {
                answers[index] = Some(Err(late()));
            }
            continue;
        }
        judged.extend(check_group(group));
    }
    let (indices, judged): (Vec<usize>, Vec<_>) = judged.into_iter().unzip();
    for (index, answer) in
        indices
            .into_iter()
            .zip(settle(&app.store, app.config.once_for, judged, stop))
    {
        answers[index] = Some(answer);
    }
    // Every question has an answer by now.
    let answered = |answer: Option<Answer>| answer.unwrap_or_else(|| Err(Problem::internal()));
    answers.into_iter().map(answered).collect()
}

/// Those that are checked together, of all that are left: as many as take no longer than `most`, so that there is an end
/// between dear ones, but one at least.
fn together<T>(
    left: &mut Peekable<impl Iterator<Item = T>>,
    most: Duration,
    cost: impl Fn(&T) -> Duration,
) -> Vec<T> {
    let mut group: Vec<T> = left.next().into_iter().collect();
    let mut sum = group.iter().map(&cost).sum::<Duration>();
    while let Some(next) = left.next_if(|next| sum.saturating_add(cost(next)) <= most) {
        sum = sum.saturating_add(cost(&next));
        group.push(next);
    }
    group
}

/// Checks proofs together.
fn check_group(group: Vec<(usize, Begun<'_>)>) -> Vec<(usize, (Option<ContextKey>, RealReceipt))> {
    let candidates = group.iter().filter_map(|(_, begun)| {
        let candidate = begun.candidate.clone().ok()?;
        Some((&begun.model.verifier, candidate))
    });
    let results: Vec<_> = verify_many(candidates, BatchOptions::default()).collect();
    group
        .into_iter()
        .zip(results)
        .map(|((index, begun), result)| {
            let receipt = begun.receipt(&result.map_err(Refusal::from));
            (index, (begun.key, receipt))
        })
        .collect()
}

/// A question about which nothing can be said without looking at its proof.
struct Begun<'m> {
    model: &'m Model,
    task: Task,
    key: Option<ContextKey>,
    stated: Vec<Vec<StatedSide>>,
    candidate: Result<Candidate, Refusal>,
}

impl Begun<'_> {
    fn receipt(
        &self,
        result: &Result<Vec<zkinfer_circuits::verify::Verdict>, Refusal>,
    ) -> RealReceipt {
        let receipt = Receipt::new(&self.task.card, &self.task.proof, &self.stated, result);
        with_reals(receipt, self.model.interface.as_ref().ok())
    }

    fn cost(&self) -> Duration {
        self.model
            .cost
            .runs(self.candidate.as_ref().map_or(1, runs))
    }
}

fn open_one<'m>(
    app: &App,
    models: &'m Models,
    request: VerifyRequest,
    room: &mut Share,
) -> Result<Begun<'m>, Problem> {
    let model = match models.get(&request.card.0) {
        Some(Ok(model)) => model,
        Some(Err(problem)) => return Err(problem.clone()),
        None => return Err(Problem::internal()),
    };
    begin(app, model, request, room)
}

/// Decodes a question; refuses a context that is used up, and takes the room for the receipt, before anything is checked.
fn begin<'m>(
    app: &App,
    model: &'m Model,
    request: VerifyRequest,
    room: &mut Share,
) -> Result<Begun<'m>, Problem> {
    let task = Task::new(request)?;
    let (expected, key): (Vec<Expected>, _) = task.expected(model)?;
    if let Some(key) = &key {
        let used = app.store.is_used(key, now());
        if used.map_err(|e| failed(&e))? {
            return Err(replayed());
        }
    }
    let candidate = model.verifier.candidate(&expected, &task.proof);
    if let Ok(candidate) = &candidate {
        affordable(app, model, runs(candidate))?;
        let receipt = model.receipt(runs(candidate));
        // What a client never has is not to be asked for again.
        if receipt > room.of_client().saturating_sub(room.bytes()) {
            return Err(Problem::too_large(
                "what the receipts take",
                room.of_client(),
            ));
        }
        room.grow(receipt)?;
    }
    Ok(Begun {
        model,
        stated: StatedSide::of(&expected),
        task,
        key,
        candidate,
    })
}

/// Uses up the contexts of accepted proofs that asked for it. Of two that arrive together, one is accepted; of what nobody
/// waits for any more, none is: nobody would know.
fn settle(
    store: &Store,
    once_for: Duration,
    judged: Vec<(Option<ContextKey>, RealReceipt)>,
    stop: &Stop,
) -> Vec<Answer> {
    let asked =
        |(key, receipt): &(Option<ContextKey>, RealReceipt)| key.filter(|_| receipt.is_accepted());
    let keys: Vec<ContextKey> = judged.iter().filter_map(asked).collect();
    if keys.is_empty() {
        return judged.into_iter().map(|(_, receipt)| Ok(receipt)).collect();
    }
    if stop.is_alone() {
        return judged.iter().map(|_| Err(late())).collect();
    }
    let now = now();
    let until = now.saturating_add(once_for.as_secs().max(1));
    let used = store.use_contexts(&keys, now, until);
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

#[cfg(test)]
mod tests;
