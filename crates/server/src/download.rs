//! Answers that are longer than a buffer: files that are shared by all who fetch them, and what is held until a body ends.

use crate::body::Share;
use crate::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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

/// Files that are being fetched, by name: each is in memory once.
#[derive(Debug, Default)]
pub struct Downloads(Mutex<HashMap<[u8; 32], Weak<File>>>);

impl Downloads {
    /// A file that is being fetched already.
    pub fn find(&self, name: &[u8; 32]) -> Option<Arc<File>> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(name)?.upgrade()
    }

    /// Keeps a file as long as somebody fetches it. It is the first one's share that it counts in.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn keep(
        &self,
        name: [u8; 32],
        bytes: Vec<u8>,
        mut share: Share,
    ) -> Result<Arc<File>, Problem> {
        share.grow(bytes.len())?;
        let _share = share;
        let file = Arc::new(File { bytes, _share });
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.strong_count() > 0);
        files.insert(name, Arc::downgrade(&file));
        Ok(file)
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
