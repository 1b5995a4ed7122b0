//! Listening, connections, draining.

use crate::connections::{Connection, Connections};
use crate::download::hold;
use crate::guard::{Guard, Peer};
use crate::lane::LONGEST;
use crate::wire::{Answers, Wire};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

/// Longest head of a request.
const HEAD_BYTES: usize = 1 << 15;
/// Most header lines of a request.
const HEADERS: usize = 64;
/// How long a client that is still sending after its answer may pause.
const LINGER: Duration = Duration::from_secs(1);
/// Connections of whoever watches the service.
pub const OPERATIONS: usize = 64;

/// Nothing can listen there.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub error: std::io::Error,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the head of a request, and for doing nothing.
    pub header: Duration,
    /// To read some of an answer.
    pub write: Duration,
    /// To finish when the service stops.
    pub drain: Duration,
}

/// Listens; port 0 takes any.
///
/// # Errors
/// If the address is taken, or not this machine's.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |error| ListenError { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Answers until `stop`, calls `drain`, then finishes what has begun. Whoever watches the service has connections of its
/// own, until the end.
pub async fn serve(
    main: (TcpListener, Door),
    operations: Option<(TcpListener, Door)>,
    stop: impl Future<Output = ()>,
    drain: impl FnOnce(),
) {
    let (listener, door) = main;
    let (draining, watch) = watch::channel(());
    let mut open = JoinSet::new();
    let also = watch.clone();
    let watching = operations.map(|(listener, door)| {
        tokio::spawn(async move { door.open(&listener, &mut JoinSet::new(), &also).await })
    });
    tokio::select! {
        biased;
        () = stop => {}
        () = door.open(&listener, &mut open, &watch) => {}
    }
    drain();
    let time = door.times.drain;
    drop(listener);
    drop(door);
    tracing::info!(connections = open.len(), "stopping");
    // Nobody has to be there to hear it.
    let _ = draining.send(());
    let all = async { while open.join_next().await.is_some() {} };
    if timeout(time, all).await.is_err() {
        tracing::warn!(
            connections = open.len(),
            "not everybody was answered in time"
        );
    }
    open.shutdown().await;
    if let Some(watching) = watching {
        watching.abort();
    }
    tracing::info!("stopped");
}

/// Where connections come in, and what answers them.
#[derive(Debug)]
pub struct Door {
    /// What is done around every request.
    pub guard: Arc<Guard>,
    /// What answers.
    pub router: Router,
    /// How many there may be.
    pub connections: Connections,
    /// How long a client may take.
    pub times: Times,
}

impl Door {
    /// Answers whoever comes, each in a task of `open`. Does not end.
    async fn open(
        &self,
        listener: &TcpListener,
        open: &mut JoinSet<()>,
        watch: &watch::Receiver<()>,
    ) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // Out of file descriptors, or the client has left already.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            while open.try_join_next().is_some() {}
            let Some(own) = self.connections.enter(peer.ip()) else {
                self.guard.metrics.refused.inc();
                continue;
            };
            let (guard, router, watch) = (self.guard.clone(), self.router.clone(), watch.clone());
            let times = self.times;
            open.spawn(async move {
                guard.metrics.connections.inc();
                if let Err(error) = connection(times, router, stream, peer, &own, watch).await {
                    tracing::debug!(%peer, %error, "a connection broke off");
                }
                guard.metrics.connections.dec();
            });
        }
    }
}

/// Answers the requests of one connection.
async fn connection(
    times: Times,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    own: &Connection,
    mut draining: watch::Receiver<()>,
) -> hyper::Result<()> {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(times.write));
    let answers = Answers::new(times.write);
    let stream = Wire::new(Box::pin(stream), answers.clone());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let busy = own.work();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = router.clone().oneshot(request);
        let answers = answers.clone();
        Box::pin(async move { Ok::<_, Infallible>(answers.begin(hold(answer.await?, busy))) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.header.min(LONGEST))
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopping = false;
    loop {
        tokio::select! {
            done = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                done?;
                break;
            }
            // Somebody else needs the place, and nothing is worked on here.
            () = own.displaced() => return Ok(()),
            // An error says that whoever could tell is gone: that is the end, too.
            _ = draining.changed(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    // Closing while a body is still arriving would reset the connection, and the client might never see its answer.
    let mut stream = connection.into_parts().io.into_inner();
    let linger = async {
        stream.shutdown().await.ok();
        let mut rest = [0; 1 << 13];
        while let Ok(Ok(1..)) = timeout(LINGER, stream.read(&mut rest)).await {}
    };
    tokio::select! {
        _ = timeout(times.header, linger) => {}
        () = own.displaced() => {}
    }
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, from now on: also one that arrives before somebody looks at the future.
///
/// # Panics
/// Outside of a runtime.
pub fn stop_signal() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        [SignalKind::interrupt(), SignalKind::terminate()].map(signal)
    };
    async move {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = signals.map(|signal| async {
                match signal {
                    Ok(mut signal) => {
                        signal.recv().await;
                    }
                    Err(_) => std::future::pending().await,
                }
            });
            tokio::select! {
                () = interrupt => {}
                () = terminate => {}
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
