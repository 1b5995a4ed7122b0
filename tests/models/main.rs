//! Models from ONNX to a verified proof, as a user of the crate sees them. One program, since linking takes longer than most
//! of these tests.

mod common;

mod budget;
mod conformance;
mod corpus;
mod gathers;
mod import;
mod import_rules;
mod import_units;
mod levels;
mod masks;
mod operators;
mod precision;
mod quantize;
mod recurrent;
mod segments;
mod stored;
