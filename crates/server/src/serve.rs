//! Listening, connections, draining.

use crate::api::{self, App};
use crate::cache::Cache;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, now};
use axum::Router;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use zkinfer_circuits::transcript::Digest;
use zkinfer_http::access::{Access, AccessError};
use zkinfer_http::body::Memory;
use zkinfer_http::connections::Connections;
use zkinfer_http::door::{self, Door, ListenError, OPERATIONS, Times, listen};
use zkinfer_http::guard::{Clients, Guard};
use zkinfer_http::lane::{Lane, aside};

pub use zkinfer_http::door::stop_signal;

/// How often contexts whose time is over are forgotten.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// Why the service does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nothing can listen there.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of tokens.
    #[error(transparent)]
    Tokens(#[from] AccessError),
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
        // Files and databases are waited for elsewhere.
        let path = config.store.clone();
        let opened = tokio::task::spawn_blocking(move || app(config)).await;
        let app = opened.map_err(|error| StoreError::Open {
            path,
            reason: error.to_string(),
        })??;
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
        let purge = tokio::spawn(purge(app.clone()));
        let access = app.guard.access.clone();
        let follow = access.map(|access| tokio::spawn(access.follow()));
        tracing::info!(address = %self.address, store = %app.config.store.display(), "listening");
        let config = &app.config;
        let of_client = if config.forwarded {
            0
        } else {
            config.client_connections
        };
        let door = |router: Router, connections: Connections| Door {
            guard: app.guard.clone(),
            router,
            connections,
            times: Times {
                header: config.header_timeout,
                write: config.write_timeout,
                drain: config.drain_timeout,
            },
        };
        let all = Connections::new(config.connections, of_client);
        let main = (self.listener, door(api::router(&app), all));
        let operations = self.operations.map(|(listener, _)| {
            let few = Connections::new(OPERATIONS, OPERATIONS / 2);
            (listener, door(api::operations(&app), few))
        });
        let drain = || app.draining.store(true, Ordering::Relaxed);
        door::serve(main, operations, stop, drain).await;
        purge.abort();
        if let Some(follow) = follow {
            follow.abort();
        }
    }
}

/// What all requests share, of a service with nothing in it but what the store has.
pub fn app(config: Config) -> Result<App, StartError> {
    let access = match &config.tokens {
        Some(path) => Some(Arc::new(Access::open(path)?)),
        None => None,
    };
    let store = Store::open(&config)?;
    let metrics = Metrics::new();
    let guard = Guard {
        metrics: metrics.http.clone(),
        clients: Clients::new(config.client_requests),
        forwarded: config.forwarded,
        request_timeout: config.request_timeout,
        limited: &["/v1/"],
        access,
        scope: api::scope,
    };
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
        guard: Arc::new(guard),
        metrics,
        draining: AtomicBool::new(false),
        config,
    })
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
