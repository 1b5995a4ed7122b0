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
//! | [`growth`] | what grows with what in a sweep |
//! | [`headline`] | what the measurements say, in sentences |
//! | [`plot`] | plots as SVG |
//! | [`html`] | the report as a page |

pub mod economics;
pub mod fit;
pub mod growth;
pub mod headline;
pub mod html;
mod markup;
pub mod measure;
pub mod overhead;
pub mod plot;
pub mod report;
pub mod units;
