//! The verifier as its users call it: on stored files, in batches, on the vectors that every interface runs.

mod common;

mod batch;
mod files;
mod vectors;
