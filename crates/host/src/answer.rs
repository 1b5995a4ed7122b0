//! From a request to a signed answer.

use crate::api::{App, DECODED};
use crate::config::ProofMode;
use crate::models::Model;
use crate::serve::behind;
use crate::store::{Record, State, StoreError};
use crate::tensors::{self, Answer};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use rand_core::Rng;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zkinfer::Run;
use zkinfer::interface::Interface;
use zkinfer_http::access::{Granted, Scope};
use zkinfer_http::body::Received;
use zkinfer_http::download::hold;
use zkinfer_http::lane::{Asking, aside};
use zkinfer_http::problem::Problem;
use zkinfer_slip::{Context, Promise, RunId, Slip};

/// How long the JSON part of a body is, if bytes follow it.
pub const HEADER_LENGTH: &str = "inference-header-content-length";
/// Bytes of a context that the host chooses.
const CONTEXT: usize = 16;

/// How often whoever waits for a proof looks whether it is there.
const LOOK: Duration = Duration::from_millis(250);

/// A run, and what was asked of it.
struct Ran {
    run: Run,
    request: tensors::Request,
    wanted: Vec<(usize, bool)>,
    integers: Option<bool>,
}

/// What is known of a proof when the answer is given.
#[derive(Default)]
struct Proving {
    promise: Option<Promise>,
    proof: Option<Vec<u8>>,
}

/// The protocol's answer.
#[derive(Serialize)]
struct Body<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    parameters: Ours,
    outputs: Vec<Answer<'a>>,
}

/// What is ours in it. The protocol has no objects here, so they are JSON in strings.
#[derive(Serialize)]
struct Ours {
    zkinfer_run: RunId,
    zkinfer_slip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zkinfer_promise: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zkinfer_proof: Option<String>,
}

/// Answers a request.
pub async fn answer(
    app: &Arc<App>,
    model: &Arc<Model>,
    (client, granted): (IpAddr, Option<Granted>),
    header: Option<usize>,
    body: Received,
) -> Result<Response, Problem> {
    let Received { bytes, mut share } = body;
    share.grow(
        header
            .unwrap_or(bytes.len())
            .min(bytes.len())
            .saturating_mul(DECODED),
    )?;
    let asking = Asking {
        client,
        cost: model.pace(),
        limit: app.config.request_timeout,
    };
    let (own, served) = (app.clone(), model.clone());
    let (ran, share) = app
        .lane
        .run(asking, move |_| {
            let ran = run(&own, &served, granted.as_ref(), &bytes, header);
            (ran, share)
        })
        .await?;
    let ran = ran?;
    let parameters = &ran.request.parameters;
    let mode = parameters.proof.unwrap_or(app.config.proof);
    let context = parameters.context.clone().unwrap_or_else(|| {
        let mut bytes = vec![0; CONTEXT];
        zkinfer::rng().fill_bytes(&mut bytes);
        Context(bytes)
    });
    let slip = app.ledger.slip(model.digest, &ran.run, context);
    let promise = match mode {
        ProofMode::None => None,
        ProofMode::Later | ProofMode::Now => {
            Some(app.ledger.promise(&slip).ok_or_else(Problem::internal)?)
        }
    };
    let record = Record {
        slip: slip.clone(),
        input: ran.run.input().to_vec(),
    };
    // Before anybody has the slip.
    let (own, promised) = (app.clone(), promise.clone());
    let finished = app.bell.finished();
    aside(move || own.store.insert(record, promised))
        .await?
        .map_err(|e| store_problem(&e))?;
    app.metrics.answers.inc();
    let mut proving = Proving {
        promise,
        proof: None,
    };
    if proving.promise.is_some() {
        app.metrics.promises.inc();
        app.bell.ring();
    }
    if mode == ProofMode::Now {
        proving.proof = wait(app, slip.terms.run, finished).await?;
    }
    Ok(hold(respond(model, &ran, &slip, proving)?, share))
}

fn run(
    app: &App,
    model: &Model,
    granted: Option<&Granted>,
    bytes: &[u8],
    header: Option<usize>,
) -> Result<Ran, Problem> {
    let (request, binary) = tensors::read(bytes, header)?;
    // What the host proves of its own accord, whoever asks, is its own affair.
    let asks = matches!(
        request.parameters.proof,
        Some(ProofMode::Later | ProofMode::Now)
    );
    if let Some(granted) = granted.filter(|_| asks) {
        granted.need(Scope::Prove)?;
    }
    let mode = request.parameters.proof.unwrap_or(app.config.proof);
    if behind(app, mode).map_err(|e| store_problem(&e))? {
        return Err(Problem::overloaded(
            "so many proofs are promised that another one might be late",
        ));
    }
    let Interface {
        inputs, outputs, ..
    } = &model.interface;
    let (wanted, integers) = request.wanted(outputs)?;
    let inputs = request.inputs(inputs, binary)?;
    let start = Instant::now();
    let run = model.secret.infer(&inputs).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "unusable_input", error.to_string())
    })?;
    let took = start.elapsed();
    model.took(took);
    app.metrics.run_seconds.observe(took.as_secs_f64());
    Ok(Ran {
        run,
        request,
        wanted,
        integers,
    })
}

/// Waits until a proof is there, or the answer has to be given.
async fn wait(
    app: &Arc<App>,
    run: RunId,
    mut finished: tokio::sync::watch::Receiver<u64>,
) -> Result<Option<Vec<u8>>, Problem> {
    let look = || async {
        let own = app.clone();
        aside(move || own.store.proof(&run))
            .await?
            .map_err(|e| store_problem(&e))
    };
    let there = async {
        loop {
            if let Some(proof) = look().await? {
                return Ok(Some(proof));
            }
            // Another host that shares the store may have made it.
            let changed = tokio::time::timeout(LOOK, finished.changed()).await;
            if let Ok(Err(_)) = changed {
                return Ok(None);
            }
        }
    };
    let patience = app.config.request_timeout.mul_f64(0.75);
    tokio::time::timeout(patience, there)
        .await
        .unwrap_or(Ok(None))
}

fn respond(model: &Model, ran: &Ran, slip: &Slip, proving: Proving) -> Result<Response, Problem> {
    let mut binary = Vec::new();
    let mut outputs = Vec::with_capacity(ran.wanted.len());
    for &(at, as_bytes) in &ran.wanted {
        let (tensor, values) = (&model.interface.outputs[at], &ran.run.outputs()[at]);
        outputs.push(Answer::real(tensor, values, as_bytes, &mut binary));
    }
    if let Some(as_bytes) = ran.integers {
        outputs.push(Answer::integers(ran.run.output(), as_bytes, &mut binary));
    }
    let body = Body {
        model_name: &model.name,
        model_version: model.digest.to_string(),
        id: ran.request.id.as_deref(),
        parameters: Ours {
            zkinfer_run: slip.terms.run,
            zkinfer_slip: text(slip)?,
            zkinfer_promise: proving.promise.as_ref().map(text).transpose()?,
            zkinfer_proof: proving
                .proof
                .map(|p| base64::engine::general_purpose::STANDARD.encode(p)),
        },
        outputs,
    };
    let mut bytes = serde_json::to_vec(&body).map_err(|_| Problem::internal())?;
    if binary.is_empty() {
        let kind = (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        return Ok(([kind], bytes).into_response());
    }
    let length = HeaderValue::from(bytes.len());
    bytes.append(&mut binary);
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (HeaderName::from_static(HEADER_LENGTH), length),
    ];
    Ok((headers, bytes).into_response())
}

/// The answer where the store does not do what it should.
pub fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Full { .. } => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "store_full",
            error.to_string(),
        ),
        error => {
            tracing::error!(%error, "the store failed");
            Problem::internal()
        }
    }
}

/// Promises the proof of a run, or says why not; whether it was promised before.
pub fn ask(app: &App, run: &RunId) -> Result<(Promise, bool), Problem> {
    let found = app.store.get(run).map_err(|e| store_problem(&e))?;
    let (record, state) = found.ok_or_else(unknown_run)?;
    let known = |state: State| match state {
        State::Promised(promise) | State::Proven(promise) => Some(promise),
        State::Answered | State::Failed(..) => None,
    };
    if let State::Failed(_, reason) = &state {
        return Err(not_provable(reason));
    }
    if let Some(promise) = known(state) {
        return Ok((promise, true));
    }
    if record.slip.terms.ask_until < zkinfer_slip::now() {
        return Err(Problem::new(
            StatusCode::GONE,
            "too_late",
            "the slip's deadline for asking is over",
        ));
    }
    let promise = app.ledger.promise(&record.slip).ok_or_else(|| {
        tracing::error!(host = %record.slip.terms.host, "an answer was signed with a key that is not given");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "other_key",
            "the answer was signed with another key than this host has; its operator has to give it",
        )
    })?;
    let state = app.store.promise(&promise).map_err(|e| store_problem(&e))?;
    // Somebody else may have asked at the same moment, or it was forgotten.
    let in_force = state.and_then(known).ok_or_else(unknown_run)?;
    let before = in_force != promise;
    if !before {
        app.metrics.promises.inc();
        app.bell.ring();
    }
    Ok((in_force, before))
}

/// The answer about a run that there is not, or not any more.
pub fn unknown_run() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_run",
        "there is no such run, or its deadline is over",
    )
}

/// The answer about a proof that could not be made.
pub fn not_provable(reason: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "not_provable",
        format!("the proof could not be made: {reason}"),
    )
}

/// What is ours, as the protocol has it.
fn text(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|_| Problem::internal())
}
