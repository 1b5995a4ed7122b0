//! A service on a loopback socket, and a client that compares every answer with the service's description.

mod schema;

use base64::Engine;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;
use zkinfer_circuits::card::Card;
use zkinfer_server::{Config, Server};

/// Longest time that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    pub operations: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub folder: Option<TempDir>,
}

impl Service {
    /// With a fresh store.
    pub fn start(change: impl FnOnce(&mut Config)) -> Service {
        Service::again(tempfile::tempdir().unwrap(), change)
    }

    /// With the store in a folder.
    pub fn again(folder: TempDir, change: impl FnOnce(&mut Config)) -> Service {
        let mut config = Config::default();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.store = folder.path().join("store.redb");
        config.open = true;
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let server = Server::bind(config).await.unwrap();
                tell.send((server.address(), server.operations())).unwrap();
                server.run(async { stopped.await.unwrap() }).await;
            });
        });
        let (address, operations) = told.recv_timeout(PATIENCE).unwrap();
        Service {
            address,
            operations,
            stop: Some(stop),
            thread: Some(thread),
            folder: Some(folder),
        }
    }

    /// With the cards of the fixtures.
    pub fn with_cards(change: impl FnOnce(&mut Config)) -> Service {
        let service = Service::start(change);
        for name in ["digits", "cnn"] {
            assert_eq!(service.put(name).status, 201);
        }
        service
    }

    /// Asks it to stop, and goes on.
    pub fn ask_to_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until it has stopped; its folder.
    pub fn stop(mut self) -> TempDir {
        if self.stop.is_some() {
            self.ask_to_stop();
        }
        self.thread.take().unwrap().join().unwrap();
        self.folder.take().unwrap()
    }

    pub fn put(&self, name: &str) -> Answer {
        let path = format!("/v1/cards/{}", digest(name));
        self.send("PUT", &path, &[], &fixture(&format!("{name}.card")))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send("POST", path, &json, body.to_string().as_bytes())
    }

    pub fn verify(&self, body: &Value) -> Answer {
        self.post("/v1/verify", body)
    }

    /// Sends a request; the answer fits the description.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut stream = self.connect();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        // A service that refuses a body may close before all of it is sent.
        let _ = stream.write_all(&bytes);
        let answer = Answer::read(&mut stream);
        answer.check(method, path);
        answer
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes as they are, says that there are no more if `end`, and reads until the service closes.
    pub fn raw(&self, bytes: &[u8], end: bool) -> Vec<u8> {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        if end {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The value of a metric, labels included in the name.
    pub fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |v| v.parse().unwrap())
    }

    /// Waits until there is room for a connection.
    pub fn wait_for_connection(&self) {
        let start = Instant::now();
        let live = b"GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        while self.raw(live, false).is_empty() {
            assert!(start.elapsed() < PATIENCE, "there is no room");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Service) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a service answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer until the connection is closed.
    #[track_caller]
    pub fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        if let Err(error) = stream.read_to_end(&mut bytes) {
            panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
        }
        Answer::parse(&bytes)
    }

    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let Some(end) = end else {
            panic!("no answer: {:?}", String::from_utf8_lossy(bytes));
        };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|l| l.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let answer = Answer {
            status: status.parse().unwrap(),
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if let Some(length) = answer.header("content-length") {
            // The answer to HEAD says how long the body would be.
            let length: usize = length.parse().unwrap();
            assert!(answer.body.is_empty() || answer.body.len() == length);
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// Content type without parameters.
    pub fn kind(&self) -> &str {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap()
    }

    /// The code of a problem or a rejection; "accepted" for an accepted proof.
    #[track_caller]
    pub fn code(&self) -> String {
        code(&self.json())
    }

    /// Expects a status and a code.
    #[track_caller]
    pub fn expect(&self, status: u16, code: &str) -> &Answer {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        assert_eq!(self.code(), code, "{body}");
        self
    }

    /// Compares the answer with the description, and remembers that it was seen.
    #[track_caller]
    pub fn check(&self, method: &str, path: &str) {
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert!(self.header("content-security-policy").is_some());
        assert!(self.header("x-request-id").is_some());
        let method = method.to_lowercase();
        let Some(template) =
            template(path).filter(|t| description()["paths"][t].get(&method).is_some())
        else {
            return;
        };
        let status = self.status.to_string();
        let responses = &description()["paths"][template][&method]["responses"];
        let Some(content) = responses[&status]["content"].get(self.kind()) else {
            panic!(
                "{method} {template}: {status} {} is not described",
                self.kind()
            );
        };
        if self.kind().ends_with("json") {
            conforms(&content["schema"], &self.json());
        }
        let seen = (method, template.to_owned(), status, self.kind().to_owned());
        SEEN.lock().unwrap().insert(seen);
    }
}

/// Method, path, status and content type of every answer so far.
pub static SEEN: Mutex<BTreeSet<(String, String, String, String)>> = Mutex::new(BTreeSet::new());

#[track_caller]
pub fn code(answer: &Value) -> String {
    let code = match answer["result"]["outcome"].as_str() {
        Some("accepted") => return "accepted".to_owned(),
        Some(_) => &answer["result"]["code"],
        None => &answer["code"],
    };
    let code = code.as_str().unwrap_or_else(|| panic!("no code: {answer}"));
    code.to_owned()
}

/// The described path that a path belongs to.
pub fn template(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap();
    let known = [
        "/v1/verify",
        "/v1/verify/batch",
        "/health/live",
        "/health/ready",
        "/metrics",
    ];
    if let Some(known) = known.into_iter().find(|k| *k == path) {
        return Some(known);
    }
    let digest = path.strip_prefix("/v1/cards/")?;
    (!digest.is_empty() && !digest.contains('/')).then_some("/v1/cards/{digest}")
}

/// The service's description.
pub fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| serde_json::to_value(zkinfer_server::openapi()).unwrap())
}

/// Checks a value against a schema of the description.
#[track_caller]
pub fn conforms(schema: &Value, value: &Value) {
    if let Err(reason) = schema::check(description(), schema, value, "") {
        panic!("{reason}\n{value:#}");
    }
}

/// Whether a value fits a schema of the description.
pub fn fits(schema: &Value, value: &Value) -> bool {
    schema::check(description(), schema, value, "").is_ok()
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(file)
}

/// Bytes of a fixture.
pub fn fixture(file: &str) -> Vec<u8> {
    std::fs::read(path(file)).unwrap()
}

/// Digest of a fixture's card.
pub fn digest(name: &str) -> String {
    let bytes = fixture(&format!("{name}.card"));
    Card::from_bytes(&bytes, 1 << 20)
        .unwrap()
        .digest()
        .to_string()
}

pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A request about a proof file of a fixture's model, with the right context.
pub fn question(name: &str, file: &str) -> Value {
    asking(name, &fixture(file))
}

/// A request about proof bytes.
pub fn asking(name: &str, proof: &[u8]) -> Value {
    json!({ "card": digest(name), "proof": base64(proof), "context_text": name })
}

/// A question with some fields replaced or added.
pub fn with(mut question: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        question[name] = value.clone();
    }
    question
}

/// A question with a field left out.
pub fn without(mut question: Value, field: &str) -> Value {
    question.as_object_mut().unwrap().remove(field);
    question
}

/// Bytes sealed again after a change behind the header, so that only the change is wrong.
pub fn resealed(file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    use zkinfer_circuits::card::{FileKind, seal};
    let bytes = fixture(file);
    let kind = FileKind::of(&bytes).unwrap();
    let mut payload = bytes[10..bytes.len() - 32].to_vec();
    change(&mut payload);
    seal(kind, &payload)
}

/// A proof whose last scalar is changed: it decodes, and shows nothing.
pub fn forged(file: &str) -> Vec<u8> {
    resealed(file, |payload| {
        let last = payload.len() - 32;
        payload[last] ^= 1;
    })
}

/// Longer than a proof may be.
pub fn huge() -> Vec<u8> {
    let mut bytes = fixture("digits_0.proof");
    bytes.resize((1 << 20) + 1, 0);
    bytes
}
