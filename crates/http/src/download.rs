//! Answers that are longer than a buffer: files that are shared by all who fetch them, and what is held until a body ends.

use crate::body::Share;
use crate::lane::aside;
use crate::problem::Problem;
use crate::turns::Turns;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

/// What is copied at once. The rest is shared, and sent when the client has read what came before.
const PIECE: usize = 1 << 14;

/// A file that somebody fetches, and its share of the memory.
#[derive(Debug)]
pub struct File {
    bytes: Vec<u8>,
    _share: Share,
}

impl File {
    /// Its content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Files that are being fetched, by name: each is read once, and in memory once.
#[derive(Debug, Default)]
pub struct Downloads {
    files: Mutex<HashMap<[u8; 32], Weak<File>>>,
    reading: Turns<[u8; 32]>,
}

impl Downloads {
    /// A file, read off the threads that do the networking unless somebody is fetching it already.
    ///
    /// # Errors
    /// As `read`.
    pub async fn get(
        self: &Arc<Self>,
        name: [u8; 32],
        read: impl FnOnce(&Downloads) -> Result<Arc<File>, Problem> + Send + 'static,
    ) -> Result<Arc<File>, Problem> {
        if let Some(file) = self.find(&name) {
            return Ok(file);
        }
        let turn = self.reading.take(name).await;
        if let Some(file) = self.find(&name) {
            return Ok(file);
        }
        let own = self.clone();
        aside(move || {
            // Until it is there, even if nobody waits for it any more.
            let _turn = turn;
            read(&own)
        })
        .await?
    }

    fn find(&self, name: &[u8; 32]) -> Option<Arc<File>> {
        self.files().get(name)?.upgrade()
    }

    /// Keeps a file as long as somebody fetches it. It is the first one's share that it counts in.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn keep(
        &self,
        name: [u8; 32],
        bytes: &[u8],
        mut share: Share,
    ) -> Result<Arc<File>, Problem> {
        share.grow(bytes.len())?;
        let file = Arc::new(File {
            bytes: bytes.to_vec(),
            _share: share,
        });
        let mut files = self.files();
        files.retain(|_, file| file.strong_count() > 0);
        files.insert(name, Arc::downgrade(&file));
        Ok(file)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<[u8; 32], Weak<File>>> {
        // Every change is made in one step.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer with a file.
pub fn answer(file: Arc<File>, kind: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        axum::http::HeaderValue::from_static(kind),
    );
    let mut response = Response::new(Body::new(Pieces { file, at: 0 }));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = headers;
    response
}

/// A file in pieces.
struct Pieces {
    file: Arc<File>,
    at: usize,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = &self.file.bytes[self.at..];
        let piece = &rest[..rest.len().min(PIECE)];
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        let piece = Bytes::copy_from_slice(piece);
        self.at += piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.file.bytes.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.file.bytes.len() - self.at) as u64)
    }
}

/// Holds something as long as the body of a response, which is until it is sent (`wire`), or nobody reads it any more.
pub fn hold<T: Send + Unpin + 'static>(response: Response, held: T) -> Response {
    response.map(|body| Body::new(Held { body, _held: held }))
}

struct Held<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Memory;
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_that_many_ask_for_at_once_is_read_once() {
        let downloads = Arc::new(Downloads::default());
        let reads = Arc::new(AtomicUsize::new(0));
        // Memory for one of them.
        let memory = Memory::new(1000, 1000);
        let ask = || {
            let (downloads, reads) = (downloads.clone(), reads.clone());
            let share = memory.share(IpAddr::from([127, 0, 0, 1]));
            tokio::spawn(async move {
                let read = move |downloads: &Downloads| {
                    reads.fetch_add(1, Ordering::Relaxed);
                    downloads.keep([1; 32], &[7; 1000], share)
                };
                downloads.get([1; 32], read).await
            })
        };
        let asked: Vec<_> = (0..16).map(|_| ask()).collect();
        let mut files = Vec::new();
        for file in asked {
            files.push(file.await.unwrap().unwrap());
        }
        assert!(files.iter().all(|file| file.bytes() == [7; 1000]));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        drop(files);
        assert!(downloads.find(&[1; 32]).is_none());
    }
}
