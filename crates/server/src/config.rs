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
    /// Where else to answer about health and metrics: connections to it are counted apart.
    pub operations: Option<SocketAddr>,
    /// File that holds cards; used contexts are in one beside it, `-contexts` behind its name. Made if there is none.
    pub store: PathBuf,
    /// Connection string of a PostgreSQL that several services share used contexts on, instead of the file beside the
    /// cards, which is taken over. Cards stay in each service's own store.
    #[cfg(feature = "postgres")]
    pub database: Option<String>,
    /// Folder that is served under `/`.
    pub page: Option<PathBuf>,
    /// Origins whose pages may call the service; `*` for all.
    pub origins: Vec<String>,
    /// Whoever adds a card must send this as a bearer token. Without one, nobody adds cards over HTTP, unless
    /// [`Config::open`] says otherwise.
    pub token: Option<String>,
    /// Everybody adds cards over HTTP; those of whoever has no token may have to make room for others.
    pub open: bool,
    /// File of tokens without which nobody asks for anything under `/v1/` ([`zkinfer_http::access`]). Whoever has one
    /// with the scope `cards` adds cards as the operator's.
    pub tokens: Option<PathBuf>,
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
    /// Most bytes of bodies in memory, of what they are decoded into, and of files that are fetched, of all requests
    /// together. One client has a quarter of it, or what the longest batch needs.
    pub body_bytes: usize,

    /// Threads that check proofs; 0: one for each processor.
    pub threads: usize,
    /// Most requests that wait for these threads.
    pub queue: usize,
    /// Threads for what takes long: large batches, proofs of many runs, expensive cards.
    pub long_threads: usize,
    /// What takes longer than this, by estimate, takes long.
    pub long: Duration,
    /// Most processor time for one request, by estimate, and most that it goes on for from when it is begun.
    pub job_timeout: Duration,
    /// Threads that check cards.
    pub card_threads: usize,
    /// Most requests that wait for their card to be checked or loaded.
    pub card_queue: usize,
    /// Most connections; one on which nothing is asked makes room for another one.
    pub connections: usize,
    /// Most connections of one client; 0, or behind a proxy: no limit.
    pub client_connections: usize,
    /// Most requests of one client (address, or /64 network of IPv6) at the same time; 0: no limit.
    pub client_requests: usize,

    /// How long the head of a request may take, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long a client may leave an answer unread. All of it takes no longer than that and a second for each 32 KiB.
    pub write_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long requests may take to finish when the service stops.
    pub drain_timeout: Duration,

    /// Most cards that are kept ready in memory.
    pub cache_cards: usize,
    /// Memory in bytes that they may take, about.
    pub cache_bytes: usize,
    /// Most of the operator's cards in the store.
    pub store_cards: u64,
    /// Most bytes of the operator's cards in the store.
    pub store_bytes: u64,
    /// Most cards in the store that anybody may have sent.
    pub anybody_cards: u64,
    /// Most bytes of such cards in the store.
    pub anybody_bytes: u64,
    /// How long such a card is kept if nobody asks about it.
    pub anybody_for: Duration,
    /// Most used contexts in the store, of the operator's cards.
    pub contexts: u64,
    /// Most used contexts of cards that anybody may have sent.
    pub anybody_contexts: u64,
    /// How long a used context is remembered.
    pub once_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let mut limits = Limits::default();
        limits.k = 14;
        limits.points = 1 << 16;
        limits.info = 1 << 16;
        limits.columns = 1024;
        limits.card_bytes = 1 << 23;
        limits.proof_bytes = 1 << 20;
        limits.run_rows = 1 << 18;
        limits.program.elements = 1 << 24;
        limits.program.slots = 1 << 24;
        limits.program.pieces = 1 << 17;
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            operations: None,
            store: PathBuf::from("zkinfer.redb"),
            #[cfg(feature = "postgres")]
            database: None,
            page: None,
            origins: Vec::new(),
            token: None,
            open: false,
            tokens: None,
            read_only: false,
            forwarded: false,
            limits,
            request_bytes: 1 << 21,
            batch_bytes: 1 << 24,
            batch_proofs: 256,
            batch_cards: 16,
            body_bytes: 1 << 27,
            threads: 0,
            queue: 256,
            long_threads: 1,
            long: Duration::from_millis(250),
            job_timeout: Duration::from_secs(10),
            card_threads: 1,
            card_queue: 16,
            connections: 1024,
            client_connections: 128,
            client_requests: 128,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            cache_cards: 64,
            cache_bytes: 1 << 26,
            store_cards: 10_000,
            store_bytes: 1 << 30,
            anybody_cards: 1000,
            anybody_bytes: 1 << 28,
            anybody_for: Duration::from_secs(30 * 24 * 3600),
            contexts: 1_000_000,
            anybody_contexts: 100_000,
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
