//! Answers that are not results: problem details (RFC 9457) with a stable code.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use utoipa::ToSchema;
use zkinfer_circuits::receipt::{Class, Refusal};

/// Content type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Longest detail in bytes: what it quotes may be as long as a body.
const DETAIL: usize = 1000;

/// Kinds of reasons to refuse, described: the type itself is defined elsewhere.
#[allow(dead_code, reason = "only described, never made")]
#[derive(ToSchema)]
#[schema(as = Class)]
#[serde(rename_all = "snake_case")]
pub enum ClassSchema {
    /// The bytes are not what they should be, or more than the limits allow.
    Malformed,
    /// Written in another version of the format.
    WrongVersion,
    /// The card cannot be used.
    InvalidCard,
    /// The proof is about a model that was not asked about.
    UnknownModel,
    /// The proof is about another input, output, context or number of runs than the expected one.
    StatementMismatch,
    /// The proof does not show what it claims.
    InvalidProof,
}

/// Why there is no result. A response that is made of it has it among its extensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What the status is called.
    #[schema(value_type = String)]
    pub title: Cow<'static, str>,
    /// Stable code: never reused for something else.
    #[schema(value_type = String, pattern = "^[a-z][a-z0-9_]*$", example = "unknown_card")]
    pub code: &'static str,
    /// Kind of reason, where a file was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ClassSchema>, nullable = false)]
    pub class: Option<Class>,
    /// For people; may change.
    pub detail: String,
}

impl Problem {
    /// A problem with a detail for people, which is cut where it is long.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL));
        Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("error").into(),
            code,
            class: None,
            detail,
        }
    }

    /// A body that does not fit. No more of the error is written than a detail holds.
    pub fn misfit(error: &impl Display) -> Problem {
        let mut brief = Brief(String::new());
        // Ends with an error where it is cut.
        let _ = write!(brief, "the body does not fit: {error}");
        Problem::malformed(brief.0)
    }

    /// A body that is not what it should be.
    pub fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
    }

    /// A statement that nothing can be compared with.
    pub fn statement(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "unusable_statement", detail)
    }

    /// What is longer than its limit.
    pub fn too_large(what: &str, limit: usize) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("{what} is longer than {limit} bytes"),
        )
    }

    /// Too much to do.
    pub fn overloaded(detail: &'static str) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    }

    /// Not done in time.
    pub fn timeout(detail: &'static str) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail)
    }

    /// What went wrong is in the log, not in the answer.
    pub fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the service failed; its log says why",
        )
    }

    /// A file that cannot be used, and is not judged as a proof.
    pub fn refused(refusal: &Refusal) -> Problem {
        let status = status(refusal.class(), refusal.code());
        Problem {
            class: Some(refusal.class()),
            ..Problem::new(status, refusal.code(), refusal.to_string())
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Text that ends where a detail has to.
struct Brief(String);

impl Write for Brief {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = DETAIL - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        (text.len() <= room).then_some(()).ok_or(fmt::Error)
    }
}

/// The status that goes with a reason to refuse.
pub fn status(class: Class, code: &str) -> StatusCode {
    match (class, code) {
        (_, "too_large") => StatusCode::PAYLOAD_TOO_LARGE,
        (Class::Malformed | Class::WrongVersion, _) => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // Strings and a number: there is nothing in it that JSON cannot express.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        let busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        if busy.contains(&status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Code(self.code));
        // For whoever says it in other words.
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer to a method that a path does not know.
pub async fn method_not_allowed() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not know this method",
    )
    .into_response()
}

/// What the log calls an answer.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

/// The answer to a request that panicked; the log says more.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request panicked");
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_short() {
        let long = format!("a{}", "é".repeat(1 << 20));
        assert_eq!(Problem::malformed(long.as_str()).detail.len(), DETAIL - 1);
        let detail = Problem::misfit(&long).detail;
        assert!((DETAIL - 1..=DETAIL).contains(&detail.len()));
        assert!(detail.starts_with("the body does not fit: aé"));
        assert_eq!(Problem::malformed("short").detail, "short");
    }
}
