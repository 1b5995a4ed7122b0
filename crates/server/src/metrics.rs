//! Prometheus metrics. Labels come from closed sets, so strangers cannot make new series.

use crate::api::App;
use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    pub route: String,
    pub status: u16,
}

/// Labels of a request's duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub route: String,
}

/// Labels of a checked proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerdictLabels {
    /// `accepted`, or the code of the reason to refuse.
    pub code: String,
}

/// Labels of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    pub lane: &'static str,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    pub seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    pub in_flight: Gauge,
    pub connections: Gauge,
    /// Connections that were closed at once.
    pub refused: Counter,
    pub verdicts: Family<VerdictLabels, Counter>,
    pub batch: Histogram,
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    running: Family<LaneLabels, Gauge>,
    waiting: Family<LaneLabels, Gauge>,
    cache_cards: Gauge,
    cache_bytes: Gauge,
    store_cards: Gauge,
    store_bytes: Gauge,
    store_contexts: Gauge,
    memory: Gauge,
}

fn seconds() -> Histogram {
    // 1 ms to 33 s.
    Histogram::new((0..16).map(|i| f64::from(1u32 << i) * 1e-3))
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("zkinfer");
        let metrics = Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
            verdicts: Family::default(),
            batch: Histogram::new((0..9).map(|i| f64::from(1u32 << i))),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            running: Family::default(),
            waiting: Family::default(),
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
            "http_requests",
            "Answered requests; status 499: the client left",
            metrics.requests.clone(),
        );
        r.register_with_unit(
            "http_request_duration",
            "Time to answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        r.register(
            "http_requests_in_flight",
            "Requests that are worked on",
            metrics.in_flight.clone(),
        );
        r.register(
            "connections",
            "Open connections",
            metrics.connections.clone(),
        );
        r.register(
            "connections_refused",
            "Connections that were closed at once: too many",
            metrics.refused.clone(),
        );
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
        r.register("lane_running", "Jobs that run", metrics.running.clone());
        r.register("lane_waiting", "Jobs that wait", metrics.waiting.clone());
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
            let labels = LaneLabels { lane: lane.name() };
            self.running
                .get_or_create(&labels)
                .set(lane.running() as i64);
            self.waiting
                .get_or_create(&labels)
                .set(lane.waiting() as i64);
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

/// Memory of this process in bytes, where `/proc` says it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The label of a method.
pub fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
