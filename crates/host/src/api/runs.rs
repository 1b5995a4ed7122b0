//! What is ours: `/v1/host`, `/v1/cards/{digest}`, `/v1/runs/…`.

use super::{Shared, json, schema};
use crate::answer::{ask, not_provable, store_problem, unknown_run};
use crate::config::{ProofMode, millis};
use crate::store::{Record, State as Known};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use zkinfer_http::lane::aside;
use zkinfer_http::problem::Problem;
use zkinfer_slip::{HostKey, Promise, RunId, Slip};

const BYTES: &str = "application/octet-stream";

type Name = Result<Path<String>, PathRejection>;

/// Whose slips these are, and what it binds itself to.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostInfo {
    /// Its key. Whoever checks slips has it from elsewhere.
    #[schema(value_type = schema::Digest)]
    key: HostKey,
    /// When runs are proven whose request does not say.
    proof: ProofMode,
    /// How many milliseconds after an answer a proof may be asked for.
    ask_for: u64,
    /// How many after that it is there, at most.
    prove_within: u64,
    /// How many after that it is kept.
    keep_proofs: u64,
}

/// Whose slips these are
#[utoipa::path(
    get,
    path = "/v1/host",
    tag = "runs",
    responses((status = 200, description = "Key and deadlines.", body = HostInfo))
)]
pub async fn host(State(app): Shared) -> Result<Response, Problem> {
    let config = &app.config;
    let info = HostInfo {
        key: app.ledger.public(),
        proof: config.proof,
        ask_for: millis(config.ask_for),
        prove_within: millis(config.prove_within),
        keep_proofs: millis(config.keep_proofs),
    };
    json(StatusCode::OK, &info)
}

/// How the host came to its key
///
/// Each key handed over to the next one, and both signed that. Whoever pinned one of them follows to the newest.
#[utoipa::path(
    get,
    path = "/v1/keys",
    tag = "runs",
    responses((status = 200, description = "The key list; without handovers if there was never another key.",
        body = schema::KeyList))
)]
pub async fn keys(State(app): Shared) -> Result<Response, Problem> {
    json(StatusCode::OK, app.ledger.keys())
}

/// A card of a model that is served
#[utoipa::path(
    get,
    path = "/v1/cards/{digest}",
    tag = "runs",
    params(("digest" = schema::Digest, Path, description = "The card's digest, which is the model's version.")),
    responses(
        (status = 200, description = "The card file.", body = inline(schema::Bytes), content_type = "application/octet-stream"),
        (status = 404, description = "`unknown_card`.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn card(State(app): Shared, path: Name) -> Result<Response, Problem> {
    let digest = path.map_or_else(|_| String::new(), |Path(digest)| digest);
    let model = app.models.all().find(|m| m.digest.to_string() == digest);
    let model = model.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_card",
            "no model that is served has this card; POST /v2/repository/index lists them",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, BYTES)], model.card.clone()).into_response())
}

/// A run, and how far its proof is.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunInfo {
    /// How far it is.
    state: RunState,
    /// What was signed when it was answered.
    #[schema(value_type = schema::Slip)]
    slip: Slip,
    /// What was signed when its proof was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Promise>, nullable = false)]
    promise: Option<Promise>,
    /// Why it could not be proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// How far a run's proof is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Nobody asked for it.
    Answered,
    /// It was promised.
    Promised,
    /// It is there.
    Proven,
    /// It could not be made.
    Failed,
}

async fn find(app: &Shared, path: Name) -> Result<(RunId, Record, Known), Problem> {
    let name = path.map_or_else(|_| String::new(), |Path(name)| name);
    let run: RunId = name
        .parse()
        .map_err(|wanted: &str| Problem::malformed(wanted))?;
    let shared = app.0.clone();
    let found = aside(move || shared.store.get(&run)).await?;
    let found = found.map_err(|e| store_problem(&e))?;
    found
        .map(|(record, state)| (run, record, state))
        .ok_or_else(unknown_run)
}

/// How far a run is
#[utoipa::path(
    get,
    path = "/v1/runs/{run}",
    tag = "runs",
    params(("run" = schema::RunId, Path, description = "Name of the run, as its slip has it.")),
    responses(
        (status = 200, description = "The run.", body = RunInfo),
        (status = 400, description = "`malformed_request`: no name of a run.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_run`: there is none, or its deadline is over.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn run(state: Shared, path: Name) -> Result<Response, Problem> {
    let (_, record, known) = find(&state, path).await?;
    let (state, promise, reason) = match known {
        Known::Answered => (RunState::Answered, None, None),
        Known::Promised(promise) => (RunState::Promised, Some(promise), None),
        Known::Proven(promise) => (RunState::Proven, Some(promise), None),
        Known::Failed(promise, reason) => (RunState::Failed, Some(promise), Some(reason)),
    };
    let info = RunInfo {
        state,
        slip: record.slip,
        promise,
        reason,
    };
    json(StatusCode::OK, &info)
}

/// The proof of a run
#[utoipa::path(
    get,
    path = "/v1/runs/{run}/proof",
    tag = "runs",
    params(("run" = schema::RunId, Path, description = "Name of the run, as its slip has it.")),
    responses(
        (status = 200, description = "The proof file.", body = inline(schema::Bytes), content_type = "application/octet-stream"),
        (status = 400, description = "`malformed_request`: no name of a run.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_run`: there is none, or its deadline is over.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "`not_asked`: POST to `/v1/runs/{run}/prove` first; `not_proven`: it is promised, and \
            not there yet; `not_provable`: it could not be made.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn proof(state: Shared, path: Name) -> Result<Response, Problem> {
    let (run, _, known) = find(&state, path).await?;
    let conflict = |code, detail: &str| Problem::new(StatusCode::CONFLICT, code, detail);
    match known {
        Known::Answered => Err(conflict(
            "not_asked",
            "nobody asked for this proof; POST to /v1/runs/RUN/prove",
        )),
        Known::Promised(_) => Err(conflict(
            "not_proven",
            "the proof is promised, and not there yet; try again",
        )),
        Known::Failed(_, reason) => Err(not_provable(&reason)),
        Known::Proven(_) => {
            let shared = state.0.clone();
            let proof = aside(move || shared.store.proof(&run)).await?;
            let proof = proof
                .map_err(|e| store_problem(&e))?
                .ok_or_else(unknown_run)?;
            Ok(([(header::CONTENT_TYPE, BYTES)], proof).into_response())
        }
    }
}

/// Ask for the proof of a run
///
/// Until the slip's `ask_until`. The answer is a signed promise; asking again gives the same one.
#[utoipa::path(
    post,
    path = "/v1/runs/{run}/prove",
    tag = "runs",
    params(("run" = schema::RunId, Path, description = "Name of the run, as its slip has it.")),
    responses(
        (status = 200, description = "It was promised before.", body = schema::Promise),
        (status = 202, description = "It is promised now.", body = schema::Promise),
        (status = 400, description = "`malformed_request`: no name of a run.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_run`: there is none, or its deadline is over.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "`not_provable`: it could not be made.", body = Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "`too_late`: the deadline for asking is over.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn prove(state: Shared, path: Name) -> Result<Response, Problem> {
    let (run, ..) = find(&state, path).await?;
    let shared = state.0.clone();
    let (promise, before) = aside(move || ask(&shared, &run)).await??;
    let status = if before {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    json(status, &promise)
}
