//! What a proof costs: every stage of a model measured, sweeps over model sizes, and reports of both.
//!
//! | module | holds |
//! |---|---|
//! | [`report`] | what is measured, as plain data: the JSON format |
//! | [`overhead`] | what follows from it |
//! | [`stages`] | one model: every stage |
//! | [`sweep`], [`families`] | models of growing size |
//! | [`threads`] | numbers of threads |
//! | [`terminal`] | a report as text |
//! | [`machine`] | where it ran |
//! | [`measure`] | time, CPU time and memory of a piece of work |
//! | [`fit`] | how a cost grows: exponents with intervals |
//! | [`economics`] | whether proofs are worth their cost |
//! | [`growth`] | what grows with what in a sweep |
//! | [`headline`] | what the measurements say, in sentences |
//! | [`peers`] | what other systems take, from files |
//! | [`baseline`], [`performance`] | what criterion measured: kept, compared, published |
//! | [`units`] | numbers for people |
//! | [`plot`] | plots as SVG |
//! | [`html`], [`markdown`] | the report as a page, its gist as text |

pub mod baseline;
mod batch;
pub mod cold;
pub mod economics;
pub mod error;
pub mod facts;
pub mod families;
pub mod fit;
pub mod growth;
pub mod headline;
pub mod html;
pub mod machine;
pub mod markdown;
mod markup;
pub mod measure;
mod onnx;
pub mod overhead;
pub mod peers;
pub mod performance;
pub mod plot;
mod random;
pub mod report;
pub mod stages;
pub mod sweep;
pub mod terminal;
pub mod threads;
pub mod units;

pub use error::BenchError;
pub use measure::Effort;
pub use report::Report;
pub use stages::{Options, Subject};
