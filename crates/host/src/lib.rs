//! HTTP host of committed models: it answers in the Open Inference Protocol v2, every answer is the integer run that
//! would be proven, and carries a signed slip that binds the host to it.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | every bound and default |
//! | `serve` | starting, draining, forgetting |
//! | `models` | what is served, by name and version |
//! | `tensors` | tensors as the protocol has them, JSON and binary |
//! | `answer` | from a request to a signed answer |
//! | `ledger` | the key, and the numbers and times of slips |
//! | [`store`] | runs, the queue of proofs, and proofs: one trait, and the embedded store |
//! | `prover` | the threads that work the queue off |
//! | `api` | the endpoints and their description |
//! | `metrics` | Prometheus |
//!
//! Connections, bodies, limits of clients, processor time and problems are `zkinfer-http`'s, as the verification
//! service has them. The user's guide is `docs/host.md`.

mod answer;
mod api;
pub mod config;
mod ledger;
mod metrics;
mod models;
mod prover;
mod serve;
pub mod store;
mod tensors;

pub use api::openapi;
pub use config::{Config, ProofMode};
pub use models::ModelError;
pub use serve::{Host, StartError, stop_signal};
#[cfg(feature = "postgres")]
pub use store::Postgres;
pub use store::{Embedded, Store, StoreError};
#[doc(hidden)]
pub use tensors::RequestReader;
pub use zkinfer_slip::{HostKey, KeyList, KeyListError, SecretKey, Series};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
