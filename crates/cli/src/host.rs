//! `zkinfer host`.

use crate::serve::{LogFormat, log_format};
use crate::{files, ui};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use zkinfer_host::{
    Config, Embedded, Host as Service, KeyList, Postgres, ProofMode, SecretKey, Series, Store,
    stop_signal,
};
use zkinfer_slip::keys::MAX_KEY_LIST;

/// Answer with compiled models over HTTP, and prove answers when asked to.
///
/// Speaks the Open Inference Protocol v2, as KServe and Triton do, so that their clients work unchanged. Every answer
/// is signed; answers and promised proofs are kept in a file, so that a restart loses nothing. SIGTERM or Ctrl-C
/// finishes what has begun and stops; a second one stops at once. HTTP/1.1 without encryption: put a proxy in front
/// where strangers can reach it.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer host digits.model
  zkinfer host digits=new.model --listen 0.0.0.0:8081 --key-file /run/secrets/host.key --store /var/lib/zkinfer/runs.redb
  zkinfer host digits.model --database /run/secrets/database --key-file /run/secrets/host.key
  zkinfer host digits.model --proof later --prove-within 60

  curl -d '{\"inputs\": [{\"name\": \"input\", \"datatype\": \"FP32\", \"shape\": [1, 64], \"data\": [...]}]}' \\
    http://127.0.0.1:8081/v2/models/digits/infer

/openapi.json describes the endpoints, docs/host.md everything else.")]
pub struct Host {
    /// Compiled models, each by the name in it or by another one. Of several with one name, the last is the default
    /// version
    #[arg(value_name = "[NAME=]FILE.model", required = true)]
    models: Vec<String>,
    /// Where to listen; port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = Config::default().listen)]
    listen: SocketAddr,
    /// Answer about health and metrics here, too, on connections that nobody else can take
    #[arg(long, value_name = "ADDRESS:PORT")]
    operations: Option<SocketAddr>,
    /// What answers are signed with. Made if there is none
    #[arg(long, value_name = "FILE", default_value = "zkinfer-host.key")]
    key_file: PathBuf,
    /// A key that answers were signed with before (`zkinfer rotate`), repeated: their proofs are still promised
    #[arg(long = "earlier-key-file", value_name = "FILE")]
    earlier: Vec<PathBuf>,
    /// Key list to publish, as `zkinfer rotate` writes it; ends with the key of --key-file
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// File for runs, promised proofs and proofs. Made if there is none
    #[arg(long, value_name = "FILE", default_value = "zkinfer-host.redb")]
    store: PathBuf,
    /// File with a connection string of a PostgreSQL that several hosts share, for runs, promised proofs and proofs,
    /// instead of --store
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    database: Option<PathBuf>,
    /// When answers are proven whose request does not say: none (when somebody asks), later, or now
    #[arg(long, value_name = "WHEN", default_value = "none")]
    proof: ProofMode,
    /// Nobody asks for anything without a token of this file, which `zkinfer token` writes: scopes infer, prove, read
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Take a client's address from the last entry of X-Forwarded-For; only behind a proxy that writes it
    #[arg(long)]
    forwarded: bool,
    /// How the log looks [default: text on a terminal, json elsewhere]
    #[arg(long, value_name = "FORMAT")]
    log: Option<LogFormat>,
    #[command(flatten)]
    bounds: Bounds,
}

fn config() -> Config {
    Config::default()
}

crate::serve::bounds! {
    "What slips promise" {
        /// How long after an answer its proof may be asked for
        ask_for: u64 = config().ask_for.as_secs(), "SECONDS";
        /// How long after that it is there; where the queue takes half of that, requests get 503
        prove_within: u64 = config().prove_within.as_secs(), "SECONDS";
        /// How long proofs are kept after they are due
        keep_proofs: u64 = config().keep_proofs.as_secs(), "SECONDS";
    }
    "Load" {
        /// Longest body of a request
        request_bytes: usize = config().request_bytes, "BYTES";
        /// Memory for bodies of all requests, and what they are decoded into; more get 503, one client's part 429
        body_bytes: usize = config().body_bytes, "BYTES";
        /// Threads that run models; 0: one for each processor
        threads: usize = config().threads, "N";
        /// Most requests that wait for them; more get 503
        queue: usize = config().queue, "N";
        /// Proofs that are made at the same time
        provers: usize = config().provers, "N";
        /// Threads for each of them, which stand back for runs (on Linux); 0: half of the processors
        proof_threads: usize = config().proof_threads, "N";
        /// How long whoever works on a proof has it for itself after it last said so; then another host takes it
        /// (--database)
        lease: u64 = config().lease.as_secs(), "SECONDS";
        /// How often a proof is tried that fails
        attempts: u32 = config().attempts, "N";
        /// Most connections; idle ones make room
        connections: usize = config().connections, "N";
        /// Most connections of one client; 0, or with --forwarded: no limit
        client_connections: usize = config().client_connections, "N";
        /// Most open requests of one client; more get 429; 0: no limit
        client_requests: usize = config().client_requests, "N";
    }
    "Time" {
        /// How long the head of a request may take, and an idle connection stays open
        header_timeout: u64 = config().header_timeout.as_secs(), "SECONDS";
        /// How long a body may take
        body_timeout: u64 = config().body_timeout.as_secs(), "SECONDS";
        /// How long a client may leave an answer unread; all of it may take a second more for each 32 KiB
        write_timeout: u64 = config().write_timeout.as_secs(), "SECONDS";
        /// How long an answer may take; then 503. One that waits for its proof is given without it after three quarters
        request_timeout: u64 = config().request_timeout.as_secs(), "SECONDS";
        /// How long requests may take to finish when the host stops
        drain_timeout: u64 = config().drain_timeout.as_secs(), "SECONDS";
    }
    "Store" {
        /// Most runs that are kept; more get 507
        runs: u64 = config().runs, "N";
        /// Most bytes of these
        run_bytes: u64 = config().run_bytes, "BYTES";
    }
}

/// Longest file with a key.
const KEY_BYTES: usize = 1 << 12;

impl Host {
    /// How the log looks.
    pub fn log(&self) -> LogFormat {
        log_format(self.log)
    }

    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let config = self.config();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start threads")?;
        runtime.block_on(self.answer(config, as_json))?;
        // Jobs whose request is gone are not waited for.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(ExitCode::SUCCESS)
    }

    async fn answer(&self, config: Config, as_json: bool) -> Result<()> {
        let public = !config.listen.ip().is_loopback();
        let watched = config.operations.filter(|o| !o.ip().is_loopback());
        let key = key(&self.key_file)?;
        let series = Series::random(&mut zkinfer::rng());
        let store = tokio::task::block_in_place(|| self.open(series, &config))?;
        let mut host = Service::bind(config, key, store).await?;
        for path in &self.earlier {
            host.add_earlier_key(read_key(path)?);
        }
        if let Some(path) = &self.keys {
            let published = host.publish(key_list(path)?);
            published.with_context(|| path.display().to_string())?;
        }
        for argument in &self.models {
            let (name, path) = named(argument);
            let secret = ui::step("loading", || files::secret(path)).0?;
            let added = tokio::task::block_in_place(|| host.add_model(name, secret));
            added.with_context(|| path.display().to_string())?;
        }
        let url = format!("http://{}", host.address());
        let who = if self.tokens.is_some() {
            "whoever has a token"
        } else {
            "everybody"
        };
        if public {
            tracing::warn!(
                "{url} can be reached from other machines, without encryption; {who} can ask, and /metrics answers \
                 everybody: put a proxy in front"
            );
        }
        if let Some(address) = watched {
            tracing::warn!(
                "http://{address} can be reached from other machines: /metrics and /v2/health answer everybody there"
            );
        }
        let key = host.key();
        // Whoever reads that it listens may stop it.
        let asked = stop_signal();
        if as_json {
            ui::json(
                &json!({ "status": "listening", "url": url, "key": key.to_string(), "store": self.place() }),
            )?;
        } else {
            ui::line(&format!(
                "listening on {url}, runs in {}, host key {key}",
                self.place().display()
            ))?;
        }
        let stop = async {
            asked.await;
            tokio::spawn(async {
                stop_signal().await;
                std::process::exit(130);
            });
        };
        host.run(stop).await?;
        Ok(())
    }

    /// Where runs are kept.
    fn place(&self) -> &Path {
        self.database.as_ref().unwrap_or(&self.store)
    }

    fn open(&self, series: Series, config: &Config) -> Result<Arc<dyn Store>> {
        let (runs, bytes) = (config.runs, config.run_bytes);
        let Some(path) = &self.database else {
            let store = Embedded::open(&self.store, series, runs, bytes)?;
            return Ok(Arc::new(store));
        };
        let text = String::from_utf8(files::read(path, KEY_BYTES)?);
        let text = text.with_context(|| format!("{} is not text", path.display()))?;
        let store = Postgres::open(text.trim(), series, runs, bytes);
        Ok(Arc::new(store.with_context(|| path.display().to_string())?))
    }

    fn config(&self) -> Config {
        let b = &self.bounds;
        let mut config = Config::default();
        config.listen = self.listen;
        config.operations = self.operations;
        config.proof = self.proof;
        config.tokens = self.tokens.clone();
        config.forwarded = self.forwarded;

        config.ask_for = Duration::from_secs(b.ask_for);
        config.prove_within = Duration::from_secs(b.prove_within);
        config.keep_proofs = Duration::from_secs(b.keep_proofs);
        config.runs = b.runs;
        config.run_bytes = b.run_bytes;

        config.request_bytes = b.request_bytes;
        config.body_bytes = b.body_bytes;
        config.threads = b.threads;
        config.queue = b.queue;
        config.provers = b.provers;
        config.proof_threads = b.proof_threads;
        config.lease = Duration::from_secs(b.lease);
        config.attempts = b.attempts;
        config.connections = b.connections;
        config.client_connections = b.client_connections;
        config.client_requests = b.client_requests;

        config.header_timeout = Duration::from_secs(b.header_timeout);
        config.body_timeout = Duration::from_secs(b.body_timeout);
        config.write_timeout = Duration::from_secs(b.write_timeout);
        config.request_timeout = Duration::from_secs(b.request_timeout);
        config.drain_timeout = Duration::from_secs(b.drain_timeout);
        config
    }
}

/// A model's name, if there is one, and its file.
fn named(argument: &str) -> (Option<&str>, &Path) {
    match argument.split_once('=') {
        // A file whose own name has such a character is meant as it is.
        Some((name, path)) if !Path::new(argument).exists() => (Some(name), Path::new(path)),
        _ => (None, Path::new(argument)),
    }
}

/// The key in a file, which is made if there is none.
pub fn key(path: &Path) -> Result<SecretKey> {
    if path.symlink_metadata().is_err() {
        let key = SecretKey::random(&mut zkinfer::rng());
        files::write_secret(path, key.to_text().as_bytes(), false)?;
        tracing::info!(path = %path.display(), key = %key.public(), "made a key");
        return Ok(key);
    }
    read_key(path)
}

/// A key list in a file.
pub fn key_list(path: &Path) -> Result<KeyList> {
    let bytes = files::read(path, MAX_KEY_LIST)?;
    let list = serde_json::from_slice(&bytes);
    list.with_context(|| {
        format!(
            "{} is no key list; `zkinfer rotate` writes them",
            path.display()
        )
    })
}

/// The key in a file.
pub fn read_key(path: &Path) -> Result<SecretKey> {
    let text = String::from_utf8(files::read(path, KEY_BYTES)?);
    let Ok(text) = text else {
        bail!(
            "{} is not text; a key is 64 hexadecimal digits",
            path.display()
        );
    };
    SecretKey::from_text(&text).with_context(|| path.display().to_string())
}
