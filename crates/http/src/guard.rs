//! Around every request: who asks, how long it may take, what is written down.

use crate::access::{Access, Granted, Scope};
use crate::body::Progress;
use crate::download::hold;
use crate::metrics::{HttpMetrics, RequestLabels, RouteLabels, method};
use crate::problem::{Code, Problem};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const REQUEST_ID: &str = "x-request-id";
/// What the log says of a client that did not wait for its answer.
const CLIENT_LEFT: u16 = 499;

/// An answer of a service is no page.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// What [`watch`] needs to know.
#[derive(Debug)]
pub struct Guard {
    /// What is counted.
    pub metrics: Arc<HttpMetrics>,
    /// Who asks for how much.
    pub clients: Clients,
    /// Whether a proxy's word is taken for who asks.
    pub forwarded: bool,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// Routes that count for the limit of a client, and need a token where there are some: beginnings.
    pub limited: &'static [&'static str],
    /// Tokens, if not everybody may ask.
    pub access: Option<Arc<Access>>,
    /// What of a token a method and a route need.
    pub scope: fn(&Method, &str) -> Scope,
}

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who asks, as [`watch`] tells those behind it: address, or network of an IPv6 address.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub IpAddr);

/// Requests of each client that are worked on, or whose answer is being sent.
#[derive(Clone, Debug)]
pub struct Clients {
    requests: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One request of a client.
#[derive(Debug)]
struct Visit(Clients, IpAddr);

impl Clients {
    /// At most `most` of one client; 0: no limit.
    pub fn new(most: usize) -> Clients {
        Clients {
            requests: Arc::default(),
            most,
        }
    }

    fn enter(&self, client: IpAddr) -> Option<Visit> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = requests.entry(client).or_default();
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Visit(self.clone(), client))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut requests = self
            .0
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = requests.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                requests.remove(&self.1);
            }
        }
    }
}

/// Who asks: the last proxy's word where there is a proxy, the other end of the connection otherwise. Of an IPv6 address,
/// the network.
fn client(request: &Request, forwarded: bool) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |p| p.0.ip());
    let told = || {
        let header = request
            .headers()
            .get_all("x-forwarded-for")
            .iter()
            .next_back()?;
        let last = header.to_str().ok()?.rsplit(',').next()?.trim();
        let socket = || last.parse::<SocketAddr>().ok().map(|s| s.ip());
        last.parse().ok().or_else(socket)
    };
    network(forwarded.then(told).flatten().unwrap_or(peer))
}

/// What counts as one client: an address, or the network of an IPv6 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

/// Who asks, behind [`watch`].
pub fn client_of(request: &Request) -> IpAddr {
    let client = request.extensions().get::<Client>();
    client.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |c| c.0)
}

/// The caller's request id if it is harmless, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let given = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given.filter(harmless).map_or_else(
        || {
            let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let time = time.map_or(0, |t| t.as_millis());
            format!("{time:x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
        },
        str::to_owned,
    )
}

/// Written down when dropped, so that a client that leaves is, too.
struct Record {
    guard: Arc<Guard>,
    start: Instant,
    id: String,
    method: &'static str,
    route: String,
    client: IpAddr,
    token: Option<Granted>,
    status: u16,
    code: &'static str,
}

impl Drop for Record {
    fn drop(&mut self) {
        let metrics = &self.guard.metrics;
        metrics.in_flight.dec();
        let route = self.route.clone();
        let seconds = self.start.elapsed().as_secs_f64();
        metrics
            .seconds
            .get_or_create(&RouteLabels { route })
            .observe(seconds);
        let labels = RequestLabels {
            method: self.method,
            route: self.route.clone(),
            status: self.status,
        };
        metrics.requests.get_or_create(&labels).inc();
        tracing::info!(
            id = self.id,
            method = self.method,
            route = self.route,
            client = %self.client,
            token = self.token.as_ref().map_or("", Granted::name),
            status = self.status,
            code = self.code,
            ms = (seconds * 1e5).round() / 100.0,
            "request"
        );
    }
}

/// Around everything: request id, limit for each client, time-out, log line, metrics, headers.
pub async fn watch(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let progress = Progress::watch(&mut request);
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("other", MatchedPath::as_str).to_owned();
    let client = client(&request, guard.forwarded);
    request.extensions_mut().insert(Client(client));
    guard.metrics.in_flight.inc();
    let mut record = Record {
        start: Instant::now(),
        id: request_id(request.headers()),
        method: method(request.method()),
        route,
        client,
        token: None,
        status: CLIENT_LEFT,
        code: "client_left",
        guard: guard.clone(),
    };
    // Whoever watches the service is not turned away.
    let limited = guard.limited.iter().any(|l| record.route.starts_with(l));
    let visit = if limited {
        guard.clients.enter(client).map(Some)
    } else {
        Some(None)
    };
    // What a browser asks beforehand has no token.
    let asks = limited && request.method() != Method::OPTIONS;
    let granted = match guard.access.as_ref().filter(|_| asks) {
        None => Ok(None),
        Some(access) => {
            let scope = (guard.scope)(request.method(), &record.route);
            access.enter(request.headers(), scope).map(Some)
        }
    };
    let mut response = match (visit, granted) {
        (None, _) => refuse(&guard),
        (_, Err(refused)) => refused.into_response(),
        (Some(visit), Ok(granted)) => {
            if let Some(granted) = granted {
                record.token = Some(granted.clone());
                request.extensions_mut().insert(granted);
            }
            let answer = tokio::time::timeout(guard.request_timeout, next.run(request));
            let late = || Problem::timeout("there was no result in time; try again");
            let response = answer.await.unwrap_or_else(|_| late().into_response());
            // The request is over when its answer is sent, not when there is one.
            hold(response, visit)
        }
    };
    let headers = response.headers_mut();
    protect(headers);
    if !progress.is_done() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(id) = HeaderValue::from_str(&record.id) {
        headers.insert(REQUEST_ID, id);
    }
    record.status = response.status().as_u16();
    record.code = response.extensions().get::<Code>().map_or("ok", |c| c.0);
    response
}

/// The answer to a client with too many requests.
fn refuse(guard: &Guard) -> Response {
    let most = guard.clients.most;
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        format!("{most} requests of this client are being worked on"),
    )
    .into_response()
}
/// Headers of every answer.
pub fn protect(headers: &mut HeaderMap) {
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(API_POLICY));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(peer: &str, forwarded: &[&str]) -> Request {
        let mut builder = Request::builder();
        for value in forwarded {
            builder = builder.header("x-forwarded-for", *value);
        }
        let mut request = builder.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        request
    }

    #[test]
    fn clients_are_told_apart() {
        let spoofed = request("10.0.0.1:5", &["1.2.3.4, 5.6.7.8", "9.9.9.9,  8.8.8.8"]);
        assert_eq!(client(&spoofed, false).to_string(), "10.0.0.1");
        assert_eq!(client(&spoofed, true).to_string(), "8.8.8.8");
        let with_port = request("10.0.0.1:5", &["[2001:db8:1:2:3::4]:443"]);
        assert_eq!(client(&with_port, true).to_string(), "2001:db8:1:2::");
        let nonsense = request("[::ffff:1.2.3.4]:5", &["nonsense"]);
        assert_eq!(client(&nonsense, true).to_string(), "1.2.3.4");
    }

    #[test]
    fn visits_end() {
        let clients = Clients::new(2);
        let me = IpAddr::from([127, 0, 0, 1]);
        let first = clients.enter(me).unwrap();
        let _second = clients.enter(me).unwrap();
        assert!(clients.enter(me).is_none());
        assert!(clients.enter(IpAddr::from([127, 0, 0, 2])).is_some());
        drop(first);
        assert!(clients.enter(me).is_some());
        drop(_second);
        assert!(clients.requests.lock().unwrap().is_empty());
    }

    #[test]
    fn request_ids_are_harmless() {
        let mut headers = HeaderMap::new();
        assert!(!request_id(&headers).is_empty());
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1.2_3"));
        assert_eq!(request_id(&headers), "abc-1.2_3");
        headers.insert(REQUEST_ID, HeaderValue::from_static("<script>"));
        assert_ne!(request_id(&headers), "<script>");
    }
}
