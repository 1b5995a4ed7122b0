use super::*;

fn bench(stage: &str, of: &str, median: f64) -> Bench {
    Bench {
        stage: stage.into(),
        case: String::new(),
        of: of.into(),
        median,
        low: median * 0.99,
        high: median * 1.01,
        elements: None,
    }
}

fn baseline(benches: Vec<Bench>) -> Baseline {
    Baseline {
        format: FORMAT,
        machine: Machine {
            cpu: "some processor".into(),
            cores: 2,
            ..Machine::default()
        },
        benches,
    }
}

/// As criterion writes it.
fn result(folder: &Path, id: &str, nanoseconds: f64) {
    let new = folder.join("new");
    std::fs::create_dir_all(&new).expect("a folder");
    std::fs::write(new.join("benchmark.json"), id).expect("a file");
    let estimates = format!(
        r#"{{"mean":{{"point_estimate":1.0}},"median":{{"confidence_interval":{{"confidence_level":0.95,
        "lower_bound":{},"upper_bound":{}}},"point_estimate":{nanoseconds},"standard_error":1.0}}}}"#,
        nanoseconds * 0.9,
        nanoseconds * 1.2
    );
    std::fs::write(new.join("estimates.json"), estimates).expect("a file");
}

#[test]
fn reads_what_criterion_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    assert!(collect(root).is_err());
    result(
        &root.join("prove/digits"),
        r#"{"group_id":"prove","function_id":null,"value_str":"digits","throughput":null,"full_id":"prove/digits"}"#,
        2e6,
    );
    result(
        &root.join("msm/full, 2_10/ifma"),
        r#"{"group_id":"msm","function_id":"full, 2^10","value_str":"ifma","throughput":{"Elements":1024}}"#,
        5e3,
    );
    result(
        &root.join("copy/all"),
        r#"{"group_id":"copy","function_id":"all","value_str":null,"throughput":{"Bytes":7}}"#,
        1.0,
    );
    let found = collect(root).expect("results");
    assert!(found.stale.is_empty());
    let ids: Vec<_> = found.benches.iter().map(Bench::id).collect();
    assert_eq!(ids, ["copy/all", "msm/full, 2^10/ifma", "prove/digits"]);
    let [copy, msm, prove] = found.benches.as_slice() else {
        panic!("three");
    };
    assert_eq!((copy.elements, prove.elements), (None, None));
    assert!((msm.per_element() - 5e-6 / 1024.0).abs() < 1e-15);
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
    assert!(close(prove.median, 2e-3) && close(prove.low, 1.8e-3) && close(prove.high, 2.4e-3));
}

#[test]
fn figures_of_an_earlier_run_are_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let id = |of: &str| {
        format!(r#"{{"group_id":"g","function_id":null,"value_str":"{of}","throughput":null}}"#)
    };
    result(&root.join("g/old"), &id("old"), 1.0);
    result(&root.join("g/new"), &id("new"), 1.0);
    let file = std::fs::File::options()
        .write(true)
        .open(root.join("g/old/new/estimates.json"))
        .expect("a file");
    let long_ago = SystemTime::now() - SAME_RUN - Duration::from_secs(60);
    file.set_modified(long_ago).expect("times can be set");
    let found = collect(root).expect("results");
    assert_eq!(found.stale, ["g/old"]);
    assert_eq!(found.benches.len(), 1);
}

#[test]
fn damaged_results_name_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    result(&folder.path().join("g"), "{", 1.0);
    let error = collect(folder.path()).expect_err("not JSON").to_string();
    assert!(error.contains("benchmark.json"), "{error}");
}

#[test]
fn what_is_kept_is_what_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("baseline.json");
    let mut kept = baseline(vec![bench("a", "x", 1.25e-3), bench("b", "y", 0.1)]);
    kept.benches[1].elements = Some(8);
    std::fs::write(&path, kept.to_json()).expect("a file");
    assert_eq!(Baseline::load(&path).expect("just written"), kept);
    let later = kept.to_json().replacen("\"format\": 1", "\"format\": 2", 1);
    std::fs::write(&path, later).expect("a file");
    assert!(
        Baseline::load(&path)
            .expect_err("format 2")
            .to_string()
            .contains("format 2")
    );
}

#[test]
fn a_difference_is_beyond_noise_and_intervals() {
    let verdict = |before: &Bench, now: &Bench| Change::of(before, now).verdict;
    let one = bench("a", "x", 1.0);
    assert_eq!(verdict(&one, &bench("a", "x", 1.04)), Verdict::Same);
    assert_eq!(verdict(&one, &bench("a", "x", 1.3)), Verdict::Slower);
    assert_eq!(verdict(&one, &bench("a", "x", 0.7)), Verdict::Faster);
    let wide = Bench {
        low: 0.9,
        ..bench("a", "x", 1.3)
    };
    assert_eq!(verdict(&one, &wide), Verdict::Same);
}

#[test]
fn comparisons_say_what_cannot_be_compared() {
    let before = baseline(vec![
        bench("a", "x", 1.0),
        bench("gone", "x", 1.0),
        bench("s", "x", 1.0),
    ]);
    let mut now = baseline(vec![
        bench("a", "x", 4.0),
        bench("new", "x", 1.0),
        bench("s", "x", 1.0),
    ]);
    let same = compare(&before, &now);
    assert!(same.machine.is_empty() && !same.to_text().contains("ANOTHER MACHINE"));
    assert_eq!(
        (same.gone.as_slice(), same.new.as_slice()),
        (&["gone/x".into()][..], &["new/x".into()][..])
    );
    assert_eq!(
        same.slower(1.5).map(|c| c.id.as_str()).collect::<Vec<_>>(),
        ["a/x"]
    );
    assert_eq!(same.slower(5.0).count(), 0);
    assert!((same.mean() - 2.0).abs() < 1e-12);
    now.machine.cores = 64;
    let other = compare(&before, &now);
    assert_eq!(other.machine, ["cores: 2, now 64"]);
    let text = other.to_text();
    assert!(
        text.contains("ANOTHER MACHINE") && text.contains("SLOWER") && text.contains("gone/x"),
        "{text}"
    );
}

#[test]
fn a_file_without_end_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("baseline.json");
    let long = std::fs::File::create(&path).expect("a file");
    long.set_len(FILE_BYTES + 1).expect("room");
    let error = Baseline::load(&path).expect_err("too long");
    assert_eq!(error.path, path);
    assert_eq!(error.reason, "more than 67108864 bytes");
}
