//! A client that starts again goes on with its log, and several threads ask at the same time.

use crate::common::*;
use crate::double::{Double, Lie, client, pinned};
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use zkinfer_client::{Client, Log, Options, Outcome, Pinned, Rate, ResumeError, Summary, audit};
use zkinfer_slip::now;

fn resumed(
    address: SocketAddr,
    path: &Path,
) -> Result<Client<impl rand_chacha::rand_core::CryptoRng>, ResumeError> {
    let options = Options::new(Rate::new(1.0).unwrap());
    let url = format!("http://{address}");
    let rng = zkinfer_client::rng();
    Client::resume(&url, "digits", pinned(), options, path, rng)
}

fn summary(path: &Path) -> Summary {
    let log = BufReader::new(std::fs::File::open(path).unwrap());
    audit(log, &pinned(), now()).unwrap()
}

#[test]
fn pending_proofs_are_picked_up_again() {
    let service = Service::start(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    // The first one makes the log, and ends before any proof is there.
    let first = resumed(service.address, &path).unwrap();
    for sample in &samples()[..2] {
        first.infer(sample).unwrap();
    }
    assert_eq!(first.pending(), 2);
    let error = resumed(service.address, &path).err().unwrap().to_string();
    assert!(error.contains("another client writes to it"), "{error}");
    let error = Log::append(&path).err().unwrap().to_string();
    assert!(error.contains("another client writes to it"), "{error}");
    drop(first);

    let second = resumed(service.address, &path).unwrap();
    assert_eq!(second.pending(), 2);
    second.infer(&samples()[2]).unwrap();
    let mut outcomes = Vec::new();
    service.wait("all is proven", |_| {
        outcomes.extend(second.settle().unwrap());
        second.pending() == 0
    });
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|(_, o)| *o == Outcome::Proven));
    drop(second);
    let found = summary(&path);
    assert!(found.is_clean());
    assert_eq!((found.answers, found.asked, found.proven), (3, 3, 3));
    // Nothing is settled twice.
    assert_eq!(resumed(service.address, &path).unwrap().pending(), 0);
}

#[test]
fn what_was_promised_before_the_restart_is_overdue_after_it() {
    let double = Double::start(Lie::NeverProves);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let first = resumed(double.address, &path).unwrap();
    first.infer(&samples()[0]).unwrap();
    drop(first);
    let second = resumed(double.address, &path).unwrap();
    let start = std::time::Instant::now();
    let outcomes = loop {
        assert!(start.elapsed() < PATIENCE);
        let outcomes = second.settle().unwrap();
        if !outcomes.is_empty() {
            break outcomes;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(matches!(outcomes[..], [(_, Outcome::Overdue(_))]));
    assert_eq!(summary(&path).confirmed.len(), 1);
}

#[test]
fn a_number_from_before_the_restart_is_not_taken_again() {
    let double = Double::start(Lie::SameNumber);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let first = resumed(double.address, &path).unwrap();
    first.infer(&samples()[0]).unwrap();
    drop(first);
    let second = resumed(double.address, &path).unwrap();
    let error = second.infer(&samples()[1]).unwrap_err().to_string();
    assert!(error.contains("contradicts an earlier one"), "{error}");
}

#[test]
fn a_log_that_is_none_or_another_hosts_is_refused() {
    let double = Double::start(Lie::NeverProves);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let client = resumed(double.address, &path).unwrap();
    client.infer(&samples()[0]).unwrap();
    drop(client);
    let key = zkinfer_slip::SecretKey::random(&mut zkinfer::rng()).public();
    let other = Pinned::new(
        &secret("digits").card().to_bytes(),
        key,
        &Default::default(),
    );
    let options = Options::new(Rate::new(1.0).unwrap());
    let rng = zkinfer_client::rng();
    let client = Client::resume("http://host", "", other.unwrap(), options, &path, rng);
    let error = client.err().unwrap().to_string();
    assert!(
        error.contains("audit.jsonl: line 1: the slip is of host"),
        "{error}"
    );

    std::fs::write(&path, "{\"time\": 1, \"event\": \"answered\"}\n").unwrap();
    let error = resumed(double.address, &path).err().unwrap().to_string();
    assert!(error.contains("audit.jsonl: line 1"), "{error}");
    std::fs::write(&path, "{\"time\": 1").unwrap();
    let error = resumed(double.address, &path).err().unwrap().to_string();
    assert!(
        error.contains("can be removed if it is the last"),
        "{error}"
    );
}

#[test]
fn several_threads_ask_at_the_same_time() {
    let service = Service::start(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let client = client(service.address, 0.1, Log::append(&path).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for sample in samples().iter().skip(thread).step_by(8) {
                    let run = secret("digits").infer(sample).unwrap();
                    assert_eq!(client.infer(sample).unwrap().outputs, run.outputs());
                }
            });
        }
    });
    service.wait("all is proven", |_| {
        std::thread::scope(|scope| {
            let settle = || client.settle().unwrap();
            let (one, other) = (scope.spawn(settle), scope.spawn(settle));
            let all = [one.join().unwrap(), other.join().unwrap()].concat();
            assert!(all.iter().all(|(_, o)| *o == Outcome::Proven));
        });
        client.pending() == 0
    });
    let found = summary(&path);
    assert!(found.is_clean());
    assert_eq!(found.answers, samples().len() as u64);
    assert_eq!(found.asked, found.proven);
}
