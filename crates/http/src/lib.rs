//! What the HTTP services of zkinfer share: connections, bounds, processor time, problems. Nothing here knows what a
//! service does.
//!
//! | module | what |
//! |---|---|
//! | [`door`] | listening, connections, draining |
//! | [`guard`] | what happens around every request: identity, log line, limits, time-outs |
//! | [`connections`] | open connections: of one client, of all, and who makes room |
//! | [`access`] | tokens: who may do what, and how much |
//! | `database` | connections to a PostgreSQL, with the feature `postgres` |
//! | [`body`] | reading bodies, bounded in bytes and time |
//! | [`download`] | files on their way out, in memory once |
//! | [`wire`] | answers on their way out, each open until it is sent |
//! | [`turns`] | what several want, made once |
//! | [`lane`], `shares` | processor time, bounded and shared out, off the threads that do the networking |
//! | [`problem`] | every answer that is not a result |
//! | [`metrics`] | Prometheus |

pub mod access;
pub mod body;
pub mod connections;
#[cfg(feature = "postgres")]
pub mod database;
pub mod door;
pub mod download;
pub mod guard;
pub mod lane;
pub mod metrics;
pub mod problem;
mod shares;
pub mod turns;
pub mod wire;
