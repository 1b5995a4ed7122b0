//! Strangers who mean harm, against a service that somebody uses at the same time: how long an honest verification takes,
//! whether the service answers about its health, and what memory it takes. Fails where an honest question is not answered,
//! where one takes more than twice its quiet time, or where the memory goes beyond its bound.
//!
//! ```text
//! cargo xtask attacks -- [seconds for each] [names of attacks]
//! cargo xtask attacks -- at ADDRESS HEALTH-ADDRESS PROCESS [seconds for each] [names of attacks]
//! ```
//!
//! The second form attacks a service that runs already, of another version for example; it has to have the stored cards.
//! Strangers come from 127.0.0.2 and up, honest questions from 127.0.0.1. Strangers would have machines of their own, so
//! their threads have the lowest priority here (Linux): what is measured is what the service makes of what they send.

#[path = "../empty.rs"]
mod empty;
#[path = "../hostile.rs"]
mod hostile;
#[path = "../service.rs"]
mod service;

use hostile::{Bait, attacks};
use serde_json::json;
use service::{Failure, Service, call, digest, fixture, memory, request};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zkinfer_server::{Config, Server};

/// Most memory of the service, in kB.
const MOST_MEMORY: u64 = 256 << 10;
/// Most that an honest question may take longer than in quiet times.
const MOST_SLOWDOWN: f64 = 2.0;
/// Between honest questions.
const PAUSE: Duration = Duration::from_millis(20);

/// What is attacked.
pub struct Target {
    /// Where it answers.
    pub address: SocketAddr,
    health: SocketAddr,
    process: u32,
}

/// Lets everything else go first.
fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{ThreadPriority, set_current_thread_priority};
        if let Err(error) = set_current_thread_priority(ThreadPriority::Min) {
            eprintln!("strangers keep their priority: {error:?}");
        }
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["serve", folder] = arguments.as_slice() {
        return serve(Path::new(folder));
    }
    let folder = tempfile::tempdir()?;
    let mut own = None;
    let target = if let ["at", address, health, process, ..] = arguments.as_slice() {
        let target = Target {
            address: address.parse()?,
            health: health.parse()?,
            process: process.parse()?,
        };
        arguments.drain(..4);
        target
    } else {
        let service = own.insert(Service::start(folder.path())?);
        Target {
            address: service.address,
            health: service.operations.ok_or("no second address")?,
            process: service.id(),
        }
    };
    let seconds = arguments.first().and_then(|a| a.parse().ok());
    if seconds.is_some() {
        arguments.remove(0);
    }
    let time = Duration::from_secs(seconds.unwrap_or(10));
    let fine = run(&target, time, &arguments)?;
    if let Some(mut service) = own {
        service.stop()?;
    }
    fine.then_some(()).ok_or("not everything held".into())
}

/// The service's process: what `zkinfer serve --open --operations ADDRESS --card FILE` does.
fn serve(folder: &Path) -> Result<(), Failure> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::default();
    config.listen = anywhere;
    config.operations = Some(anywhere);
    config.store = folder.join("store.redb");
    config.open = true;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::bind(config).await?;
        for name in ["digits.card", "cnn.card"] {
            let card = fixture(name)?;
            tokio::task::block_in_place(|| server.add_card(&card))?;
        }
        let operations = server.operations().ok_or("no second address")?;
        println!("{} {operations}", server.address());
        server.run(zkinfer_server::stop_signal()).await;
        Ok(())
    })
}

/// What honest clients saw.
struct Seen {
    /// In milliseconds, sorted.
    times: Vec<f64>,
    /// What was not answered, or wrongly.
    lost: usize,
    /// Longest that a question about its health took.
    health: f64,
}

impl Seen {
    fn at(&self, part: f64) -> f64 {
        let at = (self.times.len().saturating_sub(1) as f64 * part) as usize;
        self.times.get(at).copied().unwrap_or(f64::INFINITY)
    }
}

fn run(target: &Target, time: Duration, names: &[&str]) -> Result<bool, Failure> {
    let bait = Bait::new()?;
    bait.put(target)?;
    println!(
        "{:22} {:>7} {:>8} {:>8} {:>8} {:>8} {:>6} {:>9} {:>8} {:>9}",
        "attack",
        "honest",
        "quiet",
        "p50 ms",
        "p95 ms",
        "slower",
        "lost",
        "health ms",
        "peak MB",
        "requests"
    );
    let mut fine = true;
    for attack in attacks(&bait) {
        if !names.is_empty() && !names.contains(&attack.name) {
            continue;
        }
        let quiet = honest(target, time / 3)?;
        // From here on the highest memory counts.
        std::fs::write(format!("/proc/{}/clear_refs", target.process), "5")?;
        let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
        let seen = std::thread::scope(|scope| {
            for i in 0..attack.clients {
                let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (i % attack.addresses) as u8));
                let (attack, over, sent) = (&attack, &over, &sent);
                scope.spawn(move || {
                    stand_back();
                    (attack.act)(target, from, i, over, sent)
                });
            }
            std::thread::sleep(Duration::from_secs(1));
            let seen = honest(target, time);
            over.store(true, Ordering::Relaxed);
            seen
        })?;
        let peak = memory(target.process)?.1;
        let slower = seen.at(0.5) / quiet.at(0.5);
        println!(
            "{:22} {:>7} {:>8.1} {:>8.1} {:>8.1} {:>8.2} {:>6} {:>9.1} {:>8.1} {:>9}",
            attack.name,
            seen.times.len(),
            quiet.at(0.5),
            seen.at(0.5),
            seen.at(0.95),
            slower,
            seen.lost,
            seen.health,
            peak as f64 / 1024.0,
            sent.load(Ordering::Relaxed)
        );
        fine &= seen.lost == 0 && slower <= MOST_SLOWDOWN && peak <= MOST_MEMORY;
        // What was begun comes to its end.
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(fine)
}

/// Asks honest questions for some time, and about the service's health.
fn honest(target: &Target, time: Duration) -> Result<Seen, Failure> {
    let question = |name: &str, file: &str| -> Result<Vec<u8>, Failure> {
        let proof = hostile::base64(&fixture(file)?);
        let body = json!({ "card": digest(name)?, "proof": proof, "context_text": name });
        Ok(request(
            "POST",
            "/v1/verify",
            "application/json",
            body.to_string().as_bytes(),
        ))
    };
    let questions = [
        question("digits", "digits_0.proof")?,
        question("cnn", "cnn_0.proof")?,
    ];
    let end = Instant::now() + time;
    let health = std::thread::scope(|scope| {
        let health = scope.spawn(|| health(target, end));
        let mut seen = Seen {
            times: Vec::new(),
            lost: 0,
            health: 0.0,
        };
        for question in questions.iter().cycle() {
            if Instant::now() >= end {
                break;
            }
            let start = Instant::now();
            let answer = connect(target.address, Ipv4Addr::LOCALHOST.into())
                .and_then(|mut stream| call(&mut stream, question));
            match answer {
                Ok((200, ..)) => seen.times.push(start.elapsed().as_secs_f64() * 1e3),
                _ => seen.lost += 1,
            }
            std::thread::sleep(PAUSE);
        }
        seen.times.sort_by(f64::total_cmp);
        seen.health = health.join().unwrap_or(f64::INFINITY);
        seen
    });
    Ok(health)
}

fn health(target: &Target, end: Instant) -> f64 {
    let mut longest = 0.0f64;
    while Instant::now() < end {
        let start = Instant::now();
        let answer = || -> Result<String, Failure> {
            let mut stream = connect(target.health, Ipv4Addr::LOCALHOST.into())?;
            stream.write_all(
                b"GET /health/live HTTP/1.1\r\nhost: load\r\nconnection: close\r\n\r\n",
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let fine = answer().is_ok_and(|a| a.starts_with("HTTP/1.1 200"));
        let took = start.elapsed().as_secs_f64() * 1e3;
        longest = longest.max(if fine { took } else { f64::INFINITY });
        std::thread::sleep(Duration::from_millis(100));
    }
    longest
}

/// A connection from an address of one's own.
pub fn connect(to: SocketAddr, from: IpAddr) -> Result<TcpStream, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(service::PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
