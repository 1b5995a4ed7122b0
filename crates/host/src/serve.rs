//! Starting, draining, forgetting.

use crate::api::{self, App};
use crate::config::{Config, ProofMode};
use crate::ledger::{Keys, Ledger};
use crate::metrics::Metrics;
use crate::models::{ModelError, Models};
use crate::prover::{self, Bell};
use crate::store::{Store, StoreError};
use axum::Router;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use zkinfer::{Digest, Secret};
use zkinfer_http::access::{Access, AccessError};
use zkinfer_http::body::Memory;
use zkinfer_http::connections::Connections;
use zkinfer_http::door::{self, Door, ListenError, OPERATIONS, Times, listen};
use zkinfer_http::guard::{Clients, Guard};
use zkinfer_http::lane::{Lane, aside, stand_back};
use zkinfer_slip::{HostKey, KeyList, KeyListError, SecretKey, now};

pub use zkinfer_http::door::stop_signal;

/// How often runs are forgotten that nobody may ask about any more.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// How many milliseconds longer they are kept, so that whoever asks a little late is told that it is late.
const GRACE: u64 = 60_000;

/// Why the host does not start.
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
    /// A model that was to be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Threads cannot be made.
    #[error("cannot make threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A thread cannot be made.
    #[error("cannot make a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A host that listens.
#[derive(Debug)]
pub struct Host {
    listener: TcpListener,
    address: SocketAddr,
    operations: Option<(TcpListener, SocketAddr)>,
    config: Config,
    keys: Keys,
    store: Arc<dyn Store>,
    models: Models,
    access: Option<Arc<Access>>,
}

impl Host {
    /// Listens; nobody is answered before [`Host::run`].
    ///
    /// # Errors
    /// If an address is taken, or the file of tokens is none.
    pub async fn bind(
        config: Config,
        key: SecretKey,
        store: Arc<dyn Store>,
    ) -> Result<Host, StartError> {
        let access = match &config.tokens {
            Some(path) => Some(Arc::new(Access::open(path)?)),
            None => None,
        };
        let (listener, address) = listen(config.listen).await?;
        let operations = match config.operations {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        Ok(Host {
            listener,
            address,
            operations,
            config,
            keys: Keys {
                key,
                earlier: Vec::new(),
                list: KeyList::default(),
            },
            store,
            models: Models::default(),
            access,
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

    /// What it signs with, as others know it.
    pub fn key(&self) -> HostKey {
        self.keys.key.public()
    }

    /// Promises proofs of answers that were signed with this key before.
    pub fn add_earlier_key(&mut self, key: SecretKey) {
        self.keys.earlier.push(key);
    }

    /// Publishes how the host came to its key.
    ///
    /// # Errors
    /// A list that is none, or that does not end with the host's key.
    pub fn publish(&mut self, list: KeyList) -> Result<(), KeyListError> {
        let key = self.key();
        let keys = list.of(&key)?;
        if let Some(last) = keys.last().filter(|last| **last != key) {
            return Err(KeyListError::Last { last: *last, key });
        }
        self.keys.list = list;
        Ok(())
    }

    /// Serves a model by its own name or another one, and makes its keys. Of several with one name, the last is the one
    /// that is meant where no version is said.
    ///
    /// # Errors
    /// A model whose card does not describe it, a name that nobody can ask for, the same model twice.
    pub fn add_model(&mut self, name: Option<&str>, model: Secret) -> Result<Digest, StartError> {
        Ok(self.models.add(name, model)?.digest)
    }

    /// Answers until `stop`, then finishes what has begun. Proofs that are not finished stay in the queue.
    ///
    /// # Errors
    /// If the store fails at the start, or threads cannot be made.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let config = &self.config;
        let (threads, proof_threads) = config.workers();
        let metrics = Metrics::new();
        let guard = Arc::new(Guard {
            metrics: metrics.http.clone(),
            clients: Clients::new(config.client_requests),
            forwarded: config.forwarded,
            request_timeout: config.request_timeout,
            limited: &["/v1/", "/v2/models", "/v2/repository"],
            access: self.access.clone(),
            scope: api::scope,
        });
        let longest = config.request_bytes.saturating_mul(api::DECODED + 1);
        let store = self.store.clone();
        let last = tokio::task::spawn_blocking(move || store.last());
        let last = last.await.map_err(std::io::Error::other)??;
        let app = Arc::new(App {
            ledger: Ledger::new(self.keys, &last, config),
            store: self.store,
            models: self.models,
            lane: Lane::new("runs", threads, config.queue)?,
            memory: Memory::new(config.body_bytes, longest.max(config.body_bytes / 4)),
            guard: guard.clone(),
            metrics,
            bell: Bell::new(),
            draining: AtomicBool::new(false),
            config: config.clone(),
        });
        let mut provers = Vec::new();
        for number in 0..config.provers {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(proof_threads)
                .thread_name(move |i| format!("prover-{number}-{i}"))
                .start_handler(|_| stand_back())
                .build()?;
            let own = app.clone();
            let thread = std::thread::Builder::new().name(format!("prover-{number}"));
            provers.push(thread.spawn(move || prover::work(&own, &pool))?);
        }
        let purge = tokio::spawn(purge(app.clone()));
        let follow = self.access.map(|access| tokio::spawn(access.follow()));
        tracing::info!(address = %self.address, key = %app.ledger.public(), models = app.models.all().count(), "listening");
        let of_client = if config.forwarded {
            0
        } else {
            config.client_connections
        };
        let door = |router: Router, connections: Connections| Door {
            guard: guard.clone(),
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
        let drain = || {
            app.draining.store(true, Ordering::Relaxed);
            app.bell.ring();
        };
        door::serve(main, operations, stop, drain).await;
        purge.abort();
        if let Some(follow) = follow {
            follow.abort();
        }
        let ended = aside(move || {
            provers
                .into_iter()
                .map(std::thread::JoinHandle::join)
                .all(|r| r.is_ok())
        })
        .await;
        if !matches!(ended, Ok(true)) {
            tracing::error!("a prover panicked");
        }
        Ok(())
    }
}

/// Whether proofs that are promised from now on are in time: where the queue takes half of the time that there is for a
/// proof, nobody is answered until it is shorter, for each answer is one that a proof may be asked of.
pub fn behind(app: &App, mode: ProofMode) -> Result<bool, StoreError> {
    let queued = app.store.totals()?.queued + u64::from(mode != ProofMode::None);
    let provers = app.config.provers.max(1) as u64;
    let rounds = u32::try_from(queued.div_ceil(provers)).unwrap_or(u32::MAX);
    Ok(app.bell.pace().saturating_mul(rounds) > app.config.prove_within / 2)
}

async fn purge(app: Arc<App>) {
    let mut clock = tokio::time::interval(PURGE_EVERY);
    loop {
        clock.tick().await;
        let shared = app.clone();
        match aside(move || shared.store.purge(now().saturating_sub(GRACE))).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(runs)) => tracing::info!(runs, "forgotten"),
            Ok(Err(error)) => tracing::error!(%error, "the store failed"),
        }
    }
}
