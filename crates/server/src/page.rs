//! Static files, and the headers that keep a page from doing more than it should.

use crate::api::App;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tower::ServiceExt;
use tower_http::services::ServeDir;
use zkinfer_http::problem::{Problem, method_not_allowed};

/// A page runs its own scripts and WebAssembly, and talks to this service; nothing from elsewhere, nothing inline.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What no route answers: a file of the page, or 404.
pub async fn fallback(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(folder) = &app.config.page else {
        return missing("the endpoints are described in /openapi.json");
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return method_not_allowed().await;
    }
    let response = match ServeDir::new(folder).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    };
    if response.status() == StatusCode::NOT_FOUND {
        return missing("there is no such file");
    }
    let mut response = response;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn missing(detail: &str) -> Response {
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response()
}
