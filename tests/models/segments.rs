//! Models that are cut into segments: the same integers wherever they are cut, one proof, and what a cheat cannot do with it.

use std::path::Path;

use zkinfer::plan::{Candidate, PlanOptions, SegmentsChoice, choose_segments};
use zkinfer::{
    CardError, CommitOptions, Expected, Graph, Limits, Proof, QuantizeOptions, Rejection, Samples,
    Secret, Side, SideVisibility, Verifier, Visibility, public_input, verifier,
};
use zkinfer::{CommitError, QuantizedModel, segments};
use zkinfer_circuits::hints;
use zkinfer_circuits::program::{Node, ProgramLimits, ValueRef};

/// Runs the segments one after the other.
fn run(parts: &[QuantizedModel], inputs: Vec<Vec<u32>>) -> Result<Vec<u32>, String> {
    let mut flow = inputs;
    for (index, part) in parts.iter().enumerate() {
        let limits = ProgramLimits::default();
        let say = |e: &dyn std::fmt::Display| format!("segment {index}: {e}");
        let expanded = part.program.expand(&limits).map_err(|e| say(&e))?;
        hints::check(&part.program, &expanded, limits.elements).map_err(|e| say(&e))?;
        let trace = part.run(&expanded, &flow).map_err(|e| say(&e))?;
        let outputs = part.program.outputs.iter();
        let outputs =
            outputs.map(|&o| trace.value(&part.program, &expanded, ValueRef::new(o as usize)));
        let outputs: Option<Vec<Vec<i64>>> = outputs.collect();
        let outputs = outputs.ok_or("no output")?;
        flow = outputs
            .into_iter()
            .map(|values| values.into_iter().map(|v| v as u32).collect())
            .collect();
    }
    Ok(flow.concat())
}

/// Models of many operators, with samples.
fn models() -> Vec<(String, QuantizedModel, Vec<Vec<f32>>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut models = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let stored: serde_json::Value =
            serde_json::from_str(&text(path.file_name().unwrap().to_str().unwrap())).unwrap();
        for (name, samples) in stored.as_object().unwrap() {
            let bytes = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
            let Ok(graph) = Graph::from_onnx(&bytes) else {
                continue;
            };
            let inputs = samples
                .as_array()
                .unwrap()
                .iter()
                .map(|s| serde_json::from_value::<Vec<Vec<f32>>>(s["inputs"].clone()).unwrap());
            let inputs: Vec<Vec<Vec<f32>>> = inputs.collect();
            let calibration: Vec<_> = inputs.iter().cycle().take(50).cloned().collect();
            if let Ok(model) = graph.quantize(&calibration, &QuantizeOptions::default()) {
                models.push((name.clone(), model, inputs[0].clone()));
            }
        }
    }
    // A table whose rows are looked up by their numbers.
    let samples = crate::gathers::words(4, 600, 50);
    let graph = crate::gathers::embedding(4, 600);
    let model = graph.quantize(&samples, &QuantizeOptions::default());
    models.push(("embedding".into(), model.unwrap(), samples[0].clone()));
    let recurrent = crate::recurrent::cases();
    models.extend(recurrent.into_iter().filter_map(|case| {
        let model = case
            .graph
            .quantize(&case.inputs, &QuantizeOptions::default());
        Some((case.name, model.ok()?, case.inputs[0].clone()))
    }));
    models
}

#[test]
fn every_cut_computes_what_the_whole_model_does() {
    let (mut cut, mut hints, mut families, mut keys) = (0, 0, 0, 0);
    for (name, model, sample) in models() {
        let integers = model.quantize_inputs(&sample, true).unwrap();
        let whole = run(std::slice::from_ref(&model), integers.clone());
        let Ok(whole) = whole else { continue };
        let cuts = segments::Cuts::of(&model);
        let places: Vec<Vec<usize>> = (2..=cuts.most().min(5))
            .filter_map(|n| cuts.balanced(n))
            .chain(cuts.places().iter().map(|&p| vec![p]))
            .collect();
        // Some of many: the first ones cut evenly.
        for places in places.iter().take(24) {
            for lane in [13, 1000] {
                let parts = segments::parts(&model, places, lane);
                let parts = segments::split(model.clone(), parts);
                assert_eq!(parts.len(), places.len() + 1);
                let found = run(&parts, integers.clone());
                assert_eq!(found.as_ref(), Ok(&whole), "{name} cut at {places:?}");
            }
            cut += 1;
        }
        let nodes = &model.program.nodes;
        let shares = |n: &Node| matches!(n, Node::Neurons(n) if n.leader().is_some());
        if cuts.most() > 1 {
            hints += usize::from(!model.hints.is_empty());
            families += usize::from(nodes.iter().any(shares));
            keys += usize::from(model.program.gathers().next().is_some());
        }
    }
    assert!(cut > 200, "{cut}");
    assert!(
        hints > 3 && families > 3 && keys > 0,
        "{hints}, {families}, {keys}"
    );
}

#[test]
fn cuts_balance_and_refuse_what_there_is_not() {
    let (model, _) = digits();
    let cuts = segments::Cuts::of(&model);
    assert_eq!(cuts.balanced(1), Some(vec![]));
    assert_eq!(cuts.balanced(0), None);
    assert_eq!(cuts.balanced(cuts.most() + 1), None);
    let all = cuts.balanced(cuts.most()).unwrap();
    assert_eq!(all, cuts.places());
    let error = Secret::commit_with(
        model,
        &CommitOptions::default().with_segments(1000),
        &mut zkinfer::rng(),
    );
    let text = error.unwrap_err().to_string();
    let most = cuts.most().min(64);
    let wanted = format!("the model cannot be cut into 1000 segments: 1 to {most} are possible");
    assert_eq!(text, wanted);
}

fn digits() -> (QuantizedModel, Vec<Vec<Vec<f32>>>) {
    let graph = Graph::from_onnx(include_bytes!("../../examples/data/digits.onnx")).unwrap();
    let samples = include_bytes!("../../examples/data/digits.npz");
    let samples = Samples::from_npz(samples, &graph.input_lens())
        .unwrap()
        .inputs;
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    (model, samples)
}

fn cut(model: QuantizedModel, segments: usize) -> Secret {
    let options = CommitOptions::default().with_segments(segments);
    Secret::commit_with(model, &options.with_name("cut"), &mut zkinfer::rng()).unwrap()
}

fn context() -> Expected {
    Expected {
        context: b"cut".to_vec(),
        ..Expected::default()
    }
}

fn prove(secret: &Secret, sample: &[Vec<f32>]) -> Proof {
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let run = secret.infer(sample).unwrap();
    let proven = secret.prove(&run, &visibility, b"cut", &mut zkinfer::rng());
    proven.unwrap().proof
}

fn judge(secret: &Secret) -> Verifier {
    verifier(secret.card().clone(), &Limits::default()).unwrap()
}

#[test]
fn segments_are_proven_together() {
    for (name, model, sample) in models() {
        // An LSTM, attention with hints, a table that is looked up, plain layers with several outputs.
        let wanted = [
            "lstm",
            "attention_heads",
            "contrib_embed",
            "multi_output",
            "gru",
        ];
        if !wanted.iter().any(|w| name.starts_with(w)) || segments::Cuts::of(&model).most() < 2 {
            continue;
        }
        let whole = Secret::commit(model.clone(), &mut zkinfer::rng()).unwrap();
        let secret = cut(model, 2);
        let run = secret.infer(&sample).unwrap();
        assert_eq!(
            run.output(),
            whole.infer(&sample).unwrap().output(),
            "{name}"
        );
        let kept = Secret::from_bytes(&secret.to_bytes().unwrap(), 1 << 28).unwrap();
        let proof = prove(&kept, &sample).to_bytes();
        let verifier = judge(&secret);
        let proof = Proof::from_bytes(&proof, proof.len()).unwrap();
        let input = public_input(verifier.card(), &sample).unwrap();
        let expected = Expected {
            input: Some(input),
            ..context()
        };
        let verdict = verifier.verify(&expected, &proof).unwrap();
        assert_eq!(
            verdict.output,
            Side::Public(run.output().to_vec()),
            "{name}"
        );
        let wrong = Expected {
            output: Some(Side::Public(run.output().iter().map(|v| v ^ 1).collect())),
            ..context()
        };
        let found = verifier.verify(&wrong, &proof);
        assert_eq!(
            found,
            Err(Rejection::Statement { which: "output" }),
            "{name}"
        );
    }
}

#[test]
fn several_runs_and_hidden_sides() {
    let (model, samples) = digits();
    let secret = cut(model, 3);
    assert_eq!(secret.segments().len(), 3);
    let verifier = judge(&secret);
    let runs: Vec<_> = samples[..2]
        .iter()
        .map(|s| secret.infer(s).unwrap())
        .collect();
    let hidden = Visibility {
        input: SideVisibility::Committed,
        output: SideVisibility::Committed,
        attach_input: false,
    };
    for visibility in [
        Visibility {
            attach_input: true,
            ..Visibility::default()
        },
        hidden,
    ] {
        let proven = secret.prove_runs(&runs, &visibility, b"cut", &mut zkinfer::rng());
        let proof = proven.unwrap().proof;
        let verdicts = verifier
            .verify_runs(&[context(), context()], &proof)
            .unwrap();
        assert_eq!(verdicts.len(), 2);
        // Boundaries are blinded anew: equal runs do not show that they are.
        let again = secret.prove_runs(&runs, &visibility, b"cut", &mut zkinfer::rng());
        let again = again.unwrap().proof;
        for (one, other) in proof.segments.iter().zip(&again.segments) {
            assert!(
                one.boundary
                    .iter()
                    .zip(&other.boundary)
                    .all(|(a, b)| a != b)
            );
        }
        assert_eq!(proof.segments[0].boundary.len(), 2);
        assert!(proof.segments[2].boundary.is_empty());
    }
}

/// Segments left out, repeated, exchanged, of another run, of another model; boundaries of another run, or in another order.
#[test]
fn parts_of_other_proofs_are_refused() {
    let (model, samples) = digits();
    let (secret, other) = (cut(model.clone(), 3), cut(model, 3));
    let verifier = judge(&secret);
    let honest = prove(&secret, &samples[0]);
    verifier.verify(&context(), &honest).unwrap();
    let another_run = prove(&secret, &samples[1]);
    let another_model = prove(&other, &samples[0]);
    let same_run = prove(&secret, &samples[0]);
    let refused = |what: &str, change: &dyn Fn(&mut Proof)| {
        let mut proof = honest.clone();
        change(&mut proof);
        let found = verifier.verify(&context(), &proof);
        assert!(found.is_err(), "{what}");
        let bytes = proof.to_bytes();
        assert!(
            verifier.verify_bytes(&[context()], &bytes).is_err(),
            "{what}, from bytes"
        );
        found.unwrap_err()
    };
    let parts = Rejection::Malformed {
        what: "a proof of this card has another number of parts",
    };
    assert_eq!(
        refused("the last one left out", &|p| drop(p.segments.pop())),
        parts
    );
    assert_eq!(
        refused("the first one left out", &|p| drop(p.segments.remove(0))),
        parts
    );
    assert_eq!(refused("none", &|p| p.segments.clear()), parts);
    let repeat = |p: &mut Proof| {
        let first = p.segments[0].clone();
        p.segments.insert(0, first);
    };
    assert_eq!(refused("one repeated", &repeat), parts);
    refused("exchanged", &|p| p.segments.swap(0, 1));
    refused("one in the place of the next", &|p| {
        p.segments[1] = p.segments[0].clone()
    });
    for index in 0..3 {
        for (what, from) in [
            ("another run", &another_run),
            ("another model", &another_model),
            ("the same run, proven again", &same_run),
        ] {
            let what = format!("segment {index} of {what}");
            let found = refused(&what, &|p| p.segments[index] = from.segments[index].clone());
            assert_eq!(found, Rejection::Link, "{what}");
        }
    }
    let boundary =
        |p: &mut Proof| p.segments[0].boundary = another_run.segments[0].boundary.clone();
    assert_eq!(
        refused("a boundary of another run", &boundary),
        Rejection::Link
    );
    let length = Rejection::Malformed {
        what: "a boundary of this card has another length",
    };
    let fewer = |p: &mut Proof| p.segments[1].boundary[0].truncate(0);
    assert_eq!(refused("a lane less", &fewer), length);
    let more = |p: &mut Proof| {
        let lane = p.segments[1].boundary[0][0];
        p.segments[1].boundary[0].push(lane);
    };
    assert_eq!(refused("a lane more", &more), length);
    let second = |p: &mut Proof| {
        let run = p.segments[0].boundary[0].clone();
        p.segments[0].boundary.push(run);
    };
    assert!(
        verifier
            .verify(&context(), &{
                let mut p = honest.clone();
                second(&mut p);
                p
            })
            .is_err()
    );
}

/// What is wrong with one segment is found among the others, which are checked in one sum.
#[test]
fn a_wrong_segment_of_a_card_is_named() {
    let (model, _) = digits();
    let secret = cut(model, 3);
    for index in 0..3 {
        let refused = |change: &dyn Fn(&mut zkinfer_circuits::card::Segment)| {
            let mut card = secret.card().clone();
            change(&mut card.segments[index]);
            verifier(card, &Limits::default()).unwrap_err().to_string()
        };
        let support = "its support proof is invalid";
        let mask = refused(&|s| s.support.mask.swap(0, 1));
        assert!(mask.contains(support), "{index}: {mask}");
        let short = refused(&|s| s.support.rounds.truncate(1));
        assert!(short.contains(support), "{index}: {short}");
        let tables = refused(&|s| s.fixed.swap(3, 4));
        assert!(tables.contains("tables and selectors"), "{index}: {tables}");
    }
}

/// A card whose segments are those of two models: the second one reads its input elsewhere than the first one puts it out.
#[test]
fn segments_that_do_not_fit_are_refused() {
    let (model, _) = digits();
    let one = cut(model, 2);
    let mut card = one.card().clone();
    card.segments.swap(0, 1);
    assert!(verifier(card, &Limits::default()).is_err());
    let mut card = one.card().clone();
    card.segments.clear();
    assert!(verifier(card, &Limits::default()).is_err());
    // The scores are not the image.
    let mut card = one.card().clone();
    card.segments.push(card.segments[0].clone());
    let error = verifier(card, &Limits::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            zkinfer::LoadError::Card(CardError::Boundary { index: 2, .. })
        ),
        "{text}"
    );
    // Neither is a card of more segments than the limits.
    let mut limits = Limits::default();
    limits.segments = 1;
    let refused = |limits: &Limits| {
        verifier(one.card().clone(), limits)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&limits).contains("segments = 2, the limit is 1"));
}

/// A bound on the memory is kept, by another k or by more segments, or it is said what the least would be.
#[test]
fn memory_is_bounded() {
    let (mut kept, mut refused) = (0, 0);
    for (name, model, _) in models() {
        let options = PlanOptions::default();
        let Ok(whole) = choose_segments(model.clone(), 0, &options) else {
            continue;
        };
        assert_eq!(whole.segments.len(), 1, "{name}");
        let memory = |choice: &SegmentsChoice| {
            let plans = choice.segments.iter().map(|(_, plan)| plan);
            Candidate::of_all(plans).memory
        };
        let most = memory(&whole);
        let mut bounded = options;
        for limit in [most, most - 1, most / 2] {
            bounded.memory = Some(limit);
            match choose_segments(model.clone(), 0, &bounded) {
                Ok(choice) => {
                    assert!(memory(&choice) <= limit, "{name}");
                    kept += usize::from(limit < most);
                }
                Err(CommitError::Memory { least, limit: said }) => {
                    assert!(least > limit && said == limit && limit < most, "{name}");
                    refused += 1;
                }
                Err(other) => panic!("{name}: {other}"),
            }
        }
        bounded.memory = Some(1);
        let two = choose_segments(model, 1, &bounded);
        let least = match two {
            Err(CommitError::Memory { least, .. }) => least,
            other => panic!("{name}: {:?}", other.map(|choice| choice.k())),
        };
        assert!(least <= most, "{name}");
    }
    assert!(kept > 50 && refused > 50, "{kept}, {refused}");
}
