//! Load on a host, over loopback: clients that audit ask in a steady pace, and every answer, slip and proof is checked.
//! Fails if one is missing or wrong. Says how long answers took against the bare integer run, and what memory there was.
//!
//! ```text
//! cargo xtask load_host -- [answers] [clients] [answers in a second] [share of proofs]
//! ```
//!
//! The host runs in a process of its own, on the same machine as its clients. Times are from when a question was due, so
//! that what waits behind something slow is slow itself; they have in them what the client checks. Answers whose proof
//! was drawn take another request for the promise, and are counted apart.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zkinfer::{Graph, QuantizeOptions, Samples, Secret};
use zkinfer_client::{Client, Log, Options, Outcome, Pinned, Rate, audit};
use zkinfer_host::{Config, Embedded, Host, SecretKey, Series};

#[allow(dead_code, reason = "shared with programs that send bytes")]
#[path = "../service.rs"]
mod service;

use service::{Failure, PATIENCE, Service, memory};

/// Questions before anything is measured.
const WARM_UP: usize = 200;
/// Bare runs that are measured.
const RUNS: usize = 2000;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, folder] = arguments.as_slice()
        && what == "serve"
    {
        return serve(Path::new(folder));
    }
    let number = |i: usize, default: f64| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let answers = number(0, 6000.0)? as usize;
    let (clients, pace, share) = (
        number(1, 32.0)? as usize,
        number(2, 100.0)?,
        number(3, 0.05)?,
    );

    let folder = tempfile::tempdir()?;
    let secret = commit()?;
    std::fs::write(folder.path().join("digits.model"), secret.to_bytes()?)?;
    let key = SecretKey::random(&mut zkinfer::rng());
    std::fs::write(folder.path().join("host.key"), key.to_text())?;
    let samples = samples()?;
    let expected = expected(&secret, &samples)?;
    let bare = bare(&secret, &samples)?;

    let mut service = Service::start(folder.path())?;
    let pinned = || Pinned::new(&secret.card().to_bytes(), key.public(), &Default::default());
    let path = folder.path().join("audit.jsonl");
    let url = format!("http://{}", service.address);
    let options = Options::new(Rate::new(share)?);
    let rng = zkinfer_client::rng();
    let client = Client::new(&url, "digits", pinned()?, options, Log::append(&path)?, rng);
    let question = |number: usize| -> Result<bool, Failure> {
        let at = number % samples.len();
        let answer = client.infer(&samples[at])?;
        if answer.outputs != expected[at] {
            return Err(format!("answer {number} is not the model's").into());
        }
        match answer.audit {
            None => Ok(false),
            Some(Outcome::Pending { .. }) => Ok(true),
            Some(other) => Err(format!("answer {number}: {other:?}").into()),
        }
    };
    for number in 0..WARM_UP {
        question(number)?;
    }
    let before = memory(service.id())?.0;
    println!(
        "{answers} answers to {clients} clients, {pace} in a second, proofs of {share} of them"
    );
    let load = Load {
        answers,
        clients,
        pace,
    };
    let (mut times, seen) = load.put(&question, &|| {
        settle(&client)?;
        memory(service.id()).map(|m| m.0)
    })?;
    let start = Instant::now();
    while client.pending() > 0 {
        if start.elapsed() > PATIENCE * 5 {
            return Err(format!("{} proofs are missing", client.pending()).into());
        }
        settle(&client)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let behind = start.elapsed();
    let log = std::io::BufReader::new(std::fs::File::open(&path)?);
    let summary = audit(log, &pinned()?, zkinfer_slip::now())?;
    if !summary.is_clean() || summary.answers != (WARM_UP + answers) as u64 {
        return Err(format!("{summary:?}").into());
    }

    println!(
        "bare integer run: median {:.2} ms; 1.5 times that and 5 ms: {:.2} ms",
        bare * 1e3,
        bare * 1.5e3 + 5.0
    );
    for (asked, name) in [(false, "not asked about"), (true, "asked about")] {
        let own = times.iter_mut().filter(|t| t.1 == asked).map(|t| t.0);
        print(name, own.collect());
    }
    println!(
        "{} proofs, all there and valid; the last {:.1} s after the last answer",
        summary.proven,
        behind.as_secs_f64()
    );
    let half = seen.len() / 2;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
    println!(
        "memory of the host: {before} kB before, at most {} kB in the first half, {} kB in the second",
        most(&seen[..half]),
        most(&seen[half..])
    );
    service.stop()
}

/// The host's process.
fn serve(folder: &Path) -> Result<(), Failure> {
    let mut config = Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    // All clients are one address.
    config.client_requests = 0;
    config.client_connections = 0;
    let key = SecretKey::from_text(&std::fs::read_to_string(folder.join("host.key"))?)?;
    let model = std::fs::read(folder.join("digits.model"))?;
    let series = Series::random(&mut zkinfer::rng());
    let store = folder.join("runs.redb");
    let store = Embedded::open(&store, series, config.runs, config.run_bytes)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut host = Host::bind(config, key, std::sync::Arc::new(store)).await?;
        host.add_model(Some("digits"), Secret::from_bytes(&model, model.len())?)?;
        println!("{}", host.address());
        host.run(zkinfer_host::stop_signal()).await?;
        Ok(())
    })
}

fn example(name: &str) -> Result<Vec<u8>, Failure> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("examples/data").is_dir());
    let root = root.ok_or("no examples")?;
    Ok(std::fs::read(root.join("examples/data").join(name))?)
}

fn samples() -> Result<Vec<Vec<Vec<f32>>>, Failure> {
    Ok(Samples::from_npz(&example("digits.npz")?, &[64])?.inputs)
}

fn commit() -> Result<Secret, Failure> {
    let graph = Graph::from_onnx(&example("digits.onnx")?)?;
    let model = graph.quantize(&samples()?, &QuantizeOptions::default())?;
    Ok(Secret::commit(model, &mut zkinfer::rng())?)
}

fn expected(secret: &Secret, samples: &[Vec<Vec<f32>>]) -> Result<Vec<Vec<Vec<f32>>>, Failure> {
    let mut outputs = Vec::with_capacity(samples.len());
    for sample in samples {
        outputs.push(secret.infer(sample)?.outputs().to_vec());
    }
    Ok(outputs)
}

/// The median of a run without a host, in seconds.
fn bare(secret: &Secret, samples: &[Vec<Vec<f32>>]) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(RUNS);
    for number in 0..RUNS {
        let start = Instant::now();
        std::hint::black_box(secret.infer(&samples[number % samples.len()])?);
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

/// Looks for promised proofs: those that are there are valid.
fn settle(client: &Client<impl rand_core::CryptoRng>) -> Result<(), Failure> {
    let outcomes = client.settle()?;
    match outcomes.iter().find(|(_, o)| *o != Outcome::Proven) {
        Some((run, outcome)) => Err(format!("{run}: {outcome:?}").into()),
        None => Ok(()),
    }
}

/// How much is asked, and how fast.
struct Load {
    answers: usize,
    clients: usize,
    pace: f64,
}

/// How long each answer took in seconds, and whether its proof was asked for; what was seen of memory meanwhile.
type Measured = (Vec<(f64, bool)>, Vec<u64>);

impl Load {
    fn put(
        &self,
        question: &(impl Fn(usize) -> Result<bool, Failure> + Sync),
        look: &(impl Fn() -> Result<u64, Failure> + Sync),
    ) -> Result<Measured, Failure> {
        let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let times = Mutex::new(Vec::with_capacity(self.answers));
        let start = Instant::now();
        let work = || -> Result<(), Failure> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.answers {
                    return Ok(());
                }
                let due = start + Duration::from_secs_f64(number as f64 / self.pace);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let asked = question(number)?;
                let took = due.elapsed().as_secs_f64();
                let mut times = times.lock().map_err(|_| "a client panicked")?;
                times.push((took, asked));
            }
        };
        let watch = || -> Result<Vec<u64>, Failure> {
            let mut seen = vec![look()?];
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                seen.push(look()?);
            }
            Ok(seen)
        };
        let seen = std::thread::scope(|scope| {
            let watching = scope.spawn(watch);
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(work)).collect();
            let done: Result<Vec<()>, Failure> = clients
                .into_iter()
                .map(|c| c.join().map_err(|_| "a client panicked")?)
                .collect();
            over.store(true, Ordering::Relaxed);
            let seen = watching.join().map_err(|_| "who watches panicked")?;
            done.and(seen)
        })?;
        let times = times.into_inner().map_err(|_| "a client panicked")?;
        Ok((times, seen))
    }
}

fn print(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 - 1.0) * share) as usize);
    let [half, most, almost] = [0.5, 0.95, 0.99].map(|share| at(share).map_or(0.0, |t| t * 1e3));
    println!(
        "{:>6} answers {name}: median {half:.2} ms, 95 % {most:.2} ms, 99 % {almost:.2} ms",
        times.len()
    );
}
