//! Prometheus metrics.

use crate::api::App;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use zkinfer_http::metrics::{HttpMetrics, LaneMetrics, resident, seconds};

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub http: Arc<HttpMetrics>,
    lanes: LaneMetrics,
    /// Signed answers.
    pub answers: Counter,
    pub run_seconds: Histogram,
    /// Promised proofs.
    pub promises: Counter,
    pub proven: Counter,
    /// Proofs that were ready after they were due.
    pub late: Counter,
    pub failed: Counter,
    pub proof_seconds: Histogram,
    runs: Gauge,
    run_bytes: Gauge,
    queued: Gauge,
    proofs: Gauge,
    memory: Gauge,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("zkinfer_host");
        let r = &mut registry;
        let http = Arc::new(HttpMetrics::new(r));
        let lanes = LaneMetrics::default();
        lanes.register(r);
        let counter = |r: &mut Registry, name: &str, help: &str| {
            let counter = Counter::default();
            r.register(name, help, counter.clone());
            counter
        };
        let gauge = |r: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            r.register(name, help, gauge.clone());
            gauge
        };
        let bytes = |r: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            r.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            gauge
        };
        let time = |r: &mut Registry, name: &str, help: &str| {
            let histogram = seconds();
            r.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        Metrics {
            http,
            lanes,
            answers: counter(r, "answers", "Signed answers"),
            run_seconds: time(r, "run", "Time of a run of a model"),
            promises: counter(r, "promises", "Promised proofs"),
            proven: counter(r, "proven", "Proofs that were made"),
            late: counter(r, "late", "Proofs that were made after they were due"),
            failed: counter(r, "failed", "Proofs that could not be made"),
            proof_seconds: time(r, "proof", "Time of a proof"),
            runs: gauge(r, "store_runs", "Runs in the store"),
            run_bytes: bytes(r, "store_run", "Size of their inputs and slips"),
            queued: gauge(r, "queue", "Promised proofs that are not there"),
            proofs: gauge(r, "store_proofs", "Proofs in the store"),
            memory: bytes(r, "resident_memory", "Memory of the process (Linux)"),
            registry,
        }
    }

    /// The text that Prometheus reads.
    pub fn text(&self, app: &App) -> Result<String, std::fmt::Error> {
        self.lanes.observe(&app.lane);
        if let Ok(totals) = app.store.totals() {
            self.runs.set(totals.runs as i64);
            self.run_bytes.set(totals.bytes as i64);
            self.queued.set(totals.queued as i64);
            self.proofs.set(totals.proofs as i64);
        }
        if let Some(bytes) = resident() {
            self.memory.set(bytes as i64);
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
