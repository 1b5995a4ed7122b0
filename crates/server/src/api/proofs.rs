//! `/v1/verify`, `/v1/verify/batch`.

use super::{App, Shared, schema};
use crate::ask::{BatchRequest, VerifyRequest};
use crate::config::Config;
use crate::task::{self, receipt_status};
use crate::weigh;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::ToSchema;
use zkinfer_circuits::receipt::Outcome;
use zkinfer_http::body::{Received, Share, declared, read, unsupported};
use zkinfer_http::download::hold;
use zkinfer_http::guard::client_of as client;
use zkinfer_http::lane::Stop;
use zkinfer_http::problem::{Code, Problem};
use zkinfer_interface::RealReceipt;

/// Bodies that are longer are decoded off the threads that do the networking.
const SHORT: usize = 1 << 14;
/// What a body is decoded into may take this many times its longest length.
const DECODED: usize = 6;

/// Check a proof
///
/// The answer is a receipt: 200 if the proof is accepted, 422 if it is rejected, 400 if its bytes are no proof that this
/// version reads. What the request states is what the proof is checked against; what it leaves out is taken from the
/// proof and reported.
#[utoipa::path(
    post,
    path = "/v1/verify",
    tag = "proofs",
    request_body(content = VerifyRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The proof is accepted.", body = schema::Receipt),
        (status = 400, description = "A receipt with the class `malformed` or `wrong_version` if the proof cannot be read; \
            a problem with the code `malformed_request` or `unusable_statement` if the request cannot.",
            content((schema::Receipt = "application/json"), (Problem = "application/problem+json"))),
        (status = 404, description = "`unknown_card`: no card has this digest.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "`replayed`: the context is used up.", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body (a problem) or the proof (a receipt) is longer than the limit: `too_large`.",
            content((schema::Receipt = "application/json"), (Problem = "application/problem+json"))),
        (status = 422, description = "The proof is rejected, for the reason in the receipt; or, as a problem, the card is \
            beyond the service's limits by now (`card_limit` and others), or checking would take too long: `too_costly`.",
            content((schema::Receipt = "application/json"), (Problem = "application/problem+json"))),
        (status = 507, description = "`store_full`: no room for another used context.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn verify(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let client = client(&request);
    let (request, mut held) =
        parse::<VerifyRequest>(&app, request, app.config.request_bytes).await?;
    let receipt = task::judge(&app, client, request, &mut held).await?;
    let status = receipt_status(&receipt);
    let mut response = json(status, &receipt)?;
    if let Outcome::Rejected { class, .. } = &receipt.result {
        response.extensions_mut().insert(Code(class_name(*class)));
    }
    Ok(keep(response, held))
}

/// Check several proofs at once
///
/// One multi-scalar multiplication for all of them, several times faster than one by one. Results come in the order of
/// the proofs, each as `/v1/verify` would answer; the batch as a whole is answered with 200 whatever they are.
#[utoipa::path(
    post,
    path = "/v1/verify/batch",
    tag = "proofs",
    request_body(content = BatchRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Every proof has a result.", body = BatchResponse),
        (status = 400, description = "`malformed_request`: no batch, or more proofs or cards than the limits.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn verify_batch(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let client = client(&request);
    let (request, mut held) = parse::<BatchRequest>(&app, request, app.config.batch_bytes).await?;
    let answers = task::judge_many(&app, client, request.proofs.0, &mut held).await?;
    let results: Vec<BatchResult> = answers.into_iter().map(BatchResult::from).collect();
    let accepted = results.iter().filter(|r| r.status == 200).count();
    let response = json(StatusCode::OK, &BatchResponse { accepted, results })?;
    Ok(keep(response, held))
}

/// An answer that counts, too, until it is sent: receipts may be as long as what they are about.
fn keep(response: Response, mut held: Share) -> Response {
    let length = response.body().size_hint().lower() as usize;
    // There is a verdict, and a context may be used up by it: it is sent even if there is no memory left.
    let _ = held.grow(length);
    hold(response, held)
}

/// Results of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResponse {
    /// How many proofs are accepted.
    accepted: usize,
    /// One result for each proof, in order.
    results: Vec<BatchResult>,
}

/// What `/v1/verify` would have answered: a receipt or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult {
    /// The status.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// The receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Receipt>, nullable = false)]
    receipt: Option<RealReceipt>,
    /// The problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<Problem>,
}

impl From<task::Answer> for BatchResult {
    fn from(answer: task::Answer) -> BatchResult {
        match answer {
            Ok(receipt) => BatchResult {
                status: receipt_status(&receipt).as_u16(),
                receipt: Some(receipt),
                problem: None,
            },
            Err(problem) => BatchResult {
                status: problem.status,
                receipt: None,
                problem: Some(problem),
            },
        }
    }
}

/// Reads a JSON body; the second part is its share of memory, to be held while the request is worked on.
async fn parse<T: DeserializeOwned + Send + 'static>(
    app: &App,
    request: Request,
    limit: usize,
) -> Result<(T, Share), Problem> {
    if declared(request.headers(), &["application/json"]) != Some(true) {
        return Err(unsupported("application/json"));
    }
    let client = client(&request);
    let received = read(request, &app.memory, limit, app.config.body_timeout).await?;
    let most = decoded_most(&app.config, limit);
    if received.bytes.len() <= SHORT {
        return decode(received, most);
    }
    let cost = Duration::from_nanos(10 * received.bytes.len() as u64);
    let asking = app.asking(client, cost);
    let job = move |_: &Stop| decode(received, most);
    app.bodies.run(asking, job).await?
}

/// Most that a body of at most `limit` bytes is decoded into.
fn decoded_most(config: &Config, limit: usize) -> usize {
    let most = limit.saturating_mul(DECODED);
    most.min(config.body_bytes / 4)
}

/// Most memory for the requests of one client: a quarter of all, or what the longest batch needs.
pub fn of_client(config: &Config) -> usize {
    let limit = config.batch_bytes.max(config.request_bytes);
    let batch = limit.saturating_add(decoded_most(config, limit));
    batch
        .max(config.limits.card_bytes)
        .max(config.body_bytes / 4)
}

/// Decodes a body. What it is decoded into counts, and more than `most` is refused before it is made.
fn decode<T: DeserializeOwned>(received: Received, most: usize) -> Result<(T, Share), Problem> {
    let Received { bytes, mut share } = received;
    let decoded = weigh::decoded(&bytes, most);
    if decoded > most {
        return Err(Problem::too_large("what the body is decoded into", most));
    }
    let text = share.bytes();
    share.grow(decoded)?;
    let value = serde_json::from_slice(&bytes);
    // An error quotes what does not fit, so the share is held until that is gone, too.
    let value = value.map_err(|e| Problem::misfit(&e))?;
    drop(bytes);
    share.shrink(text);
    Ok((value, share))
}

/// The body of a response.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "a response cannot be written as JSON");
        Problem::internal()
    })?;
    let mut response = (status, body).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn class_name(class: zkinfer_circuits::receipt::Class) -> &'static str {
    use zkinfer_circuits::receipt::Class;
    match class {
        Class::Malformed => "malformed",
        Class::WrongVersion => "wrong_version",
        Class::InvalidCard => "invalid_card",
        Class::UnknownModel => "unknown_model",
        Class::StatementMismatch => "statement_mismatch",
        Class::InvalidProof => "invalid_proof",
        _ => "rejected",
    }
}
