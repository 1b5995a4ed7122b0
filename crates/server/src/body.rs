//! Reading bodies: bounded in bytes, in time, and in memory over all requests.

use crate::problem::Problem;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Unit of [`Memory`], so that its counter does not overflow.
const UNIT: usize = 1 << 10;

/// Memory for bodies, for what they are decoded into, and for files on their way out, of all requests together.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

/// A part of [`Memory`], given back when dropped.
#[derive(Debug, Default)]
pub struct Share(Option<OwnedSemaphorePermit>);

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        let units = bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Memory(Arc::new(Semaphore::new(units)))
    }

    /// Takes a part.
    ///
    /// # Errors
    /// If there is not so much left.
    pub fn take(&self, bytes: usize) -> Result<Share, Problem> {
        let none = || Problem::overloaded("no memory for another body");
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| none())?;
        let permit = self.0.clone().try_acquire_many_owned(units);
        Ok(Share(Some(permit.map_err(|_| none())?)))
    }
}

impl Share {
    /// Adds another part.
    pub fn add(&mut self, more: Share) {
        match (&mut self.0, more.0) {
            (Some(own), Some(more)) => own.merge(more),
            (none, more) => *none = more,
        }
    }
}

/// Whether the body of a request is read to its end. What follows an unread one on a connection cannot be found, so the
/// connection is closed, and the answer has to say so.
#[derive(Clone, Debug)]
pub struct Progress(Arc<AtomicBool>);

impl Progress {
    /// Of a request that nobody has begun to read; kept with it.
    pub fn watch(request: &mut Request) -> Progress {
        let progress = Progress(Arc::new(AtomicBool::new(request.body().is_end_stream())));
        request.extensions_mut().insert(progress.clone());
        progress
    }

    /// Whether there is nothing left to read.
    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body, and its share of the memory.
#[derive(Debug)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub share: Share,
}

/// Reads a body of at most `limit` bytes within `time`.
///
/// # Errors
/// 413, 408, 503 if all memory for bodies is taken, 400 if the connection breaks.
pub async fn read(
    request: Request,
    memory: &Memory,
    limit: usize,
    time: Duration,
) -> Result<Received, Problem> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| n > limit as u64) {
        return Err(Problem::too_large("the body", limit));
    }
    let late = || {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("the body did not arrive within {time:?}"),
        )
    };
    let progress = request.extensions().get::<Progress>().cloned();
    let collected = collect(request.into_body(), memory, limit);
    let received = tokio::time::timeout(time, collected)
        .await
        .map_err(|_| late())??;
    if let Some(Progress(done)) = progress {
        done.store(true, Ordering::Relaxed);
    }
    Ok(received)
}

/// Memory is taken as data arrive, not as they are announced.
async fn collect(mut body: Body, memory: &Memory, limit: usize) -> Result<Received, Problem> {
    let mut bytes = Vec::new();
    let mut share = Share::default();
    let mut paid = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Problem::malformed(format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limit - bytes.len() {
            return Err(Problem::too_large("the body", limit));
        }
        let needed = (bytes.len() + data.len()).div_ceil(UNIT);
        if needed > paid {
            // In steps, and what `Vec` grows by is at most twice of what it holds.
            let units = (needed - paid).max(16);
            share.add(memory.take(units * UNIT)?);
            paid += units;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes, share })
}

/// Whether a body is declared to be one of `types`, parameters left out; `None` where nothing is declared.
pub fn declared(headers: &HeaderMap, types: &[&str]) -> Option<bool> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    Some(types.iter().any(|t| essence.eq_ignore_ascii_case(t)))
}

/// The answer to a body of another type.
pub fn unsupported(wanted: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("the body has to be {wanted}, declared as such in Content-Type"),
    )
}
