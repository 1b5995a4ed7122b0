//! The binary, as a user calls it.

mod dir;

mod bench;
mod flow;
mod honest;
mod runs;
