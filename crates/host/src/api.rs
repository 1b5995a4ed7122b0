//! The endpoints and their description, which are made from the same lines of code.

mod health;
mod protocol;
mod runs;
pub mod schema;

use crate::config::Config;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::prover::Bell;
use crate::store::Store;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zkinfer_http::access::Scope;
use zkinfer_http::body::Memory;
use zkinfer_http::guard::{self, Guard};
use zkinfer_http::lane::Lane;
use zkinfer_http::problem::{PROBLEM_JSON, Problem, method_not_allowed, panicked};

/// What the JSON part of a body is decoded into may take this many times its length.
pub const DECODED: usize = 16;

/// What all requests share.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub ledger: Ledger,
    pub store: Arc<dyn Store>,
    pub models: Models,
    /// Runs models.
    pub lane: Lane,
    pub memory: Memory,
    pub guard: Arc<Guard>,
    pub metrics: Metrics,
    pub bell: Bell,
    pub draining: AtomicBool,
}

/// The state that handlers take.
type Shared = State<Arc<App>>;

/// The endpoints' description, as `/openapi.json` has it.
pub fn openapi() -> OpenApi {
    described().into_openapi()
}

/// The endpoints.
pub fn router(app: &Arc<App>) -> Router {
    let (router, description) = described().split_for_parts();
    // Strings, numbers, lists and maps.
    let text = description.to_json().unwrap_or_default();
    let text: &'static str = Box::leak(text.into_boxed_str());
    let json = [(header::CONTENT_TYPE, "application/json")];
    router
        .route("/openapi.json", get(move || async move { (json, text) }))
        .fallback(missing)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.guard.clone(), guard::watch))
        .layer(from_fn(name_errors))
        .with_state(app.clone())
}

/// The endpoints for whoever watches the host.
pub fn operations(app: &Arc<App>) -> Router {
    Router::new()
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.guard.clone(), guard::watch))
        .with_state(app.clone())
}

/// What of a token a request needs, where there are tokens.
pub fn scope(_method: &Method, route: &str) -> Scope {
    if route.ends_with("/infer") {
        Scope::Infer
    } else if route.ends_with("/prove") {
        Scope::Prove
    } else {
        Scope::Read
    }
}

async fn missing() -> Problem {
    let detail = "the endpoints are described in /openapi.json";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// A problem as clients of the protocol read it: they look for `error`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ProtocolProblem)]
pub struct Named {
    /// As `detail`: what clients of the Open Inference Protocol show.
    error: String,
    #[serde(flatten)]
    problem: Problem,
}

/// Adds to problems of the protocol's endpoints what its clients look for.
async fn name_errors(request: Request, next: Next) -> Response {
    let protocol = request.uri().path().starts_with("/v2");
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| protocol) else {
        return response;
    };
    let named = Named {
        error: problem.detail.clone(),
        problem: problem.clone(),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    // Strings and numbers.
    let body = serde_json::to_vec(&named).unwrap_or_default();
    (parts, body).into_response()
}

/// An answer of JSON.
fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|_| Problem::internal())?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn described() -> OpenApiRouter<Arc<App>> {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("zkinfer host")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Answers with committed models in the Open Inference Protocol v2, signs every answer, and proves it when it is \
             asked to. Every answer that is no result is a problem (RFC 9457) with a stable `code`; under `/v2` it has \
             the protocol's `error`, too.",
        ))
        .license(Some(utoipa::openapi::License::new("MIT OR Apache-2.0")))
        .build();
    let empty = OpenApi::new(info, utoipa::openapi::Paths::new());
    let mut router = OpenApiRouter::with_openapi(empty)
        .routes(routes!(protocol::server))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(protocol::index))
        .routes(routes!(protocol::model))
        .routes(routes!(protocol::version))
        .routes(routes!(protocol::model_ready))
        .routes(routes!(protocol::version_ready))
        .routes(routes!(protocol::infer))
        .routes(routes!(protocol::infer_version))
        .routes(routes!(runs::host))
        .routes(routes!(runs::keys))
        .routes(routes!(runs::card))
        .routes(routes!(runs::run))
        .routes(routes!(runs::proof))
        .routes(routes!(runs::prove))
        .routes(routes!(health::metrics));
    let description = router.get_openapi_mut();
    add_common(description);
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    router
}

/// Answers that every endpoint which is limited can give.
fn add_common(description: &mut OpenApi) {
    let problem = |name: &str, text: &str| -> RefOr<utoipa::openapi::Response> {
        let schema = Ref::from_schema_name(name);
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new()
            .description(text)
            .content(PROBLEM_JSON, content)
            .build()
            .into()
    };
    let always = [
        (
            "401",
            "`unauthorized`: this host asks for tokens, and the request has none that is known.",
        ),
        (
            "403",
            "`forbidden`: the token does not have the scope for this.",
        ),
        (
            "429",
            "`too_many_requests`: this client has too many requests open, or too much memory in them. `rate_limited`, \
             `quota_used`: its token may not ask for more at the moment, or today.",
        ),
        ("500", "`internal`: the host's log says more."),
        (
            "503",
            "Too much to do: `overloaded`, `timeout`. Try again after `Retry-After` seconds.",
        ),
    ];
    for (path, item) in &mut description.paths.paths {
        let name = if path.starts_with("/v2") {
            "ProtocolProblem"
        } else {
            "Problem"
        };
        let limited = ["/v1/", "/v2/models", "/v2/repository"];
        if !limited.iter().any(|l| path.starts_with(l)) {
            continue;
        }
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            let token = SecurityRequirement::new::<_, _, String>("token", []);
            operation.security = Some(vec![SecurityRequirement::default(), token]);
            for (status, text) in always {
                let responses = &mut operation.responses.responses;
                responses
                    .entry(status.to_owned())
                    .or_insert_with(|| problem(name, text));
            }
        }
    }
}
