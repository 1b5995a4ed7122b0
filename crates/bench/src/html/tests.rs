use super::*;
use crate::report::{Family, StageName};
use roxmltree::{Document, Node, ParsingOptions};

/// The page as a tree: the page is written so that it is XML, too.
fn check(page: &str, look: impl FnOnce(&Document)) {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document =
        Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("{e}\n{page}"));
    for node in document.descendants().filter(Node::is_element) {
        assert!(
            !matches!(
                node.tag_name().name(),
                "script" | "iframe" | "link" | "object" | "img"
            ),
            "{node:?}"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{node:?}");
            let outside =
                matches!(attribute.name(), "src" | "href") && !attribute.value().starts_with('#');
            assert!(!outside, "{node:?}");
        }
        // Nothing broken was written as a number.
        if let Some(text) = node.text() {
            assert!(
                !text.contains("NaN") && !text.contains("inf ") && !text.contains("-0.00"),
                "{text}"
            );
        }
    }
    let ids: Vec<&str> = document
        .descendants()
        .filter_map(|n| n.attribute("id"))
        .collect();
    let links: Vec<&str> = document
        .descendants()
        .filter_map(|n| n.attribute("href"))
        .map(|h| &h[1..])
        .collect();
    assert_eq!(ids, links, "the contents name every section");
    look(&document);
}

fn text(node: Node) -> String {
    node.descendants()
        .filter(|n| n.is_text())
        .filter_map(|n| n.text())
        .collect()
}

fn section<'a>(document: &'a Document, id: &str) -> Option<Node<'a, 'a>> {
    document
        .descendants()
        .find(|n| n.attribute("id") == Some(id))
}

#[test]
fn everything_is_there() {
    let report = samples::report();
    let page = render(&report, &Options::default()).unwrap();
    check(&page, |document| {
        let ids: Vec<&str> = document
            .descendants()
            .filter_map(|n| n.attribute("id"))
            .collect();
        assert_eq!(
            ids,
            [
                "answer", "machine", "model-1", "model-2", "growth", "peers", "reading"
            ]
        );
        let digits = text(section(document, "model-1").unwrap());
        for wanted in [
            "2,410",
            "4.65 kB",
            "float inference",
            "20.0 µs",
            "– witness",
            "580 ms",
            "62.0 MB",
            "29,000×",
            "250×",
            "$0.05 per core-hour",
            "Time by number of threads",
            "target: 1.00 ms",
            "Parts of a proof",
            "proof on demand",
            "Honesty pays as soon as more than",
            "running again is cheaper, by a factor of 250",
            "3 of 200: out of range",
            "Other systems in the same run",
        ] {
            assert!(digits.contains(wanted), "{wanted} is missing in {digits}");
        }
        let growth = text(section(document, "growth").unwrap());
        for wanted in [
            "By multiply-adds",
            "By parameters",
            "By activations",
            "mlp: ",
            "a·x^",
            "prove, CPU time",
            "10k",
            "1 s",
            "tokens",
        ] {
            assert!(growth.contains(wanted), "{wanted} is missing in {growth}");
        }
        // Seven plots for each way to count.
        let plots = section(document, "growth")
            .unwrap()
            .descendants()
            .filter(|n| n.tag_name().name() == "svg")
            .count();
        assert_eq!(plots, 21);
        let machine = text(section(document, "machine").unwrap());
        assert!(
            machine.contains("AMD EPYC 9R14")
                && machine.contains("25.8 GB")
                && machine.contains("--calibration"),
            "{machine}"
        );
        assert!(machine.contains("busy with other work"));
    });
}

/// A quoted peer names its machine, and is in no plot.
#[test]
fn machines_are_not_mixed() {
    let page = render(&samples::report(), &Options::default()).unwrap();
    check(&page, |document| {
        let peers = text(section(document, "peers").unwrap());
        assert!(
            peers.contains("2 shared cores, 24 GiB") && peers.contains("2026-11-20"),
            "{peers}"
        );
        assert!(peers.contains("out of memory at 23.8 GB"));
        for svg in document
            .descendants()
            .filter(|n| n.tag_name().name() == "svg")
        {
            assert!(!text(svg).contains("DeepProve"));
        }
        let with_peer = document
            .descendants()
            .filter(|n| n.tag_name().name() == "svg")
            .filter(|s| text(*s).contains("EZKL"));
        assert_eq!(with_peer.count(), 1);
    });
}

#[test]
fn missing_parts_leave_no_empty_sections() {
    let full = samples::report();
    let empty = Report {
        models: vec![],
        sweeps: vec![],
        peers: vec![],
        ..full.clone()
    };
    check(&render(&empty, &Options::default()).unwrap(), |document| {
        let ids: Vec<&str> = document
            .descendants()
            .filter_map(|n| n.attribute("id"))
            .collect();
        assert_eq!(ids, ["answer", "machine", "reading"]);
        assert!(text(section(document, "answer").unwrap()).contains("no answer yet"));
    });
    let mut bare = full.clone();
    (bare.machine, bare.peers) = Default::default();
    bare.command.clear();
    for model in &mut bare.models {
        (
            model.stages,
            model.threads,
            model.batches,
            model.runs,
            model.notes,
        ) = Default::default();
        (model.accuracy, model.facts) = Default::default();
    }
    for sweep in &mut bare.sweeps {
        sweep.points.truncate(2);
    }
    check(&render(&bare, &Options::default()).unwrap(), |document| {
        let digits = section(document, "model-1").unwrap();
        assert!(
            digits
                .descendants()
                .all(|n| !matches!(n.tag_name().name(), "table" | "svg" | "h3")),
            "{}",
            text(digits)
        );
        assert!(!text(section(document, "growth").unwrap()).contains("a·x^"));
    });
    // Without CPU times, as on a system that does not tell.
    let mut wall = full;
    for stage in wall.models.iter_mut().flat_map(|m| &mut m.stages) {
        (stage.cpu, stage.peak_bytes, stage.grown_bytes) = (None, None, None);
    }
    for batch in wall.models.iter_mut().flat_map(|m| &mut m.batches) {
        batch.verify.cpu = None;
    }
    wall.sweeps[0].points.clear();
    check(&render(&wall, &Options::default()).unwrap(), |document| {
        let digits = text(section(document, "model-1").unwrap());
        assert!(
            digits.contains("310 ms")
                && !digits.contains("Overhead")
                && !digits.contains("Is it worth it"),
            "{digits}"
        );
    });
}

#[test]
fn hostile_names_stay_text() {
    let name = "</title><script>alert('x')</script>\u{202e}<img src=x onerror=\"alert(1)\">]]>&\0";
    let mut report = samples::report();
    report.command = name.into();
    report.machine.cpu = name.into();
    report.models[0].name = name.into();
    report.models[0].notes = vec![name.into()];
    report.sweeps[0].axis = name.into();
    report.sweeps[0].stopped = Some(name.into());
    report.sweeps[0].points[0].measurement.name = name.into();
    for peer in &mut report.peers {
        for text in [
            &mut peer.system,
            &mut peer.version,
            &mut peer.machine,
            &mut peer.date,
            &mut peer.source,
            &mut peer.note,
        ] {
            *text = name.into();
        }
        peer.model = name.into();
    }
    let page = render(
        &report,
        &Options {
            title: name.into(),
            ..Options::default()
        },
    )
    .unwrap();
    assert!(
        !page.contains("<script")
            && !page.contains("<img")
            && !page.contains('\0')
            && !page.contains('\u{202e}')
    );
    check(&page, |document| {
        let titles: Vec<String> = document
            .descendants()
            .filter(|n| n.has_tag_name("h1"))
            .map(text)
            .collect();
        assert_eq!(titles, [name.replace(['\0', '\u{202e}'], "\u{fffd}")]);
    });
}

/// Numbers that nobody measures: the page stays a page.
#[test]
fn absurd_numbers_do_not_break_the_page() {
    let mut report = samples::report();
    for (i, stage) in report.models[0].stages.iter_mut().enumerate() {
        let value = [0.0, f64::MAX, f64::MIN_POSITIVE, -1.0][i % 4];
        stage.wall.median = value;
        stage.cpu = Some(stage.wall);
        stage.peak_bytes = Some(u64::MAX);
    }
    report.models[0].facts.k = u32::MAX;
    report.models[0].batches[0].proofs = 0;
    report.models[1]
        .stages
        .retain(|s| s.name != StageName::Verify);
    report.models[1].facts.multiply_adds = u64::MAX;
    check(&render(&report, &Options::default()).unwrap(), |_| ());
}

#[test]
fn meaningless_inputs_are_errors() {
    let mut options = Options::default();
    options.economics.demand = 2.0;
    assert!(matches!(
        render(&samples::report(), &options),
        Err(EconomicsError::NotAProbability { name: "demand", .. })
    ));
}

#[test]
fn economics_change_with_their_inputs() {
    let mut options = Options::default();
    options.economics.price_per_core_hour = 36.0;
    options.economics.stake = 0.0;
    options.economics.reward = 0.0;
    check(&render(&samples::report(), &options).unwrap(), |document| {
        let digits = text(section(document, "model-1").unwrap());
        // 0.58 s at a cent per second.
        assert!(
            digits.contains("$5,800") && digits.contains("$36.00 per core-hour"),
            "{digits}"
        );
        assert!(digits.contains("No rate of random checks"), "{digits}");
    });
}

#[test]
fn families_stand_in_a_plot_only_where_they_grow() {
    let mut report = samples::report();
    report.sweeps.retain(|s| s.family == Family::Mlp);
    check(&render(&report, &Options::default()).unwrap(), |document| {
        let growth = text(section(document, "growth").unwrap());
        assert!(
            growth.contains("By parameters") && !growth.contains("By activations"),
            "{growth}"
        );
    });
}
