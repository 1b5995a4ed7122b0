//! HTTP, and no more of an answer than there may be.

use std::fmt;
use std::time::Duration;
use thiserror::Error;
use ureq::{Agent, RequestBuilder};

/// Longest answer to a question.
pub const ANSWER: u64 = 1 << 26;
/// Connections that are kept for the next question.
const IDLE: usize = 32;
/// What is shown of an answer that is no result.
const SHOWN: usize = 300;

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The host cannot be reached, or breaks off.
    #[error("{url}: {error}")]
    Transport {
        /// What was asked.
        url: String,
        /// What went wrong.
        error: Box<ureq::Error>,
    },
    /// It answers something else than a result.
    #[error("{url}: status {status}: {text}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        text: String,
    },
}

impl WireError {
    /// Whether asking again later may help.
    pub fn may_pass(&self) -> bool {
        match self {
            WireError::Transport { .. } => true,
            WireError::Status { status, .. } => [408, 429, 502, 503, 504].contains(status),
        }
    }
}

/// Where a host is.
#[derive(Debug)]
pub struct Wire {
    agent: Agent,
    url: String,
    token: Option<Token>,
}

/// What a host that asks for tokens knows a client by.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// No token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token is 1 to 4096 visible characters of ASCII without spaces")]
pub struct TokenError;

impl Token {
    /// The token in a text, spaces around it aside.
    ///
    /// # Errors
    /// Anything that no header can hold.
    pub fn new(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        let fits = (1..=4096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Token(text.to_owned())).ok_or(TokenError)
    }
}

/// Does not show it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Wire {
    pub fn new(url: &str, timeout: Duration, token: Option<Token>) -> Wire {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            // Threads that ask at the same time.
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(IDLE)
            .user_agent(concat!("zkinfer-client/", env!("CARGO_PKG_VERSION")))
            .build();
        Wire {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            token,
        }
    }

    /// Asks for something that is not longer than `limit`.
    pub fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, WireError> {
        let url = format!("{}{path}", self.url);
        let request = self.identify(self.agent.get(&url));
        read(url, request.call(), limit)
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &[u8], limit: u64) -> Result<Vec<u8>, WireError> {
        let url = format!("{}{path}", self.url);
        let request = self.identify(self.agent.post(&url));
        let request = request.content_type("application/json");
        read(url, request.send(body), limit)
    }

    fn identify<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.0)),
            None => request,
        }
    }
}

fn read(
    url: String,
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    limit: u64,
) -> Result<Vec<u8>, WireError> {
    let transport = |error: ureq::Error| WireError::Transport {
        url: url.clone(),
        error: Box::new(error),
    };
    let mut response = result.map_err(transport)?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(limit);
    let bytes = body.read_to_vec().map_err(transport)?;
    if (200..300).contains(&status) {
        return Ok(bytes);
    }
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .take(SHOWN)
        .collect();
    Err(WireError::Status { url, status, text })
}
