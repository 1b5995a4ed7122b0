//! An honest host passes.

use crate::common::*;
use crate::double::{client, pinned};
use std::io::BufReader;
use zkinfer_client::{Log, Outcome, audit};
use zkinfer_slip::now;

#[test]
fn an_honest_host_passes() {
    let service = Service::start(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let client = client(service.address, 0.5, Log::append(&path).unwrap());
    let mut asked = 0;
    for sample in samples() {
        let answer = client.infer(sample).unwrap();
        let run = secret("digits").infer(sample).unwrap();
        assert_eq!(answer.outputs, run.outputs());
        asked += u64::from(matches!(answer.audit, Some(Outcome::Pending { .. })));
    }
    assert_eq!(client.pending() as u64, asked);
    let read = |now: u64| {
        let log = BufReader::new(std::fs::File::open(&path).unwrap());
        audit(log, &pinned(), now).unwrap()
    };
    // One in 2^30 of these tests asks for none, or for all.
    assert!(asked > 0 && asked < samples().len() as u64);
    assert_eq!(read(now()).pending, asked);
    assert_eq!(read(now() + 3_600_000).unfetched, asked);
    let mut outcomes = Vec::new();
    service.wait("all is proven", |_| {
        outcomes.extend(client.settle().unwrap());
        client.pending() == 0
    });
    assert_eq!(outcomes.len() as u64, asked);
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| *outcome == Outcome::Proven)
    );
    let summary = read(now());
    assert!(summary.is_clean());
    assert_eq!(
        (summary.answers, summary.asked, summary.proven),
        (samples().len() as u64, asked, asked)
    );
    assert_eq!((summary.pending, summary.unfetched), (0, 0));
}

#[test]
fn what_the_host_refuses_is_an_error_and_no_evidence() {
    let service = Service::start(|_| {});
    let client = client(service.address, 1.0, Log::none());
    let mut large = samples()[0].clone();
    large[0][0] = 1e9;
    let error = client.infer(&large).unwrap_err().to_string();
    assert!(error.contains("1000000000"), "{error}");
    let address = service.address;
    service.stop();
    let client = crate::double::client(address, 1.0, Log::none());
    let error = client.infer(&samples()[0]).unwrap_err();
    assert!(
        matches!(error, zkinfer_client::ClientError::Wire(_)),
        "{error}"
    );
}
