//! Listening, connections, draining.

use crate::api::{self, App};
use crate::body::Memory;
use crate::cache::Cache;
use crate::config::Config;
use crate::connections::{Connection, Connections};
use crate::download::hold;
use crate::guard::{Clients, Peer};
use crate::lane::{LONGEST, Lane, aside};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, now};
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
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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
/// Connections of whoever watches the service.
const OPERATIONS: usize = 64;
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
    operations: Option<(TcpListener, SocketAddr)>,
    app: Arc<App>,
}

impl Server {
    /// Opens the store and listens; nobody is answered before [`Server::run`].
    ///
    /// # Errors
    /// If an address is taken, the store cannot be opened, or the page's folder does not exist.
    pub async fn bind(config: Config) -> Result<Server, StartError> {
        if let Some(page) = config.page.as_ref().filter(|p| !p.is_dir()) {
            return Err(StartError::Page(page.clone()));
        }
        let (listener, address) = listen(config.listen).await?;
        let operations = match config.operations {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let app = app(config)?;
        Ok(Server {
            listener,
            address,
            operations,
            app: Arc::new(app),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where else it answers about health and metrics.
    pub fn operations(&self) -> Option<SocketAddr> {
        self.operations.as_ref().map(|(_, address)| *address)
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
        let (draining, watch) = watch::channel(());
        let mut open = JoinSet::new();
        let purge = tokio::spawn(purge(app.clone()));
        tracing::info!(address = %self.address, store = %app.config.store.display(), "listening");
        let config = &app.config;
        let of_client = if config.forwarded {
            0
        } else {
            config.client_connections
        };
        let door = Door {
            app: app.clone(),
            router: api::router(&app),
            connections: Connections::new(config.connections, of_client),
            watch: watch.clone(),
        };
        // Whoever watches the service has connections of its own, until the end.
        let watching = self.operations.map(|(listener, _)| {
            let door = Door {
                app: app.clone(),
                router: api::operations(&app),
                connections: Connections::new(OPERATIONS, OPERATIONS / 2),
                watch,
            };
            tokio::spawn(async move { door.open(&listener, &mut JoinSet::new()).await })
        });
        tokio::select! {
            biased;
            () = stop => {}
            () = door.open(&self.listener, &mut open) => {}
        }
        app.draining.store(true, Ordering::Relaxed);
        drop(self.listener);
        drop(door);
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
        if let Some(watching) = watching {
            watching.abort();
        }
        tracing::info!("stopped");
    }
}

/// What all requests share, of a service with nothing in it but what the store has.
pub fn app(config: Config) -> Result<App, StartError> {
    let store = Store::open(&config)?;
    Ok(App {
        store: Arc::new(store),
        cache: Cache::new(config.cache_cards, config.cache_bytes),
        proofs: Lane::new("proofs", config.workers(), config.queue)?,
        long: Lane::new("long", config.long_threads, config.queue)?,
        bodies: Lane::new("bodies", 1, config.queue)?,
        cards: Lane::new("cards", config.card_threads, config.card_queue)?,
        loads: Lane::new("loads", config.card_threads, config.card_queue)?,
        memory: Memory::new(config.body_bytes, api::of_client(&config)),
        downloads: Arc::default(),
        clients: Clients::new(config.client_requests),
        metrics: Metrics::new(),
        draining: AtomicBool::new(false),
        config,
    })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Where connections come in, and what answers them.
struct Door {
    app: Arc<App>,
    router: Router,
    connections: Connections,
    watch: watch::Receiver<()>,
}

impl Door {
    /// Answers whoever comes, each in a task of `open`. Does not end.
    async fn open(&self, listener: &TcpListener, open: &mut JoinSet<()>) {
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
                self.app.metrics.refused.inc();
                continue;
            };
            let (app, router, watch) = (self.app.clone(), self.router.clone(), self.watch.clone());
            open.spawn(async move {
                app.metrics.connections.inc();
                if let Err(error) = connection(&app, router, stream, peer, &own, watch).await {
                    tracing::debug!(%peer, %error, "a connection broke off");
                }
                app.metrics.connections.dec();
            });
        }
    }
}

/// Answers the requests of one connection.
async fn connection(
    app: &App,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    own: &Connection,
    mut draining: watch::Receiver<()>,
) -> hyper::Result<()> {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.config.write_timeout));
    let answers = Answers::new(app.config.write_timeout);
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
        .header_read_timeout(app.config.header_timeout.min(LONGEST))
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
        _ = timeout(app.config.header_timeout, linger) => {}
        () = own.displaced() => {}
    }
    Ok(())
}

async fn purge(app: Arc<App>) {
    let mut clock = tokio::time::interval(PURGE_EVERY);
    loop {
        clock.tick().await;
        let shared = app.clone();
        let forgotten = aside(move || -> Result<_, StoreError> {
            let now = now();
            let since = now.saturating_sub(shared.config.anybody_for.as_secs());
            let cards = shared.store.expire(since)?;
            shared.cache.forget(&cards);
            Ok((shared.store.purge(now)?, cards.len()))
        });
        match forgotten.await {
            Ok(Ok((0, 0))) | Err(_) => {}
            Ok(Ok((contexts, cards))) => tracing::info!(contexts, cards, "forgotten"),
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
