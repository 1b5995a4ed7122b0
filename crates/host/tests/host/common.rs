//! A host on a loopback socket, and a client that compares every answer with the host's description.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;
use zkinfer::{Graph, QuantizeOptions, Samples, Secret};
use zkinfer_host::{Config, Embedded, Host, HostKey, SecretKey, Series};
use zkinfer_slip::Slip;

/// Longest time that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What the tests' hosts sign with.
pub const KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

/// A running host.
pub struct Service {
    pub address: SocketAddr,
    pub key: HostKey,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: Option<TempDir>,
}

impl Service {
    /// With a fresh store and the digits.
    pub fn start(change: impl FnOnce(&mut Config)) -> Service {
        Service::again(tempfile::tempdir().unwrap(), &["digits"], change)
    }

    /// With the store in a folder, and these models.
    pub fn again(folder: TempDir, models: &[&str], change: impl FnOnce(&mut Config)) -> Service {
        let mut config = Config::default();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        change(&mut config);
        let path = folder.path().join("runs.redb");
        let secrets: Vec<Secret> = models.iter().map(|name| secret(name)).collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let series = Series::random(&mut zkinfer::rng());
                let store = Embedded::open(&path, series, config.runs, config.run_bytes).unwrap();
                let key = SecretKey::from_text(KEY).unwrap();
                let mut host = Host::bind(config, key, Arc::new(store)).await.unwrap();
                for secret in secrets {
                    host.add_model(Some("digits"), secret).unwrap();
                }
                tell.send((host.address(), host.key())).unwrap();
                host.run(async { stopped.await.unwrap() }).await.unwrap();
            });
        });
        let (address, key) = told.recv_timeout(PATIENCE).unwrap();
        Service {
            address,
            key,
            stop: Some(stop),
            thread: Some(thread),
            folder: Some(folder),
        }
    }

    /// Waits until it has stopped; its folder.
    pub fn stop(mut self) -> TempDir {
        self.end();
        self.folder.take().unwrap()
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    /// Asks for sample 0, with these parameters.
    pub fn infer(&self, parameters: &Value) -> Answer {
        self.post("/v2/models/digits/infer", &question(parameters))
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
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        // A host that refuses a body may close before all of it is sent.
        let _ = stream.write_all(&bytes);
        Answer::read(&mut stream).seen(method, path)
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
        self.end();
    }
}

/// What a host answers.
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
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    /// The same answer, which fits the description.
    #[track_caller]
    pub fn seen(self, method: &str, path: &str) -> Answer {
        self.check(method, path);
        self
    }

    #[track_caller]
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines
            .map(|l| l.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Answer {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        }
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

    /// Expects a status and a code.
    #[track_caller]
    pub fn expect(&self, status: u16, code: &str) -> &Answer {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        assert_eq!(self.json()["code"], code, "{body}");
        self
    }

    /// The slip of an answer.
    #[track_caller]
    pub fn slip(&self) -> Slip {
        let json = self.json();
        let text = json["parameters"]["zkinfer_slip"].as_str();
        serde_json::from_str(text.unwrap_or_else(|| panic!("no slip: {json}"))).unwrap()
    }

    /// Compares the answer with the description, and remembers that it was seen.
    #[track_caller]
    fn check(&self, method: &str, path: &str) {
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        let method = method.to_lowercase();
        let Some(template) =
            template(path).filter(|t| description()["paths"][t].get(&method).is_some())
        else {
            return;
        };
        let kind = self.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap();
        let status = self.status.to_string();
        let responses = &description()["paths"][&template][&method]["responses"];
        let Some(content) = responses[&status]["content"].get(kind) else {
            panic!("{method} {template}: {status} {kind} is not described");
        };
        if kind.ends_with("json") {
            let fits = crate::schema::check(description(), &content["schema"], &self.json(), "");
            fits.unwrap_or_else(|e| panic!("{method} {template}: {e}"));
        }
        SEEN.lock().unwrap().insert((method, template, status));
    }
}

/// Method, path and status of every answer so far.
pub static SEEN: Mutex<BTreeSet<(String, String, String)>> = Mutex::new(BTreeSet::new());

/// The described path that a path belongs to.
fn template(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let paths = description()["paths"].as_object().unwrap();
    let fits = |template: &&String| {
        let own: Vec<&str> = template.split('/').collect();
        own.len() == parts.len()
            && own
                .iter()
                .zip(&parts)
                .all(|(a, b)| a == b || a.starts_with('{'))
    };
    paths.keys().find(fits).cloned()
}

/// The host's description.
pub fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| serde_json::to_value(zkinfer_host::openapi()).unwrap())
}

fn example(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
    std::fs::read(folder.join(name)).unwrap()
}

/// Inputs of the digits.
pub fn samples() -> &'static Vec<Vec<Vec<f32>>> {
    static SAMPLES: OnceLock<Vec<Vec<Vec<f32>>>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        Samples::from_npz(&example("digits.npz"), &[64])
            .unwrap()
            .inputs
    })
}

/// A committed model: always the same for a name, whatever the process. `other` is another one with the same inputs.
pub fn secret(name: &str) -> Secret {
    static FILES: Mutex<Vec<(String, Vec<u8>)>> = Mutex::new(Vec::new());
    let mut files = FILES.lock().unwrap();
    if let Some((_, bytes)) = files.iter().find(|(n, _)| n == name) {
        return Secret::from_bytes(bytes, bytes.len()).unwrap();
    }
    let graph = Graph::from_onnx(&example("digits.onnx")).unwrap();
    let calibration = if name == "other" {
        &samples()[..8]
    } else {
        &samples()[..]
    };
    let model = graph
        .quantize(calibration, &QuantizeOptions::default())
        .unwrap();
    let secret = Secret::commit(model, &mut zkinfer::rng()).unwrap();
    files.push((name.to_owned(), secret.to_bytes().unwrap()));
    secret
}

/// The request for sample 0.
pub fn question(parameters: &Value) -> Value {
    json!({ "parameters": parameters, "inputs": [tensor(&json!(samples()[0][0]))] })
}

pub fn tensor(data: &Value) -> Value {
    json!({ "name": "input", "datatype": "FP32", "shape": [1, 64], "data": data })
}
