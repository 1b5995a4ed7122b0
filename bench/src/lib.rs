//! What a proof costs: every stage of a model measured, sweeps over model sizes, and reports of both.
//!
//! | module | holds |
//! |---|---|
//! | [`report`] | what is measured, as plain data: the JSON format |
//! | [`overhead`] | what follows from it |
//! | [`units`] | numbers for people |
//! | [`measure`] | time, CPU time and memory of a piece of work |
//! | [`fit`] | how a cost grows: exponents with intervals |
//! | [`economics`] | whether proofs are worth their cost |
//! | [`plot`] | plots as SVG |

pub mod economics;
pub mod fit;
mod markup;
pub mod measure;
pub mod overhead;
pub mod plot;
pub mod report;
pub mod units;
