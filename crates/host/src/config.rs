//! Every bound and default of the host.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use utoipa::ToSchema;

/// When a run is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProofMode {
    /// When somebody asks for it.
    #[default]
    None,
    /// In time, without anybody asking again.
    Later,
    /// At once: the answer waits for the proof.
    Now,
}

impl FromStr for ProofMode {
    type Err = String;

    fn from_str(text: &str) -> Result<ProofMode, String> {
        match text {
            "none" => Ok(ProofMode::None),
            "later" => Ok(ProofMode::Later),
            "now" => Ok(ProofMode::Now),
            other => Err(format!("there is no proof {other:?}: none, later or now")),
        }
    }
}

/// How the host behaves; [`Config::default`] is for one machine behind a proxy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where else to answer about health and metrics: connections to it are counted apart.
    pub operations: Option<SocketAddr>,
    /// When runs are proven whose request does not say.
    pub proof: ProofMode,
    /// File of tokens without which nobody asks for anything ([`zkinfer_http::access`]), besides health and metrics.
    pub tokens: Option<PathBuf>,
    /// The last address in `X-Forwarded-For` is the client's: only behind a proxy that writes it.
    pub forwarded: bool,

    /// How long after an answer a proof may be asked for.
    pub ask_for: Duration,
    /// How long after that it is there, at most. Where the queue takes half of that, nobody is answered until it is
    /// shorter.
    pub prove_within: Duration,
    /// How long proofs are kept after they are due.
    pub keep_proofs: Duration,
    /// Most runs in the store.
    pub runs: u64,
    /// Most bytes of their inputs and slips.
    pub run_bytes: u64,

    /// Longest body of a request in bytes.
    pub request_bytes: usize,
    /// Most bytes of bodies in memory, and of what they are decoded into, of all requests together. One client has a
    /// quarter of it, or what the longest request needs.
    pub body_bytes: usize,
    /// Threads that run models; 0: one for each processor.
    pub threads: usize,
    /// Most requests that wait for these threads.
    pub queue: usize,
    /// Proofs that are made at the same time.
    pub provers: usize,
    /// Threads that each of them has; 0: half of the processors.
    pub proof_threads: usize,
    /// How long whoever works on a proof has it for itself after it has last said so: of hosts that share a store,
    /// another one takes it over then.
    pub lease: Duration,
    /// How often a proof is tried that fails for a reason of the machine's.
    pub attempts: u32,
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
    /// How long an answer may take. One that waits for its proof is given without it after three quarters of this.
    pub request_timeout: Duration,
    /// How long requests may take to finish when the host stops.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            operations: None,
            proof: ProofMode::None,
            tokens: None,
            forwarded: false,
            ask_for: Duration::from_secs(3600),
            prove_within: Duration::from_secs(600),
            keep_proofs: Duration::from_secs(7 * 24 * 3600),
            runs: 1_000_000,
            run_bytes: 1 << 32,
            request_bytes: 1 << 23,
            body_bytes: 1 << 28,
            threads: 0,
            queue: 256,
            provers: 1,
            proof_threads: 0,
            lease: Duration::from_secs(120),
            attempts: 5,
            connections: 1024,
            client_connections: 128,
            client_requests: 128,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// [`Config::threads`] and [`Config::proof_threads`], with 0 resolved.
    pub(crate) fn workers(&self) -> (usize, usize) {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let or = |threads: usize, default: usize| if threads == 0 { default } else { threads };
        (
            or(self.threads, all),
            or(self.proof_threads, all.div_ceil(2)),
        )
    }
}

/// A duration in milliseconds, as slips have it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
