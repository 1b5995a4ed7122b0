//! The service over its socket.

mod common;

mod answers;
mod cards;
mod hostile;
mod nothing;
mod openapi;
mod operation;
mod shares;
mod vectors;
mod verify;
