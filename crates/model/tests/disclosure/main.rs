//! Two models of one architecture, with other weights and the same calibration samples, have cards that differ in nothing but
//! what is listed: `zkinfer::disclosure`, and section 7 of `docs/protocol.md`.

// The builder of graphs belongs to the tests of the whole.
extern crate zkinfer_model as zkinfer;

mod architectures;
#[allow(dead_code)]
#[path = "../../../../tests/models/quantize/builder.rs"]
mod builder;

use std::collections::BTreeSet;

use proptest::prelude::*;
use zkinfer_circuits::program::{Neurons, Node, Program, Term, Unit, ValueRef, Weights};
use zkinfer_model::disclosure::{Disclosed, calibrated_tables, is_softmax};
use zkinfer_model::graph::{Graph, Op};
use zkinfer_model::model::{QuantizedModel, TensorInterface};
use zkinfer_model::quantize::{QuantizeOptions, quantize};

use architectures::{ARCHITECTURES, Architecture, attention};
use builder::Numbers;

fn samples(graph: &Graph) -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(99);
    let sample = |_| {
        let lens = graph.input_lens();
        lens.iter().map(|&len| numbers.vec(len, 1.0)).collect()
    };
    (0..16).map(sample).collect()
}

fn neurons(program: &Program) -> impl Iterator<Item = &Neurons> {
    program.nodes.iter().filter_map(|n| match n {
        Node::Neurons(n) => Some(n),
        _ => None,
    })
}

/// What differs between two cards: kinds of what is listed, or the place of what is not.
type Differences = BTreeSet<Result<Disclosed, String>>;

fn compare(a: &QuantizedModel, b: &QuantizedModel) -> Differences {
    let mut found = Differences::new();
    for (a, b) in [(&a.inputs, &b.inputs), (&a.outputs, &b.outputs)] {
        compare_tensors(a, b, &mut found);
    }
    let (a, b) = (&a.program, &b.program);
    if a.range_bits != b.range_bits {
        // Everything depends on it.
        found.insert(Ok(Disclosed::Bits));
        return found;
    }
    compare_tables(a, b, &mut found);
    if a.nodes.len() != b.nodes.len() {
        let one = |p: &Program| {
            let mut units: Vec<&Unit> = neurons(p).map(|n| &n.unit).collect();
            units.retain(|u| !u.tables.is_empty());
            units.len()
        };
        // One table or two; one unit or two; some distributions left out.
        let masks = neurons(a).any(is_softmax);
        let kind = match one(a) == one(b) {
            _ if masks => Disclosed::Masks,
            true => Disclosed::Choices,
            false => Disclosed::Tables,
        };
        found.insert(Ok(kind));
        return found;
    }
    if a.outputs != b.outputs {
        found.insert(Err("outputs".into()));
    }
    for (i, pair) in a.nodes.iter().zip(&b.nodes).enumerate() {
        match (named(a, pair.0), named(b, pair.1)) {
            (Node::Neurons(mine), Node::Neurons(other)) => {
                let sums = targets(a, &mine) && targets(b, &other);
                let tables = found.contains(&Ok(Disclosed::Logits));
                if sums && tables {
                    // What probabilities sum to follows from the table.
                    continue;
                }
                compare_neurons(i, &mine, &other, &mut found);
            }
            (a, b) if a == b => {}
            (a, b) => {
                found.insert(Err(format!("node {i}: {a:?} is not {b:?}")));
            }
        }
    }
    found
}

/// A node whose references to tables' results do not depend on the ports before them: a clamp is one more.
fn named(program: &Program, node: &Node) -> Node {
    let name = |v: &mut ValueRef| {
        if let Some(Node::Neurons(n)) = program.nodes.get(v.node as usize) {
            let first = 1 + u32::from(n.unit.exposes_below());
            v.port += if v.port < first { 0 } else { 100 - first };
        }
    };
    let mut node = node.clone();
    match &mut node {
        Node::View { source, .. } | Node::Sum { source, .. } => name(source),
        Node::Concat { sources } => sources.iter_mut().for_each(name),
        Node::Neurons(n) => {
            for term in &mut n.terms {
                name(&mut term.patches);
                if let Weights::Value { value, .. } = &mut term.weights {
                    name(value);
                }
            }
        }
        _ => {}
    }
    node
}

/// Whether a node sums up probabilities and compares with what the exponentials' table makes of one.
fn targets(program: &Program, n: &Neurons) -> bool {
    let [sum, offset] = &n.terms[..] else {
        return false;
    };
    let (Weights::Public(signs), Weights::Public(offset)) = (&sum.weights, &offset.weights) else {
        return false;
    };
    let target = |t: u32| {
        let f = &program.tables[t as usize];
        i64::from(f[0]) - i64::from(f[0] - f[1]) / 2
    };
    let mut softmaxes = neurons(program).filter(|n| is_softmax(n));
    softmaxes.any(|s| {
        let target = target(s.unit.tables[0]);
        let expected = [(1, -target), (-1, target - 1)];
        expected
            .iter()
            .any(|(sign, o)| signs.iter().all(|w| w == sign) && offset[..] == [*o])
    })
}

fn compare_tensors(a: &[TensorInterface], b: &[TensorInterface], found: &mut Differences) {
    let names = |t: &[TensorInterface]| -> Vec<_> {
        t.iter()
            .map(|t| (t.name.clone(), t.shape.clone(), t.scale.len()))
            .collect()
    };
    if names(a) != names(b) {
        found.insert(Err("names, shapes or numbers of scales".into()));
    }
    if a != b {
        found.insert(Ok(Disclosed::Scales));
    }
}

fn compare_tables(a: &Program, b: &Program, found: &mut Differences) {
    let (mine, others) = (calibrated_tables(a), calibrated_tables(b));
    if a.tables.len() != b.tables.len() || mine != others {
        found.insert(Ok(Disclosed::Tables));
        return;
    }
    for t in 0..a.tables.len() {
        if a.tables[t] == b.tables[t] {
            continue;
        }
        let logits = neurons(a).any(|n| is_softmax(n) && n.unit.tables.contains(&(t as u32)));
        found.insert(match (logits, mine.contains(&(t as u32))) {
            (true, _) => Ok(Disclosed::Logits),
            (_, true) => Ok(Disclosed::Tables),
            _ => Err(format!("table {t}")),
        });
    }
}

fn compare_neurons(node: usize, a: &Neurons, b: &Neurons, found: &mut Differences) {
    let shape = |n: &Neurons| (n.groups, n.outputs, n.positions, n.unit.window);
    let clamps = |n: &Neurons| (n.unit.low, n.unit.high, n.unit.tables.clone());
    if shape(a) != shape(b) || a.terms.len() != b.terms.len() {
        found.insert(Err(format!("node {node}: another shape")));
        return;
    }
    if clamps(a) != clamps(b) {
        let tables = !a.unit.tables.is_empty() && !b.unit.tables.is_empty();
        // A clip of one unit may need its upper bound or not.
        let clip = a.unit.low && b.unit.low && a.unit.tables == b.unit.tables;
        found.insert(match (tables, clip) {
            (true, _) => Ok(Disclosed::Tables),
            (false, true) => Ok(Disclosed::Choices),
            _ => Err(format!("node {node}: another unit")),
        });
    }
    for (t, (a, b)) in a.terms.iter().zip(&b.terms).enumerate() {
        let product = |t: &Term| match t.weights {
            Weights::Value { value, .. } => Some((t.patches, t.inputs, value)),
            _ => None,
        };
        if a != b && product(a).is_some() && product(a) == product(b) {
            found.insert(Ok(Disclosed::Products));
        } else if a != b {
            let weights = |w: &Weights| match w {
                Weights::Public(w) => format!("{:?}", w.first()),
                w => format!("{w:?}"),
            };
            let (a, b) = (weights(&a.weights), weights(&b.weights));
            found.insert(Err(format!("node {node}, term {t}: {a} is not {b}")));
        }
    }
}

fn differences(architecture: &Architecture, seeds: [u64; 2], bits: Option<u32>) -> Differences {
    let graphs = seeds.map(architecture.graph);
    let samples = samples(&graphs[0]);
    let mut options = QuantizeOptions::default();
    options.range_bits = bits;
    let [a, b] = graphs.map(|g| quantize(&g, &samples, &options).unwrap());
    let found = compare(&a, &b);
    for model in [&a, &b] {
        let listed: BTreeSet<_> = model.disclosures().into_iter().map(|d| d.kind).collect();
        assert!(!listed.contains(&Disclosed::Factors));
        for kind in found.iter().flatten() {
            let said = listed.contains(kind);
            assert!(said, "{}: {kind:?} is not told", architecture.name);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cards_differ_in_what_is_listed(first in any::<u64>(), second in any::<u64>()) {
        for architecture in ARCHITECTURES {
            for found in differences(architecture, [first, second], Some(12)) {
                match found {
                    Ok(Disclosed::Scales) => {}
                    Ok(kind) => prop_assert!(
                        architecture.allowed.contains(&kind),
                        "{}: {kind:?}", architecture.name
                    ),
                    Err(place) => {
                        let text = format!("{}: {place}", architecture.name);
                        return Err(TestCaseError::fail(text));
                    }
                }
            }
        }
    }
}

#[test]
fn every_listed_kind_occurs() {
    let mut seen = BTreeSet::new();
    for architecture in ARCHITECTURES {
        for seed in 0..12 {
            for bits in [Some(12), None] {
                seen.extend(differences(architecture, [seed, seed + 1], bits));
            }
        }
    }
    let seen: Vec<Disclosed> = seen.into_iter().map(|d| d.unwrap()).collect();
    // Factors are what cards had before.
    let expected = Disclosed::ALL.into_iter();
    let expected: Vec<Disclosed> = expected.filter(|d| *d != Disclosed::Factors).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_hidden_bias_changes_powers_of_four_alone() {
    let mut graph = attention(5);
    // Logits as small as those of a trained model: beyond a range of 24 the step of their tables is told.
    for node in &mut graph.nodes[1..3] {
        let Op::Linear(l) = &mut node.op else {
            panic!()
        };
        l.weights
            .iter_mut()
            .chain(&mut l.bias)
            .for_each(|w| *w *= 0.25);
    }
    let mut other = graph.clone();
    let Op::Linear(l) = &mut other.nodes[1].op else {
        panic!()
    };
    l.bias[0] += 3.0;
    let (samples, options) = (
        samples(&graph),
        QuantizeOptions::default().with_range_bits(12),
    );
    let [a, b] = [graph, other].map(|g| quantize(&g, &samples, &options).unwrap());
    assert_ne!(a.weights, b.weights);
    // Neither zero points nor anything else that is fine enough to tell the bias.
    let found = compare(&a, &b);
    let coarse = [Ok(Disclosed::Scales), Ok(Disclosed::Products)];
    assert!(found.iter().all(|d| coarse.contains(d)), "{found:?}");
}

#[test]
fn the_documentation_lists_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("## 7. What is revealed").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|l| l.starts_with("| `"));
    let expected = Disclosed::ALL.map(|d| format!("| `{}` | {} |", d.code(), d.meaning()));
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

/// Whoever looks at a card has only decoded it: any number of bits may stand there.
#[test]
fn any_number_of_bits_is_described() {
    for range_bits in [0, 1, 15, 31, 33, 40, 63, 64, 65, u32::MAX] {
        let program = Program {
            range_bits,
            tables: vec![vec![0, 1]],
            nodes: vec![Node::Input { len: 1 }],
            outputs: vec![0],
        };
        let told = zkinfer_model::disclosure::disclosures(&program);
        assert_eq!(told[0].place, format!("{range_bits} bits"));
    }
}
