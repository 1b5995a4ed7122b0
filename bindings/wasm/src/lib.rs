//! zkinfer's verifier as WebAssembly: the Rust half of the npm package `@zkinfer/verifier` (`bindings/web/verifier`).
//!
//! What is exported is an internal interface: bytes and JSON in, JSON out, errors as the JSON of a [`Failure`]. Types,
//! documentation and comfort are in TypeScript. Nothing here panics on anybody's bytes: a panic would be a trap, and a trap
//! ends the whole instance.
//!
//! The exports exist for `wasm32` alone. Elsewhere, where the tests run, the crate holds what is worth testing there, and
//! compiles no bindings.

#[cfg(target_arch = "wasm32")]
mod batch;
mod describe;
#[cfg(target_arch = "wasm32")]
mod exports;
mod failure;
mod limits;

#[cfg(target_arch = "wasm32")]
pub use batch::Batch;
pub use describe::describe;
#[cfg(target_arch = "wasm32")]
pub use exports::{Card, Parameters, Verifier, inspect};
pub use failure::Failure;
pub use limits::limits;
