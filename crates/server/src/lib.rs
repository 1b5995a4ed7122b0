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
//! | `serve` | starting, draining, forgetting |
//! | `weigh` | what a body may be decoded into |
//! | `api` | the endpoints and their description |
//! | `ask` | requests as they are sent, and what they mean to the library |
//! | `task` | from a request to a verdict |
//! | `cache` | checked cards in memory |
//! | `cost` | what a proof of a card takes to check |
//! | `store` | cards and used contexts on disk |
//! | `metrics`, `page` | Prometheus, static files |
//!
//! Connections, bodies, limits of clients, processor time and problems are `zkinfer-http`'s, which the host has, too.
//!
//! The user's guide is `docs/server.md`.

mod api;
mod ask;
mod cache;
pub mod config;
mod cost;
mod metrics;
mod page;
mod serve;
mod store;
mod task;
mod weigh;

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
