//! Answers on their way out: what belongs to one is held until all of it is with the system, and that takes no longer than
//! a client with a slow line needs.
//!
//! hyper drops the body of an answer as soon as it has the last piece of it, before anything of that piece is written. So
//! a body that is dropped goes here, with all that it holds, until the connection has nothing more to write.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes in a second that a client has to read of its answers.
const SLOWEST: usize = 1 << 15;

/// The answers of one connection that are not sent.
#[derive(Clone, Debug)]
pub struct Answers {
    unsent: Arc<Mutex<Unsent>>,
    /// What an answer may take besides its bytes.
    time: Duration,
}

#[derive(Debug, Default)]
struct Unsent {
    /// Bodies that are still asked for pieces.
    open: usize,
    /// Bodies that are not, and what they hold.
    done: Vec<Body>,
    /// When enough has to be written.
    due: Option<Instant>,
}

impl Answers {
    /// Of a connection; an answer may take so long besides its bytes.
    pub fn new(time: Duration) -> Answers {
        Answers {
            unsent: Arc::default(),
            time,
        }
    }

    /// An answer that is sent from now on.
    pub fn begin(&self, response: Response) -> Response {
        let mut unsent = self.unsent();
        unsent.open += 1;
        let due = || Instant::now().checked_add(self.time);
        unsent.due = unsent.due.or_else(due);
        drop(unsent);
        response.map(|body| {
            Body::new(Sent {
                body,
                answers: self.clone(),
            })
        })
    }

    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        // Every change is made in one step.
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, bytes: usize) {
        let more = Duration::from_secs(1) * bytes as u32 / SLOWEST as u32;
        let mut unsent = self.unsent();
        unsent.due = unsent.due.and_then(|due| due.checked_add(more));
    }

    /// Everything that there was to write is written.
    fn flushed(&self) {
        let mut unsent = self.unsent();
        if unsent.open == 0 {
            unsent.due = None;
        }
        let done = std::mem::take(&mut unsent.done);
        drop(unsent);
        // What it holds may take locks of its own.
        drop(done);
    }
}

/// The body of an answer.
struct Sent {
    body: Body,
    answers: Answers,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        let mut unsent = self.answers.unsent();
        unsent.open -= 1;
        unsent.done.push(body);
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that answers are written to.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    answers: Answers,
    clock: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Wire<S> {
    /// A stream that answers are written to.
    pub fn new(stream: S, answers: Answers) -> Wire<S> {
        Wire {
            stream,
            answers,
            clock: None,
        }
    }

    /// What has come of writing: an error if nothing could be written, and by now it should have been.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        if let Poll::Ready(result) = result {
            self.answers.wrote(*result.as_ref().unwrap_or(&0));
            return Poll::Ready(result);
        }
        let Some(due) = self.answers.unsent().due else {
            return Poll::Pending;
        };
        let clock = self
            .clock
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if clock.deadline() != due {
            clock.as_mut().reset(due);
        }
        ready!(clock.as_mut().poll(cx));
        let slow = "answers are read too slowly";
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, slow)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes here when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.answers.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::hold;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_an_answer_holds_is_held_until_it_is_sent() {
        let answers = Answers::new(Duration::from_secs(60));
        let (stream, _other) = tokio::io::duplex(64);
        let mut wire = Wire::new(stream, answers.clone());
        let held = Arc::new(());
        let answer = || answers.begin(hold(Response::new(Body::from("text")), held.clone()));
        let (first, second) = (answer(), answer());
        drop(first);
        assert_eq!(Arc::strong_count(&held), 3, "nothing is written");
        wire.flush().await.unwrap();
        assert_eq!(Arc::strong_count(&held), 2, "only the first one is");
        drop(second);
        assert!(answers.unsent().due.is_some());
        wire.flush().await.unwrap();
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(answers.unsent().due.is_none());
    }

    #[tokio::test]
    async fn whoever_reads_too_slowly_is_left() {
        let answers = Answers::new(Duration::from_millis(50));
        let (stream, mut slow) = tokio::io::duplex(64);
        let mut wire = Wire::new(stream, answers.clone());
        let answer = answers.begin(Response::new(Body::empty()));
        // There is always something that is read, but it would take hours.
        let reader = tokio::spawn(async move {
            let mut some = [0; 16];
            while let Ok(1..) = slow.read(&mut some).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let error = wire.write_all(&vec![0; 1 << 26]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop((wire, answer));
        reader.await.unwrap();
    }
}
