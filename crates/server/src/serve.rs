//! Listening, connections, draining.

use crate::api::{self, App};
use crate::body::Memory;
use crate::cache::Cache;
use crate::config::Config;
use crate::guard::{Clients, Peer};
use crate::lane::{Lane, aside};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, now};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use zkinfer_circuits::transcript::Digest;

/// Longest head of a request.
const HEAD_BYTES: usize = 1 << 15;
/// Most header lines of a request.
const HEADERS: usize = 64;
/// How long a client that is still sending after its answer may pause.
const LINGER: Duration = Duration::from_secs(1);
/// How often contexts whose time is over are forgotten.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// Why the service does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nothing can listen there.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder of the page.
    #[error("{0:?} is no folder")]
    Page(PathBuf),
    /// Threads cannot be made.
    #[error("cannot make threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A card that was to be added.
    #[error("the card cannot be used: {0}")]
    Card(String),
}

/// A service that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Opens the store and listens; nobody is answered before [`Server::run`].
    ///
    /// # Errors
    /// If the address is taken, the store cannot be opened, or the page's folder does not exist.
    pub async fn bind(config: Config) -> Result<Server, StartError> {
        if let Some(page) = config.page.as_ref().filter(|p| !p.is_dir()) {
            return Err(StartError::Page(page.clone()));
        }
        let address = config.listen;
        let listen = |error| StartError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let store = Store::open(&config)?;
        let app = App {
            store: Arc::new(store),
            cache: Cache::new(config.cache_cards, config.cache_bytes),
            proofs: Lane::new("proofs", config.workers(), config.queue)?,
            cards: Lane::new("cards", config.card_threads, config.card_queue)?,
            loads: Lane::new("loads", config.card_threads, config.card_queue)?,
            memory: Memory::new(config.body_bytes),
            clients: Clients::new(config.client_requests),
            metrics: Metrics::new(),
            draining: AtomicBool::new(false),
            config,
        };
        Ok(Server {
            listener,
            address,
            app: Arc::new(app),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a card, as `PUT /v1/cards/{digest}` does, whatever the configuration says of others. Takes as long as
    /// checking it takes.
    ///
    /// # Errors
    /// A card that cannot be used, a store that is full.
    pub fn add_card(&self, bytes: &[u8]) -> Result<Digest, StartError> {
        let added = api::add(&self.app, bytes);
        added.map_err(|problem| StartError::Card(problem.detail))
    }

    /// Answers until `stop`, then finishes what has begun.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let app = self.app;
        let router = api::router(&app);
        let slots = Arc::new(Semaphore::new(app.config.connections.clamp(1, 1 << 20)));
        let (draining, watch) = watch::channel(());
        let mut open = JoinSet::new();
        let purge = tokio::spawn(purge(app.clone()));
        tracing::info!(address = %self.address, store = %app.config.store.display(), "listening");
        tokio::pin!(stop);
        loop {
            let next = accept(&self.listener, &slots);
            let (stream, peer, slot) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            while open.try_join_next().is_some() {}
            let (app, router, watch) = (app.clone(), router.clone(), watch.clone());
            open.spawn(async move {
                let _slot = slot;
                app.metrics.connections.inc();
                if let Err(error) = connection(&app, router, stream, peer, watch).await {
                    tracing::debug!(%peer, %error, "a connection broke off");
                }
                app.metrics.connections.dec();
            });
        }
        app.draining.store(true, Ordering::Relaxed);
        drop(self.listener);
        tracing::info!(connections = open.len(), "stopping");
        // Nobody has to be there to hear it.
        let _ = draining.send(());
        let all = async { while open.join_next().await.is_some() {} };
        if timeout(app.config.drain_timeout, all).await.is_err() {
            tracing::warn!(
                connections = open.len(),
                "not everybody was answered in time"
            );
        }
        open.shutdown().await;
        purge.abort();
        tracing::info!("stopped");
    }
}

/// The next connection, as soon as there may be one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            // Out of file descriptors, or the client has left already.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn connection(
    app: &App,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    mut draining: watch::Receiver<()>,
) -> hyper::Result<()> {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.config.write_timeout));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        Box::pin(router.clone().oneshot(request))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.config.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut stopping = false;
    loop {
        tokio::select! {
            done = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                done?;
                break;
            }
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
    let _ = timeout(app.config.header_timeout, linger).await;
    Ok(())
}

async fn purge(app: Arc<App>) {
    let mut clock = tokio::time::interval(PURGE_EVERY);
    loop {
        clock.tick().await;
        let shared = app.clone();
        match aside(move || shared.store.purge(now())).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(contexts)) => tracing::info!(contexts, "forgotten"),
            Ok(Err(error)) => tracing::error!(%error, "the store failed"),
        }
    }
}

/// Waits for SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
