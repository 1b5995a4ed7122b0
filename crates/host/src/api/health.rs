//! `/v2/health/live`, `/v2/health/ready`, `/metrics`.

use super::{Named, Shared, json};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::atomic::Ordering;
use utoipa::ToSchema;
use zkinfer_http::lane::aside;
use zkinfer_http::problem::Problem;

/// Whether the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    live: bool,
}

/// Whether requests should be sent here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
}

/// Whether the process answers
#[utoipa::path(
    get,
    path = "/v2/health/live",
    tag = "operation",
    responses((status = 200, description = "It does.", body = Live))
)]
pub async fn live() -> Result<Response, Problem> {
    json(StatusCode::OK, &Live { live: true })
}

/// Whether requests should be sent here
///
/// Models and their keys are there before anybody is answered.
#[utoipa::path(
    get,
    path = "/v2/health/ready",
    tag = "operation",
    responses(
        (status = 200, description = "They should.", body = Ready),
        (status = 503, description = "The host is stopping (`draining`), or its store does not answer (`internal`).",
            body = Named, content_type = "application/problem+json"),
    )
)]
pub async fn ready(State(app): Shared) -> Result<Response, Problem> {
    if app.draining.load(Ordering::Relaxed) {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "the host is stopping",
        ));
    }
    let shared = app.clone();
    let totals = aside(move || shared.store.totals()).await?;
    totals.map_err(|error| {
        tracing::error!(%error, "the store failed");
        Problem {
            status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            ..Problem::internal()
        }
    })?;
    json(StatusCode::OK, &Ready { ready: true })
}

/// Metrics in Prometheus' text format
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(app): Shared) -> Result<Response, Problem> {
    let shared = app.clone();
    let text = aside(move || shared.metrics.text(&shared)).await?;
    let text = text.map_err(|_| Problem::internal())?;
    let format = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
    Ok(([(header::CONTENT_TYPE, format)], text).into_response())
}
