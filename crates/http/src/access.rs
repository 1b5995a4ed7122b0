//! Who may do what: tokens with scopes, of which only hashes are kept, and how much each of them may ask for.

use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use zkinfer_circuits::transcript::Digest;

/// Longest file of tokens in bytes.
pub const MAX_FILE: usize = 1 << 24;
/// Longest name of a token.
const NAME: usize = 64;
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(5);
const DAY: u64 = 86_400_000;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// Running models.
    Infer,
    /// Asking for proofs.
    Prove,
    /// Reading what there is: models, cards, runs, proofs.
    Read,
    /// Having proofs checked.
    Verify,
    /// Adding cards.
    Cards,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] = [
        Scope::Infer,
        Scope::Prove,
        Scope::Read,
        Scope::Verify,
        Scope::Cards,
    ];

    /// As files and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Infer => "infer",
            Scope::Prove => "prove",
            Scope::Read => "read",
            Scope::Verify => "verify",
            Scope::Cards => "cards",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let found = Scope::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or_else(|| {
            let all = Scope::ALL.map(Scope::name).join(", ");
            format!("there is no scope {text:?}: {all}")
        })
    }
}

/// A token in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose it is, for the log: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// [`hash`] of the token.
    pub hash: Digest,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Most requests in a minute, which may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Most requests in a day of UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u64>,
    /// Until when it is valid, in milliseconds since the beginning of 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// A file of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The tokens, each with a name of its own.
    pub tokens: Vec<Entry>,
}

/// Why a file of tokens is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read the tokens in {path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is too long.
    #[error("{path} is longer than {MAX_FILE} bytes")]
    TooLong {
        /// Which file.
        path: String,
    },
    /// It is no JSON of tokens.
    #[error("{path} is no file of tokens: {error}; `zkinfer token` writes them")]
    Form {
        /// Which file.
        path: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A name that is none, or two tokens with one name or one hash.
    #[error(
        "{path}: {name:?} is no name of a token, or there twice; names are 1 to 64 letters, digits, `-`, `_`, `.`"
    )]
    Name {
        /// Which file.
        path: String,
        /// The name.
        name: String,
    },
    /// A limit that lets nothing through.
    #[error(
        "{path}: the token {name:?} may make no request: per_minute and per_day are at least 1 where they are given"
    )]
    Limit {
        /// Which file.
        path: String,
        /// The token's name.
        name: String,
    },
}

/// What is kept of a token: Blake2b-256, personalized `zkinfer-token`. Tokens are 32 random bytes, so that nobody finds
/// one by trying.
pub fn hash(token: &str) -> Digest {
    Digest::of("zkinfer-token", token.as_bytes())
}

impl TokenFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is none, or its tokens cannot be told apart.
    pub fn read(path: &Path) -> Result<TokenFile, AccessError> {
        use std::io::Read;
        let name = || path.display().to_string();
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| AccessError::Read {
            path: name(),
            error,
        })?;
        if bytes.len() > MAX_FILE {
            return Err(AccessError::TooLong { path: name() });
        }
        let file: TokenFile =
            serde_json::from_slice(&bytes).map_err(|error| AccessError::Form {
                path: name(),
                error,
            })?;
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        for token in &file.tokens {
            let own = token.name.clone();
            if !is_name(&own) || !names.insert(&token.name) || !hashes.insert(token.hash.0) {
                let path = name();
                return Err(AccessError::Name { path, name: own });
            }
            if token.per_minute == Some(0) || token.per_day == Some(0) {
                let path = name();
                return Err(AccessError::Limit { path, name: own });
            }
        }
        Ok(file)
    }
}

/// Whether a token may have this name.
pub fn is_name(name: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=NAME).contains(&name.len()) && name.bytes().all(harmless)
}

/// What was asked for so far.
#[derive(Debug)]
struct Usage {
    /// Requests that may come at once.
    left: f64,
    at: Instant,
    day: u64,
    used: u64,
}

/// A token that is known.
#[derive(Debug)]
struct Token {
    entry: Entry,
    usage: Arc<Mutex<Usage>>,
}

/// Whose request it is, among its extensions.
#[derive(Clone, Debug)]
pub struct Granted(Arc<Token>);

impl Granted {
    /// The token's name.
    pub fn name(&self) -> &str {
        &self.0.entry.name
    }

    /// Whether it allows something.
    ///
    /// # Errors
    /// 403 if not.
    pub fn need(&self, scope: Scope) -> Result<(), Problem> {
        if self.0.entry.scopes.contains(&scope) {
            return Ok(());
        }
        let (name, scope) = (self.name(), scope.name());
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("the token {name:?} does not have the scope {scope}"),
        ))
    }
}

/// Why a request is not let through.
#[derive(Debug)]
pub struct Refused(Problem, Option<u64>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(problem, wait) = self;
        let mut response = problem.into_response();
        if let Some(seconds) = wait {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The tokens of a file, which is read again where it changes.
#[derive(Debug)]
pub struct Access {
    path: PathBuf,
    table: RwLock<HashMap<[u8; 32], Arc<Token>>>,
    stamp: Mutex<Option<(SystemTime, u64)>>,
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let known = std::fs::metadata(path).ok()?;
    Some((known.modified().ok()?, known.len()))
}

/// Milliseconds since the beginning of 1970.
fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

impl Access {
    /// The tokens of a file.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(path: &Path) -> Result<Access, AccessError> {
        let access = Access {
            path: path.to_owned(),
            table: RwLock::default(),
            stamp: Mutex::new(stamp(path)),
        };
        access.load()?;
        Ok(access)
    }

    fn load(&self) -> Result<(), AccessError> {
        let file = TokenFile::read(&self.path)?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let known = |entry: Entry| {
            let hash = entry.hash.0;
            // What was used up stays so.
            let usage = table.get(&hash).map(|t: &Arc<Token>| t.usage.clone());
            let usage = usage.unwrap_or_else(|| {
                Arc::new(Mutex::new(Usage {
                    left: f64::INFINITY,
                    at: Instant::now(),
                    day: 0,
                    used: 0,
                }))
            });
            (hash, Arc::new(Token { entry, usage }))
        };
        let new = file.tokens.into_iter().map(known).collect();
        *table = new;
        Ok(())
    }

    /// Reads the file again if it has changed. One that cannot be used changes nothing, and the log says so.
    pub fn refresh(&self) {
        let new = stamp(&self.path);
        let mut old = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *old == new {
            return;
        }
        *old = new;
        match self.load() {
            Ok(()) => tracing::info!(path = %self.path.display(), "read the tokens again"),
            Err(error) => tracing::error!(%error, "the tokens stay as they were"),
        }
    }

    /// Looks at the file every few seconds. Does not end.
    pub async fn follow(self: Arc<Self>) {
        let mut clock = tokio::time::interval(LOOK);
        loop {
            clock.tick().await;
            let own = self.clone();
            if crate::lane::aside(move || own.refresh()).await.is_err() {
                tracing::error!("the tokens could not be looked at");
            }
        }
    }

    /// Lets a request through, and counts it.
    ///
    /// # Errors
    /// 401 without a token that is known, 403 if it does not allow this, 429 if it has asked too much.
    pub fn enter(&self, headers: &HeaderMap, scope: Scope) -> Result<Granted, Refused> {
        let unknown = |detail: &str| {
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
            Refused(problem, None)
        };
        let Some(token) = bearer(headers) else {
            return Err(unknown(
                "a token is needed: Authorization: Bearer TOKEN; whoever runs the service makes them",
            ));
        };
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        // Of hashes, whose bytes say nothing of the token, so the time of looking them up does not either.
        let known = table.get(&hash(token).0).cloned();
        drop(table);
        let time = now();
        let valid = known.filter(|t| t.entry.expires.is_none_or(|end| time < end));
        let granted =
            Granted(valid.ok_or_else(|| unknown("the token is not known, or not any more"))?);
        granted
            .need(scope)
            .map_err(|problem| Refused(problem, None))?;
        granted.0.count(Instant::now(), time)?;
        Ok(granted)
    }
}

/// The token that a request has.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

impl Token {
    /// Counts a request if there may be one more: a bucket that fills within a minute, and a day's number.
    fn count(&self, at: Instant, time: u64) -> Result<(), Refused> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let too_many = |code, detail: String, seconds: u64| {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
            Err(Refused(problem, Some(seconds)))
        };
        if let Some(most) = self.entry.per_minute {
            let rate = f64::from(most) / 60.0;
            let passed = at.saturating_duration_since(usage.at).as_secs_f64();
            usage.left = (usage.left + passed * rate).min(f64::from(most));
            usage.at = at;
            if usage.left < 1.0 {
                let wait = ((1.0 - usage.left) / rate).ceil() as u64;
                let detail = format!("this token may make {most} requests in a minute");
                return too_many("rate_limited", detail, wait.max(1));
            }
        }
        if let Some(most) = self.entry.per_day {
            let day = time / DAY;
            if usage.day != day {
                (usage.day, usage.used) = (day, 0);
            }
            if usage.used >= most {
                let wait = (DAY - time % DAY).div_ceil(1000);
                let detail = format!("this token may make {most} requests in a day of UTC");
                return too_many("quota_used", detail, wait);
            }
            usage.used += 1;
        }
        if self.entry.per_minute.is_some() {
            usage.left -= 1.0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
