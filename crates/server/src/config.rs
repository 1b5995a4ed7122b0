//! Every bound and default of the service.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use zkinfer_circuits::verify::Limits;

/// How the service behaves; [`Config::default`] is for one machine behind a proxy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// File that holds cards and used contexts; made if there is none.
    pub store: PathBuf,
    /// Folder that is served under `/`.
    pub page: Option<PathBuf>,
    /// Origins whose pages may call the service; `*` for all.
    pub origins: Vec<String>,
    /// Whoever adds a card must send this as a bearer token.
    pub token: Option<String>,
    /// Nobody adds cards over HTTP.
    pub read_only: bool,
    /// The last address in `X-Forwarded-For` is the client's: only behind a proxy that writes it.
    pub forwarded: bool,

    /// What a card or a proof may ask for. Narrower than the library's default: cards are strangers', too.
    pub limits: Limits,
    /// Longest body of a verification in bytes.
    pub request_bytes: usize,
    /// Longest body of a batch in bytes.
    pub batch_bytes: usize,
    /// Most proofs in a batch.
    pub batch_proofs: usize,
    /// Most different cards in a batch.
    pub batch_cards: usize,
    /// Most bytes of bodies in memory, of all requests together.
    pub body_bytes: usize,

    /// Threads that check proofs; 0: one for each processor.
    pub threads: usize,
    /// Most requests that wait for these threads.
    pub queue: usize,
    /// Threads that check cards.
    pub card_threads: usize,
    /// Most requests that wait for their card to be checked or loaded.
    pub card_queue: usize,
    /// Most connections; others wait to be accepted.
    pub connections: usize,
    /// Most requests of one client (address, or /64 network of IPv6) at the same time; 0: no limit.
    pub client_requests: usize,

    /// How long the head of a request may take, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long requests may take to finish when the service stops.
    pub drain_timeout: Duration,

    /// Most cards that are kept ready in memory.
    pub cache_cards: usize,
    /// Memory in bytes that they may take, about.
    pub cache_bytes: usize,
    /// Most cards in the store.
    pub store_cards: u64,
    /// Most bytes of cards in the store.
    pub store_bytes: u64,
    /// Most used contexts in the store.
    pub contexts: u64,
    /// How long a used context is remembered.
    pub once_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let mut limits = Limits::default();
        limits.k = 14;
        limits.points = 1 << 16;
        limits.columns = 1024;
        limits.card_bytes = 1 << 23;
        limits.proof_bytes = 1 << 20;
        limits.program.elements = 1 << 24;
        limits.program.slots = 1 << 20;
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            store: PathBuf::from("zkinfer.redb"),
            page: None,
            origins: Vec::new(),
            token: None,
            read_only: false,
            forwarded: false,
            limits,
            request_bytes: 1 << 21,
            batch_bytes: 1 << 24,
            batch_proofs: 256,
            batch_cards: 16,
            body_bytes: 1 << 28,
            threads: 0,
            queue: 256,
            card_threads: 1,
            card_queue: 16,
            connections: 1024,
            client_requests: 128,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            cache_cards: 64,
            cache_bytes: 1 << 29,
            store_cards: 10_000,
            store_bytes: 1 << 30,
            contexts: 1_000_000,
            once_for: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl Config {
    /// [`Config::threads`], with 0 resolved.
    pub(crate) fn workers(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}
