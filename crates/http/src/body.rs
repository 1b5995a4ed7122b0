//! Reading bodies: bounded in bytes, in time, and in memory over all requests.

use crate::guard::client_of;
use crate::problem::Problem;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Least that room is made for.
const STEP: usize = 1 << 14;
/// Bytes of a body between pauses.
const STRETCH: usize = 1 << 20;
/// How long a pause is, for each of as many bytes that other requests have, and at most: whoever sends much when others do
/// waits, because reading takes the processor from those who ask for little.
const PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Memory for bodies, for what they are decoded into, and for answers, of all requests together; no client has all of it.
#[derive(Clone, Debug)]
pub struct Memory {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    of_client: usize,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    clients: HashMap<IpAddr, usize>,
}

/// A part of [`Memory`] that a client has, given back when dropped.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    client: IpAddr,
    bytes: usize,
}

impl Memory {
    /// At most `most` bytes, and `of_client` of one client.
    pub fn new(most: usize, of_client: usize) -> Memory {
        Memory {
            taken: Arc::default(),
            most,
            of_client: of_client.min(most),
        }
    }

    /// An empty share of a client.
    pub fn share(&self, client: IpAddr) -> Share {
        Share {
            memory: self.clone(),
            client,
            bytes: 0,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Every change is made in one step.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes more.
    ///
    /// # Errors
    /// 429 if the client has its part, 503 if there is not so much left.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let Memory {
            most, of_client, ..
        } = self.memory;
        let mut taken = self.memory.taken();
        let own = taken.clients.get(&self.client).copied().unwrap_or(0);
        if bytes > most - taken.bytes {
            return Err(Problem::overloaded("no memory for another request"));
        }
        if bytes > of_client.saturating_sub(own) {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                format!(
                    "requests of this client take {own} bytes of memory, and may take {of_client}"
                ),
            ));
        }
        if bytes > 0 {
            taken.bytes += bytes;
            taken.clients.insert(self.client, own + bytes);
            self.bytes += bytes;
        }
        Ok(())
    }

    /// How long somebody who sends a long body waits now and then.
    fn pause(&self) -> Duration {
        let others = self.memory.taken().bytes.saturating_sub(self.bytes);
        let stretches = u32::try_from(others / STRETCH).unwrap_or(u32::MAX);
        PAUSE.saturating_mul(stretches).min(LONGEST_PAUSE)
    }

    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most that a client ever has.
    pub fn of_client(&self) -> usize {
        self.memory.of_client
    }

    /// Adds what another share of the same client has.
    pub fn join(&mut self, mut other: Share) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives a part back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        // Given back when dropped.
        let mut rest = self.memory.share(self.client);
        rest.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.memory.taken();
        taken.bytes -= self.bytes;
        if let Some(own) = taken.clients.get_mut(&self.client) {
            *own -= self.bytes;
            if *own == 0 {
                taken.clients.remove(&self.client);
            }
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
    /// The body.
    pub bytes: Vec<u8>,
    /// What it takes.
    pub share: Share,
}

/// Reads a body of at most `limit` bytes within `time`.
///
/// # Errors
/// 413, 408, 429 or 503 if there is no memory for it, 400 if the connection breaks.
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
    let share = memory.share(client_of(&request));
    let most = announced.map_or(limit, |n| limit.min(n as usize));
    let collected = collect(request.into_body(), share, most, limit);
    let received = tokio::time::timeout(time, collected)
        .await
        .map_err(|_| late())??;
    if let Some(Progress(done)) = progress {
        done.store(true, Ordering::Relaxed);
    }
    Ok(received)
}

/// Memory is taken as data arrive, not as they are announced; `most` only bounds how much is taken in advance.
async fn collect(
    mut body: Body,
    mut share: Share,
    most: usize,
    limit: usize,
) -> Result<Received, Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Problem::malformed(format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limit - bytes.len() {
            return Err(Problem::too_large("the body", limit));
        }
        let needed = bytes.len() + data.len();
        let room = bytes.capacity();
        if needed > room {
            // What is taken is what is made room for, no more.
            let more = (2 * room).max(STEP).min(most).max(needed) - room;
            share.grow(more)?;
            bytes.reserve_exact(room + more - bytes.len());
        }
        bytes.extend_from_slice(&data);
        if needed / STRETCH > (needed - data.len()) / STRETCH {
            let pause = share.pause();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::{self, Downloads};

    #[test]
    fn no_client_takes_all_memory() {
        let memory = Memory::new(100, 60);
        let share = |last: u8| memory.share(IpAddr::from([127, 0, 0, last]));
        let (mut first, mut again, mut other) = (share(1), share(1), share(2));
        first.grow(40).unwrap();
        again.grow(20).unwrap();
        assert_eq!(again.grow(1).unwrap_err().status, 429);
        other.grow(40).unwrap();
        assert_eq!(other.grow(1).unwrap_err().status, 503);
        first.shrink(10);
        other.grow(10).unwrap();
        again.join(first);
        assert_eq!((again.bytes(), other.bytes()), (50, 50));
        drop((again, other));
        let taken = memory.taken();
        assert_eq!((taken.bytes, taken.clients.len()), (0, 0));
    }

    /// A short body waits for nobody, nor does a long one that is the only one.
    #[test]
    fn long_bodies_wait_for_others() {
        let memory = Memory::new(1 << 30, 1 << 30);
        let share = |last: u8, bytes: usize| {
            let mut share = memory.share(IpAddr::from([127, 0, 0, last]));
            share.grow(bytes).unwrap();
            share
        };
        let first = share(1, 8 * STRETCH);
        assert_eq!(first.pause(), Duration::ZERO);
        let second = share(2, 3 * STRETCH);
        assert_eq!(first.pause(), 3 * PAUSE);
        assert_eq!(second.pause(), 8 * PAUSE);
        let _much = share(3, 1000 * STRETCH);
        assert_eq!(second.pause(), LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn what_is_taken_is_what_a_body_has_room_for() {
        let client = IpAddr::from([127, 0, 0, 1]);
        for (announced, length) in [(100_000, 100_000), (1 << 20, 100_000), (5, 5)] {
            let memory = Memory::new(1 << 20, 1 << 20);
            // In pieces, and no memory for the file itself.
            let own = Memory::new(1 << 20, 1 << 20).share(client);
            let file = Downloads::default().keep([0; 32], &vec![1; length], own);
            let body = download::answer(file.unwrap(), "").into_body();
            let received = collect(body, memory.share(client), announced, 1 << 20);
            let received = received.await.unwrap();
            assert_eq!(received.bytes.len(), length);
            assert_eq!(received.bytes.capacity(), received.share.bytes);
            assert_eq!(memory.taken().bytes, received.share.bytes);
        }
    }
}
