//! `zkinfer serve`.

use crate::{files, ui};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use zkinfer_server::{Config, Server, stop_signal};

/// Check other people's proofs over HTTP.
///
/// Cards are kept in a file, so that a restart loses nothing. SIGTERM or Ctrl-C finishes what has begun and stops; a
/// second one stops at once. HTTP/1.1 without encryption: put a proxy in front where strangers can reach it.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer serve --card digits.card
  zkinfer serve --store /var/lib/zkinfer/cards.redb --token-file /run/secrets/zkinfer
  zkinfer serve --listen 0.0.0.0:8080 --card digits.card --forwarded --operations 127.0.0.1:9090
  zkinfer serve --open

  curl -T digits.card http://127.0.0.1:8080/v1/cards/DIGEST        # zkinfer inspect digits.card prints it
  curl -H 'content-type: application/json' http://127.0.0.1:8080/v1/verify \\
    -d '{\"card\": \"DIGEST\", \"proof\": \"'$(base64 -w0 run.proof)'\", \"context_text\": \"request-17\", \"once\": true}'

/openapi.json describes the endpoints, docs/server.md everything else.")]
pub struct Serve {
    /// Where to listen; port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = Config::default().listen)]
    listen: SocketAddr,
    /// Answer about health and metrics here, too, on connections that nobody else can take
    #[arg(long, value_name = "ADDRESS:PORT")]
    operations: Option<SocketAddr>,
    /// File for cards; used contexts are in one beside it, -contexts behind its name. Made if there is none
    #[arg(long, value_name = "FILE", default_value_os_t = Config::default().store)]
    store: PathBuf,
    /// Add this card at the start; may be repeated
    #[arg(long, value_name = "NAME.card")]
    card: Vec<PathBuf>,
    /// Serve this folder under /
    #[arg(long, value_name = "FOLDER")]
    page: Option<PathBuf>,
    /// Pages from here may call the service; may be repeated, * for all
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// File with a connection string of a PostgreSQL that several services share used contexts on; each keeps its own
    /// cards
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Whoever adds cards over HTTP needs the token in this file. Without it nobody adds cards, unless --open
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Nobody asks for anything without a token of this file, which `zkinfer token` writes: scopes verify, read, cards
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token_file", "open"])]
    tokens: Option<PathBuf>,
    /// Everybody adds cards over HTTP; those of whoever has no token may have to make room for others
    #[arg(long)]
    open: bool,
    /// Nobody adds cards over HTTP
    #[arg(long, conflicts_with = "open")]
    read_only: bool,
    /// Take a client's address from the last entry of X-Forwarded-For; only behind a proxy that writes it
    #[arg(long)]
    forwarded: bool,
    /// How the log looks [default: text on a terminal, json elsewhere]
    #[arg(long, value_name = "FORMAT")]
    log: Option<LogFormat>,
    #[command(flatten)]
    bounds: Bounds,
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object on a line
    Json,
    /// For people
    Text,
}

/// What was chosen, or what suits where the log goes.
pub fn log_format(chosen: Option<LogFormat>) -> LogFormat {
    chosen.unwrap_or(if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    })
}

macro_rules! bounds {
    ($($heading:literal { $($(#[doc = $help:literal])* $name:ident: $type:ty = $default:expr, $unit:literal;)* })*) => {
        /// Every bound of the service.
        #[derive(clap::Args)]
        struct Bounds {
            $($(
                $(#[doc = $help])*
                #[arg(long, value_name = $unit, help_heading = $heading, default_value_t = $default)]
                $name: $type,
            )*)*
        }
    };
}

pub(crate) use bounds;

fn config() -> Config {
    Config::default()
}

bounds! {
    "What a request may ask for" {
        /// Longest body of a verification
        request_bytes: usize = config().request_bytes, "BYTES";
        /// Longest body of a batch
        batch_bytes: usize = config().batch_bytes, "BYTES";
        /// Most proofs in a batch
        batch_proofs: usize = config().batch_proofs, "N";
        /// Most different cards in a batch
        batch_cards: usize = config().batch_cards, "N";
        /// Longest proof file
        proof_bytes: usize = config().limits.proof_bytes, "BYTES";
        /// Most runs in a proof
        runs: usize = config().limits.runs, "N";
        /// Most runs times rows (2^k) in a proof
        run_rows: usize = config().limits.run_rows, "N";
        /// Longest card file
        card_bytes: usize = config().limits.card_bytes, "BYTES";
        /// Longest description of inputs and outputs in a card
        info_bytes: usize = config().limits.info, "BYTES";
        /// Largest k of a card
        max_k: u32 = config().limits.k, "K";
        /// Most columns of a card
        columns: usize = config().limits.columns, "N";
        /// Most points in a card
        points: usize = config().limits.points, "N";
        /// Most nodes in a card's program
        nodes: usize = config().limits.program.nodes, "N";
        /// Most tables in a card's program
        tables: usize = config().limits.program.tables, "N";
        /// Most elements of the wiring around a card's softmaxes, which is written out
        elements: u64 = config().limits.program.elements, "N";
        /// Most cells in a card's program
        slots: u64 = config().limits.program.slots, "N";
        /// Most elements of a card's inputs and outputs
        values: usize = config().limits.program.values, "N";
        /// Most affine pieces of a card's wiring
        pieces: usize = config().limits.program.pieces, "N";
    }
    "Load" {
        /// Threads that check proofs; 0: one for each processor
        threads: usize = config().threads, "N";
        /// Most requests that wait for them; more get 503
        queue: usize = config().queue, "N";
        /// Threads for what takes long: large batches, proofs of many runs, expensive cards
        long_threads: usize = config().long_threads, "N";
        /// Threads that check cards
        card_threads: usize = config().card_threads, "N";
        /// Most requests that wait for them; more get 503
        card_queue: usize = config().card_queue, "N";
        /// Most connections; idle ones make room
        connections: usize = config().connections, "N";
        /// Most connections of one client; 0, or with --forwarded: no limit
        client_connections: usize = config().client_connections, "N";
        /// Most open requests of one client; more get 429; 0: no limit
        client_requests: usize = config().client_requests, "N";
        /// Memory for bodies of all requests, and what they are decoded into; more get 503, one client's part 429
        body_bytes: usize = config().body_bytes, "BYTES";
        /// Most cards kept ready in memory
        cache_cards: usize = config().cache_cards, "N";
        /// Memory that they may take, about
        cache_bytes: usize = config().cache_bytes, "BYTES";
    }
    "Time" {
        /// How long the head of a request may take, and an idle connection stays open
        header_timeout: u64 = config().header_timeout.as_secs(), "SECONDS";
        /// How long a body may take
        body_timeout: u64 = config().body_timeout.as_secs(), "SECONDS";
        /// How long a client may leave an answer unread; all of it may take a second more for each 32 KiB
        write_timeout: u64 = config().write_timeout.as_secs(), "SECONDS";
        /// What takes longer than this, by estimate, gets the threads for it
        long: u64 = config().long.as_millis() as u64, "MILLISECONDS";
        /// Most processor time for one request; what is left of a batch then gets 503
        job_timeout: u64 = config().job_timeout.as_secs(), "SECONDS";
        /// How long an answer may take; then 503
        request_timeout: u64 = config().request_timeout.as_secs(), "SECONDS";
        /// How long requests may take to finish when the service stops
        drain_timeout: u64 = config().drain_timeout.as_secs(), "SECONDS";
    }
    "Store" {
        /// Most cards of the operator; more get 507
        store_cards: u64 = config().store_cards, "N";
        /// Most bytes of these
        store_bytes: u64 = config().store_bytes, "BYTES";
        /// With --open: most cards of others; the one that was used least recently makes room
        anybody_cards: u64 = config().anybody_cards, "N";
        /// Most bytes of these
        anybody_bytes: u64 = config().anybody_bytes, "BYTES";
        /// How long one of these is kept if nobody asks about it
        anybody_for: u64 = config().anybody_for.as_secs(), "SECONDS";
        /// Most used contexts of the operator's cards; more get 507
        contexts: u64 = config().contexts, "N";
        /// With --open: most used contexts of others' cards; more get 507
        anybody_contexts: u64 = config().anybody_contexts, "N";
        /// How long a used context is remembered
        once_for: u64 = config().once_for.as_secs(), "SECONDS";
    }
}

/// Longest file with a token.
const TOKEN_BYTES: usize = 1 << 12;

impl Serve {
    /// How the log looks.
    pub fn log(&self) -> LogFormat {
        log_format(self.log)
    }

    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let config = self.config()?;
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
        let limit = config.limits.card_bytes;
        let store = config.store.clone();
        let public = !config.listen.ip().is_loopback();
        let watched = config.operations.filter(|o| !o.ip().is_loopback());
        let server = Server::bind(config).await?;
        for path in &self.card {
            let bytes = files::read(path, limit)?;
            let added = tokio::task::block_in_place(|| server.add_card(&bytes));
            added.with_context(|| path.display().to_string())?;
        }
        let url = format!("http://{}", server.address());
        if public {
            self.warn(&url);
        }
        if let Some(address) = watched {
            tracing::warn!(
                "http://{address} can be reached from other machines: /metrics and /health answer everybody there"
            );
        }
        // Whoever reads that it listens may stop it.
        let asked = stop_signal();
        if as_json {
            ui::json(&json!({ "status": "listening", "url": url, "store": store }))?;
        } else {
            ui::line(&format!("listening on {url}, cards in {}", store.display()))?;
        }
        let stop = async {
            asked.await;
            tokio::spawn(async {
                stop_signal().await;
                std::process::exit(130);
            });
        };
        server.run(stop).await;
        Ok(())
    }

    /// Says what an address means that others can reach.
    fn warn(&self, url: &str) {
        let cards = if self.open {
            "; everybody can add cards (--open)"
        } else {
            ""
        };
        let health = "; /metrics and /health answer everybody";
        tracing::warn!(
            "{url} can be reached from other machines, without encryption{cards}{health}: put a proxy in front"
        );
    }

    fn config(&self) -> Result<Config> {
        let b = &self.bounds;
        let mut config = Config::default();
        config.listen = self.listen;
        config.store = self.store.clone();
        config.page = self.page.clone();
        config.origins = self.allow_origin.clone();
        config.operations = self.operations;
        config.token = self.token()?;
        config.tokens = self.tokens.clone();
        config.database = match &self.database {
            Some(path) => Some(text(path)?),
            None => None,
        };
        config.open = self.open;
        config.read_only = self.read_only;
        config.forwarded = self.forwarded;

        config.limits.k = b.max_k;
        config.limits.points = b.points;
        config.limits.columns = b.columns;
        config.limits.card_bytes = b.card_bytes;
        config.limits.proof_bytes = b.proof_bytes;
        config.limits.runs = b.runs;
        config.limits.run_rows = b.run_rows;
        config.limits.info = b.info_bytes;
        config.limits.program.nodes = b.nodes;
        config.limits.program.tables = b.tables;
        config.limits.program.elements = b.elements;
        config.limits.program.slots = b.slots;
        config.limits.program.values = b.values;
        config.limits.program.pieces = b.pieces;
        config.request_bytes = b.request_bytes;
        config.batch_bytes = b.batch_bytes;
        config.batch_proofs = b.batch_proofs;
        config.batch_cards = b.batch_cards;
        config.body_bytes = b.body_bytes;

        config.threads = b.threads;
        config.queue = b.queue;
        config.long_threads = b.long_threads;
        config.card_threads = b.card_threads;
        config.card_queue = b.card_queue;
        config.connections = b.connections;
        config.client_connections = b.client_connections;
        config.client_requests = b.client_requests;
        config.cache_cards = b.cache_cards;
        config.cache_bytes = b.cache_bytes;

        config.header_timeout = Duration::from_secs(b.header_timeout);
        config.body_timeout = Duration::from_secs(b.body_timeout);
        config.write_timeout = Duration::from_secs(b.write_timeout);
        config.long = Duration::from_millis(b.long);
        config.job_timeout = Duration::from_secs(b.job_timeout);
        config.request_timeout = Duration::from_secs(b.request_timeout);
        config.drain_timeout = Duration::from_secs(b.drain_timeout);

        config.store_cards = b.store_cards;
        config.store_bytes = b.store_bytes;
        config.anybody_cards = b.anybody_cards;
        config.anybody_bytes = b.anybody_bytes;
        config.anybody_for = Duration::from_secs(b.anybody_for);
        config.contexts = b.contexts;
        config.anybody_contexts = b.anybody_contexts;
        config.once_for = Duration::from_secs(b.once_for);
        Ok(config)
    }

    fn token(&self) -> Result<Option<String>> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let text = String::from_utf8(files::read(path, TOKEN_BYTES)?);
        let text = text.with_context(|| format!("{} is not text", path.display()))?;
        if text.trim().is_empty() {
            bail!("there is no token in {}", path.display());
        }
        Ok(Some(text.trim().to_owned()))
    }
}

/// What stands in a short file.
fn text(path: &Path) -> Result<String> {
    let text = String::from_utf8(files::read(path, TOKEN_BYTES)?);
    let text = text.with_context(|| format!("{} is not text", path.display()))?;
    Ok(text.trim().to_owned())
}
