//! How long every benchmark runs. All of them together are to be run before a release: short, ten samples, and an interval
//! that says what they are worth. `--sample-size`, `--measurement-time` and so on override it:
//! `cargo bench -- --measurement-time 5 verify`.

use criterion::Criterion;
use std::time::Duration;

/// What every group is configured with.
pub fn settings() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .nresamples(10_000)
}
