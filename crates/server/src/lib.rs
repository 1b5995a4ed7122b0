//! HTTP service that checks proofs: it holds cards, never a model, and nothing that it is sent is trusted.
//!
//! ```no_run
//! # async fn run() -> Result<(), zkinfer_server::StartError> {
//! let server = zkinfer_server::Server::bind(zkinfer_server::Config::default()).await?;
//! server.run(zkinfer_server::stop_signal()).await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`config`] | every bound and default |
//! | `serve` | listening, connections, draining |
//! | `guard` | what happens around every request: identity, log line, limits, time-outs |
//! | `connections` | open connections: of one client, of all, and who makes room |
//! | `body`, `weigh` | reading bodies, bounded in bytes, time and what they are decoded into |
//! | `download` | files on their way out, in memory once |
//! | `wire` | answers on their way out, each open until it is sent |
//! | `api` | the endpoints and their description |
//! | `ask` | requests as they are sent, and what they mean to the library |
//! | `task` | from a request to a verdict |
//! | `cache` | checked cards in memory |
//! | `turns` | what several want, made once |
//! | `cost` | what a proof of a card takes to check |
//! | `lane` | processor time, bounded and shared out, off the threads that do the networking |
//! | `store` | cards and used contexts on disk |
//! | `problem` | every answer that is not a result |
//! | `metrics`, `page` | Prometheus, static files |
//!
//! The user's guide is `docs/server.md`.

mod api;
mod ask;
mod body;
mod cache;
pub mod config;
mod connections;
mod cost;
mod download;
mod guard;
mod lane;
mod metrics;
mod page;
mod problem;
mod serve;
mod shares;
mod store;
mod task;
mod turns;
mod weigh;
mod wire;

pub use api::openapi;
#[doc(hidden)]
pub use ask::RequestReader;
pub use config::Config;
pub use serve::{Server, StartError, stop_signal};
pub use store::StoreError;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
