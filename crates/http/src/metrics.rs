//! Prometheus metrics of requests, connections and lanes. Labels come from closed sets, so strangers cannot make new
//! series.

use crate::lane::Lane;
use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The method, one of a few.
    pub method: &'static str,
    /// The route that answered.
    pub route: String,
    /// The status.
    pub status: u16,
}

/// Labels of a request's duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The route that answered.
    pub route: String,
}

/// Labels of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    /// The name of the lane.
    pub lane: &'static str,
}

/// What every service counts of its requests and connections.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Answered requests.
    pub requests: Family<RequestLabels, Counter>,
    /// How long they took.
    pub seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Requests that are worked on.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Connections that were closed at once.
    pub refused: Counter,
}

/// Distribution of times.
pub fn seconds() -> Histogram {
    // 1 ms to 33 s.
    Histogram::new((0..16).map(|i| f64::from(1u32 << i) * 1e-3))
}

impl HttpMetrics {
    /// All of them, registered.
    pub fn new(r: &mut Registry) -> HttpMetrics {
        let metrics = HttpMetrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
        };
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
        metrics
    }
}

/// What lanes have to do.
#[derive(Debug, Default)]
pub struct LaneMetrics {
    running: Family<LaneLabels, Gauge>,
    waiting: Family<LaneLabels, Gauge>,
}

impl LaneMetrics {
    /// Makes them known.
    pub fn register(&self, r: &mut Registry) {
        r.register("lane_running", "Jobs that run", self.running.clone());
        r.register("lane_waiting", "Jobs that wait", self.waiting.clone());
    }

    /// Reads a lane's figures.
    pub fn observe(&self, lane: &Lane) {
        let labels = LaneLabels { lane: lane.name() };
        self.running
            .get_or_create(&labels)
            .set(lane.running() as i64);
        self.waiting
            .get_or_create(&labels)
            .set(lane.waiting() as i64);
    }
}

/// Memory of this process in bytes, where `/proc` says it.
pub fn resident() -> Option<u64> {
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
