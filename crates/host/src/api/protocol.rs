//! The Open Inference Protocol: `/v2`, `/v2/models/…`, and the list of the model repository extension.

use super::{Named, Shared, json, schema};
use crate::answer::{HEADER_LENGTH, answer};
use crate::models::Model;
use crate::tensors::Datatype;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use zkinfer::TensorInterface;
use zkinfer_http::access::Granted;
use zkinfer_http::body::read;
use zkinfer_http::guard::client_of;
use zkinfer_http::problem::Problem;

type Name = Result<Path<String>, PathRejection>;
type NameAndVersion = Result<Path<(String, String)>, PathRejection>;

/// What the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Server {
    #[schema(value_type = String)]
    name: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
    #[schema(value_type = Vec<String>)]
    extensions: [&'static str; 3],
}

/// What this server is
#[utoipa::path(
    get,
    path = "/v2",
    tag = "protocol",
    responses((status = 200, description = "Name, version, extensions.", body = Server))
)]
pub async fn server() -> Result<Response, Problem> {
    let server = Server {
        name: "zkinfer",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data", "model_repository", "zkinfer"],
    };
    json(StatusCode::OK, &server)
}

/// A model that is served.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    name: String,
    /// Digest of its card.
    #[schema(value_type = schema::Digest)]
    version: String,
    /// `READY`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Empty.
    #[schema(value_type = String)]
    reason: &'static str,
}

/// List the models
///
/// Of several versions of a model, the last one answers where no version is asked for.
#[utoipa::path(
    post,
    path = "/v2/repository/index",
    tag = "protocol",
    responses((status = 200, description = "All models, in all versions.", body = Vec<Entry>))
)]
pub async fn index(State(app): Shared) -> Result<Response, Problem> {
    let entry = |model: &std::sync::Arc<Model>| Entry {
        name: model.name.clone(),
        version: model.digest.to_string(),
        state: "READY",
        reason: "",
    };
    let entries: Vec<Entry> = app.models.all().map(entry).collect();
    json(StatusCode::OK, &entries)
}

/// A model, as the protocol describes it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    name: String,
    /// Digests of the cards, the default one last.
    #[schema(value_type = Vec<schema::Digest>)]
    versions: Vec<String>,
    #[schema(value_type = String)]
    platform: &'static str,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// An input or output.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tensor {
    name: String,
    /// `FP32`, or `INT64` of whole numbers.
    #[schema(value_type = String)]
    datatype: &'static str,
    shape: Vec<usize>,
}

fn tensors(tensors: &[TensorInterface]) -> Vec<Tensor> {
    let tensor = |t: &TensorInterface| Tensor {
        name: t.name.clone(),
        datatype: Datatype::name(t),
        shape: t.shape.clone(),
    };
    tensors.iter().map(tensor).collect()
}

fn metadata(app: &super::App, name: &str, version: Option<&str>) -> Result<Response, Problem> {
    let model = app.models.find(name, version)?;
    let versions = app.models.versions(name)?;
    let metadata = Metadata {
        name: model.name.clone(),
        versions: versions.iter().map(|m| m.digest.to_string()).collect(),
        platform: "zkinfer",
        inputs: tensors(&model.interface.inputs),
        outputs: tensors(&model.interface.outputs),
    };
    json(StatusCode::OK, &metadata)
}

/// The bytes of a path are no text.
fn unreadable(error: &PathRejection) -> Problem {
    Problem::malformed(format!("the path cannot be read: {error}"))
}

/// Inputs and outputs of a model
#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    tag = "protocol",
    params(("model" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "The model.", body = Metadata),
        (status = 400, description = "`malformed_request`: the path is no text.", body = Named,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_model`.", body = Named, content_type = "application/problem+json"),
    )
)]
pub async fn model(State(app): Shared, path: Name) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|e| unreadable(&e))?;
    metadata(&app, &name, None)
}

/// Inputs and outputs of a version of a model
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}",
    tag = "protocol",
    params(("model" = String, Path, description = "Its name."),
        ("version" = schema::Digest, Path, description = "Digest of its card.")),
    responses(
        (status = 200, description = "The model.", body = Metadata),
        (status = 400, description = "`malformed_request`: the path is no text.", body = Named,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_model`.", body = Named, content_type = "application/problem+json"),
    )
)]
pub async fn version(State(app): Shared, path: NameAndVersion) -> Result<Response, Problem> {
    let Path((name, version)) = path.map_err(|e| unreadable(&e))?;
    metadata(&app, &name, Some(&version))
}

/// Whether a model answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelReady {
    name: String,
    ready: bool,
}

/// Whether a model answers
#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    tag = "protocol",
    params(("model" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "It does.", body = ModelReady),
        (status = 400, description = "`malformed_request`: the path is no text.", body = Named,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_model`.", body = Named, content_type = "application/problem+json"),
    )
)]
pub async fn model_ready(State(app): Shared, path: Name) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|e| unreadable(&e))?;
    app.models.find(&name, None)?;
    json(StatusCode::OK, &ModelReady { name, ready: true })
}

/// Whether a version of a model answers
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}/ready",
    tag = "protocol",
    params(("model" = String, Path, description = "Its name."),
        ("version" = schema::Digest, Path, description = "Digest of its card.")),
    responses(
        (status = 200, description = "It does.", body = ModelReady),
        (status = 400, description = "`malformed_request`: the path is no text.", body = Named,
            content_type = "application/problem+json"),
        (status = 404, description = "`unknown_model`.", body = Named, content_type = "application/problem+json"),
    )
)]
pub async fn version_ready(State(app): Shared, path: NameAndVersion) -> Result<Response, Problem> {
    let Path((name, version)) = path.map_err(|e| unreadable(&e))?;
    app.models.find(&name, Some(&version))?;
    json(StatusCode::OK, &ModelReady { name, ready: true })
}

/// Run a model
///
/// One request is one run. The answer is the run that would be proven, and carries a signed slip that binds the host to
/// it.
/// Numbers travel in JSON, or as bytes behind it: then `Inference-Header-Content-Length` says how long the JSON is.
#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    tag = "protocol",
    params(("model" = String, Path, description = "Its name.")),
    request_body(content = schema::InferRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The answer; bytes follow the JSON where the request wants them.",
            content((schema::InferResponse = "application/json"), (schema::Bytes = "application/octet-stream"))),
        (status = 400, description = "`malformed_request`; `unusable_input`: numbers that the model cannot take.",
            body = Named, content_type = "application/problem+json"),
        (status = 404, description = "`unknown_model`.", body = Named, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`.", body = Named, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`.", body = Named, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`: the body is compressed.", body = Named,
            content_type = "application/problem+json"),
        (status = 507, description = "`store_full`: no room for another run.", body = Named,
            content_type = "application/problem+json"),
    )
)]
pub async fn infer(state: Shared, path: Name, request: Request) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|e| unreadable(&e))?;
    run(state, &name, None, request).await
}

/// Run a version of a model
///
/// As without a version, where the last one answers.
#[utoipa::path(
    post,
    path = "/v2/models/{model}/versions/{version}/infer",
    tag = "protocol",
    params(("model" = String, Path, description = "Its name."),
        ("version" = schema::Digest, Path, description = "Digest of its card.")),
    request_body(content = schema::InferRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The answer; bytes follow the JSON where the request wants them.",
            content((schema::InferResponse = "application/json"), (schema::Bytes = "application/octet-stream"))),
        (status = 400, description = "`malformed_request`; `unusable_input`: numbers that the model cannot take.",
            body = Named, content_type = "application/problem+json"),
        (status = 404, description = "`unknown_model`.", body = Named, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`.", body = Named, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`.", body = Named, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`: the body is compressed.", body = Named,
            content_type = "application/problem+json"),
        (status = 507, description = "`store_full`: no room for another run.", body = Named,
            content_type = "application/problem+json"),
    )
)]
pub async fn infer_version(
    state: Shared,
    path: NameAndVersion,
    request: Request,
) -> Result<Response, Problem> {
    let Path((name, version)) = path.map_err(|e| unreadable(&e))?;
    run(state, &name, Some(&version), request).await
}

async fn run(
    State(app): Shared,
    name: &str,
    version: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let model = app.models.find(name, version)?.clone();
    let headers = request.headers();
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "this host reads no compressed bodies; send it without Content-Encoding",
        ));
    }
    let length = match headers.get(HEADER_LENGTH) {
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|v| v.trim().parse().ok());
            let number = number.ok_or_else(|| {
                Problem::malformed("Inference-Header-Content-Length is no number of bytes")
            })?;
            Some(number)
        }
    };
    let client = client_of(&request);
    let granted = request.extensions().get::<Granted>().cloned();
    let config = &app.config;
    let body = read(
        request,
        &app.memory,
        config.request_bytes,
        config.body_timeout,
    )
    .await?;
    answer(&app, &model, (client, granted), length, body).await
}
