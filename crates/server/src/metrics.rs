//! Prometheus metrics. Labels come from closed sets, so strangers cannot make new series.

use crate::api::App;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use zkinfer_http::metrics::{HttpMetrics, LaneMetrics, resident};

/// Labels of a checked proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerdictLabels {
    /// `accepted`, or the code of the reason to refuse.
    pub code: String,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub http: Arc<HttpMetrics>,
    pub verdicts: Family<VerdictLabels, Counter>,
    pub batch: Histogram,
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    lanes: LaneMetrics,
    cache_cards: Gauge,
    cache_bytes: Gauge,
    store_cards: Gauge,
    store_bytes: Gauge,
    store_contexts: Gauge,
    memory: Gauge,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("zkinfer");
        let metrics = Metrics {
            http: Arc::new(HttpMetrics::new(&mut registry)),
            verdicts: Family::default(),
            batch: Histogram::new((0..9).map(|i| f64::from(1u32 << i))),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            lanes: LaneMetrics::default(),
            cache_cards: Gauge::default(),
            cache_bytes: Gauge::default(),
            store_cards: Gauge::default(),
            store_bytes: Gauge::default(),
            store_contexts: Gauge::default(),
            memory: Gauge::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        r.register(
            "proofs",
            "Proofs by what came out: accepted, or the code of the reason to refuse",
            metrics.verdicts.clone(),
        );
        r.register("batch_proofs", "Proofs in a batch", metrics.batch.clone());
        r.register(
            "cache_hits",
            "Proofs whose card was in memory",
            metrics.cache_hits.clone(),
        );
        r.register(
            "cache_misses",
            "Proofs whose card had to be loaded",
            metrics.cache_misses.clone(),
        );
        metrics.lanes.register(r);
        r.register(
            "cache_cards",
            "Cards in memory",
            metrics.cache_cards.clone(),
        );
        r.register_with_unit(
            "cache",
            "Memory of these cards, about",
            Unit::Bytes,
            metrics.cache_bytes.clone(),
        );
        r.register(
            "store_cards",
            "Cards in the store",
            metrics.store_cards.clone(),
        );
        r.register_with_unit(
            "store_card",
            "Size of these cards",
            Unit::Bytes,
            metrics.store_bytes.clone(),
        );
        r.register(
            "store_contexts",
            "Used contexts in the store",
            metrics.store_contexts.clone(),
        );
        r.register_with_unit(
            "resident_memory",
            "Memory of the process (Linux)",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        Metrics {
            registry,
            ..metrics
        }
    }

    /// The text that Prometheus reads.
    pub fn text(&self, app: &App) -> Result<String, std::fmt::Error> {
        for lane in [&app.proofs, &app.long, &app.bodies, &app.cards, &app.loads] {
            self.lanes.observe(lane);
        }
        let (cards, bytes) = app.cache.totals();
        self.cache_cards.set(cards as i64);
        self.cache_bytes.set(bytes as i64);
        if let Ok(totals) = app.store.totals() {
            self.store_cards.set(totals.cards as i64);
            self.store_bytes.set(totals.card_bytes as i64);
            self.store_contexts.set(totals.contexts as i64);
        }
        if let Some(bytes) = resident() {
            self.memory.set(bytes as i64);
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
