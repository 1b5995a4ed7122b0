//! What a proof costs: every stage of a model measured, sweeps over model sizes, and reports of both.
//!
//! | module | holds |
//! |---|---|
//! | [`report`] | what is measured, as plain data: the JSON format |

pub mod report;
