//! The host over its socket.

mod common;

mod access;
mod bounds;
mod openapi;
mod protocol;
mod runs;

#[path = "../../../server/tests/service/common/schema.rs"]
mod schema;
