//! The endpoints and their description, which are made from the same lines of code.

mod cards;
mod health;
mod proofs;
pub mod schema;

use crate::cache::Cache;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::page;
use crate::store::{Keeper, Store};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::Number;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zkinfer_http::access::Scope;
use zkinfer_http::body::Memory;
use zkinfer_http::download::Downloads;
use zkinfer_http::guard::{self, Guard};
use zkinfer_http::lane::{Asking, Lane};
use zkinfer_http::problem::{PROBLEM_JSON, Problem, method_not_allowed, panicked};

/// What all requests share.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub store: Arc<Store>,
    pub cache: Cache,
    /// Checks proofs.
    pub proofs: Lane,
    /// Checks proofs that take long.
    pub long: Lane,
    /// Decodes long bodies.
    pub bodies: Lane,
    /// Checks cards that are sent, and those that anybody sent, when a proof needs them.
    pub cards: Lane,
    /// Checks the operator's cards, when a proof needs them.
    pub loads: Lane,
    pub memory: Memory,
    pub downloads: Arc<Downloads>,
    pub guard: Arc<Guard>,
    pub metrics: Metrics,
    pub draining: AtomicBool,
}

impl App {
    /// A client's wish for processor time.
    pub fn asking(&self, client: IpAddr, cost: Duration) -> Asking {
        Asking {
            client,
            cost,
            limit: self.config.job_timeout,
        }
    }

    /// Where proofs are checked that are thought to take so long.
    pub fn lane(&self, cost: Duration) -> &Lane {
        if cost > self.config.long {
            &self.long
        } else {
            &self.proofs
        }
    }
}

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
    let mut router = router
        .route("/openapi.json", get(move || async move { (json, text) }))
        .fallback(page::fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.guard.clone(), guard::watch));
    if !app.config.origins.is_empty() {
        router = router.layer(cors(&app.config.origins));
    }
    router.with_state(app.clone())
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|o| o == "*") {
        AllowOrigin::any()
    } else {
        let values = origins.iter().filter_map(|o| HeaderValue::from_str(o).ok());
        AllowOrigin::list(values.filter(|v| v != "*"))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, header::ACCEPT])
        .expose_headers([header::RETRY_AFTER])
        .max_age(Duration::from_secs(3600))
}

fn described() -> OpenApiRouter<Arc<App>> {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("zkinfer verification service")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Checks proofs that an output is a committed model's answer to an input. The service holds cards, never \
             weights. Results are receipts; every other answer is a problem (RFC 9457) with a stable `code`.",
        ))
        .license(Some(utoipa::openapi::License::new("MIT OR Apache-2.0")))
        .build();
    let empty = OpenApi::new(info, utoipa::openapi::Paths::new());
    let mut router = OpenApiRouter::with_openapi(empty)
        .routes(routes!(proofs::verify))
        .routes(routes!(proofs::verify_batch))
        .routes(routes!(cards::put_card, cards::card))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics));
    let description = router.get_openapi_mut();
    add_common(description);
    close_variants(description);
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    router
}

/// Variants of tagged enums refuse unknown fields, and integers of a statement have 16 bits, which `utoipa` does not say
/// of them.
fn close_variants(description: &mut OpenApi) {
    let schemas = description.components.get_or_insert_default();
    for name in ["ExpectedSide", "Outcome", "SideRecord"] {
        let Some(RefOr::T(Schema::OneOf(variants))) = schemas.schemas.get_mut(name) else {
            continue;
        };
        for variant in &mut variants.items {
            if let RefOr::T(Schema::Object(object)) = variant {
                let closed = AdditionalProperties::FreeForm(false);
                object.additional_properties = Some(Box::new(closed));
                if let Some(RefOr::T(Schema::Array(values))) = object.properties.get_mut("values")
                    && let ArrayItems::RefOrSchema(item) = &mut values.items
                    && let RefOr::T(Schema::Object(integer)) = item.as_mut()
                {
                    integer.maximum = Some(Number::UInt(u16::MAX.into()));
                }
            }
        }
    }
}

/// Answers that every endpoint under `/v1/` can give, and those that every endpoint with a body can.
fn add_common(description: &mut OpenApi) {
    let problem = |text: &str| -> RefOr<utoipa::openapi::Response> {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new()
            .description(text)
            .content(PROBLEM_JSON, content)
            .build()
            .into()
    };
    let always = [
        (
            "429",
            "This client has too many requests open, or too much memory in them: `too_many_requests`; or its token may \
             not ask for more at the moment, or today: `rate_limited`, `quota_used`. Try again after `Retry-After` \
             seconds.",
        ),
        (
            "401",
            "`unauthorized`: this service asks for tokens, and the request has none that is known.",
        ),
        (
            "403",
            "`forbidden`: the token does not have the scope for this.",
        ),
        ("500", "`internal`: the service's log says more."),
        (
            "503",
            "Too much to do: `overloaded`, `timeout`. Try again after `Retry-After` seconds.",
        ),
    ];
    let with_body = [
        ("408", "`body_timeout`: the body did not arrive in time."),
        ("413", "`too_large`: the body is longer than the limit."),
        (
            "415",
            "`unsupported_media_type`: the body is declared to be something else.",
        ),
    ];
    for (path, item) in &mut description.paths.paths {
        let operations = [&mut item.get, &mut item.post, &mut item.put];
        for operation in operations.into_iter().flatten() {
            let mut common: Vec<(&str, &str)> = Vec::new();
            if path.starts_with("/v1/") {
                common.extend(always);
            }
            if operation.request_body.is_some() {
                common.extend(with_body);
            }
            let responses = &mut operation.responses.responses;
            for (status, text) in common {
                responses
                    .entry(status.to_owned())
                    .or_insert_with(|| problem(text));
            }
        }
    }
}

pub use proofs::of_client;

/// What of a token a request needs, where there are tokens.
pub fn scope(method: &Method, route: &str) -> Scope {
    if route.starts_with("/v1/verify") {
        Scope::Verify
    } else if *method == Method::PUT {
        Scope::Cards
    } else {
        Scope::Read
    }
}

/// The state that handlers take.
type Shared = State<Arc<App>>;

/// Checks and keeps a card that the operator adds.
pub fn add(app: &App, bytes: &[u8]) -> Result<zkinfer_circuits::transcript::Digest, Problem> {
    let added = cards::add(app, None, bytes, Keeper::Operator)?;
    Ok(added.0.verifier.digest())
}

/// The endpoints for whoever watches the service.
pub fn operations(app: &Arc<App>) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.guard.clone(), guard::watch))
        .with_state(app.clone())
}
