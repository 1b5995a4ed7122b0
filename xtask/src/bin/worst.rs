//! The most expensive cards and proofs that the default limits accept, found by search: for each way to be expensive, its
//! parameters are multiplied one at a time, for as long as that costs more and is not refused.
//!
//! ```text
//! cargo xtask worst -- [names of ways]
//! ```
//!
//! Of each way the card that takes longest to load and the one whose proofs take longest to refuse: with an honest support
//! proof, on one thread, once. The table in `docs/verifier.md` is what it prints.

#[path = "../empty.rs"]
mod empty;

use std::time::{Duration, Instant};
use zkinfer_circuits::card::Card;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::verify::{Expected, Limits, Plan, Verifier};
use zkinfer_verifier::generators;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bits of an activation.
const BITS: u32 = 8;
/// Points for which making a card does not take minutes.
const POINTS: usize = 1 << 16;

/// A way to be expensive.
struct Way {
    name: &'static str,
    /// What its parameters are, and where the search begins. The last is `k`.
    parameters: &'static [(&'static str, u32)],
    program: fn(&[u32]) -> Program,
}

const WAYS: &[Way] = &[
    Way {
        name: "positions",
        parameters: &[("positions", 64), ("inputs", 64), ("k", 10)],
        program: |p| dense(p[0], p[1], 1, view(&[p[0], p[1]], p[1], 0, &[0, 1]), p[1]),
    },
    Way {
        name: "sums",
        parameters: &[("groups", 4), ("inputs", 64), ("k", 10)],
        program: |p| dense(1, p[1], p[0], view(&[p[0] * p[1]], 1, 0, &[0]), 1),
    },
    Way {
        name: "additions",
        parameters: &[("groups", 2), ("positions", 16), ("inputs", 64), ("k", 10)],
        program: |p| {
            let offset = -i64::from(p[1] / 2);
            let view = view(&[p[0], p[1], p[2]], p[2], offset, &[0, 1, 1]);
            dense(p[1], p[2], p[0], view, p[2])
        },
    },
    Way {
        name: "outputs",
        parameters: &[("outputs", 64), ("inputs", 16), ("k", 8)],
        program: |p| {
            let mut program = dense(1, p[1], 1, view(&[p[1]], p[1], 0, &[1]), p[1]);
            if let Some(Node::Neurons(n)) = program.nodes.last_mut() {
                n.outputs = p[0];
            }
            program
        },
    },
    Way {
        name: "weights",
        parameters: &[
            ("outputs", 1000),
            ("positions", 1),
            ("inputs", 1000),
            ("k", 11),
        ],
        program: public,
    },
    Way {
        name: "layers",
        parameters: &[("layers", 8), ("width", 8), ("k", 8)],
        program: layers,
    },
    Way {
        name: "tables",
        parameters: &[("tables", 2), ("k", 10)],
        program: tables,
    },
    Way {
        name: "rows",
        parameters: &[("width", 64), ("k", 10)],
        program: |p| dense(p[0], 1, 1, view(&[p[0]], p[0], 0, &[1]), p[0]),
    },
    Way {
        name: "gathers",
        parameters: &[
            ("matrices", 1),
            ("rows", 16),
            ("width", 4),
            ("positions", 4),
            ("k", 8),
        ],
        program: gathers,
    },
];

fn view(loops: &[u32], extent: u32, offset: i64, strides: &[i64]) -> View {
    View {
        loops: loops.to_vec(),
        axes: vec![Axis {
            extent,
            offset,
            strides: strides.to_vec(),
        }],
    }
}

fn committed(patches: ValueRef, inputs: u32) -> Term {
    Term {
        patches,
        inputs,
        weights: Weights::Committed,
    }
}

fn neurons(groups: u32, positions: u32, unit: Unit, terms: Vec<Term>) -> Node {
    Node::Neurons(Neurons {
        groups,
        outputs: 1,
        positions,
        unit,
        terms,
    })
}

/// A map with committed weights of an input, as a view reads it.
fn dense(positions: u32, inputs: u32, groups: u32, view: View, len: u32) -> Program {
    let source = ValueRef::new(0);
    let terms = vec![committed(ValueRef::new(1), inputs)];
    Program {
        range_bits: BITS,
        tables: Vec::new(),
        nodes: vec![
            Node::Input { len },
            Node::View { source, view },
            neurons(groups, positions, Unit::LINEAR, terms),
        ],
        outputs: vec![2],
    }
}

/// A map with public weights of an input, no two alike.
fn public(p: &[u32]) -> Program {
    let (outputs, positions, inputs) = (p[0], p[1], p[2]);
    let count = u64::from(outputs) * u64::from(inputs);
    // More would not be accepted, and take all memory.
    let weights =
        (0..count.min(1 << 25)).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as i64);
    let term = Term {
        patches: ValueRef::new(0),
        inputs,
        weights: Weights::Public(weights.collect()),
    };
    let mut map = neurons(1, positions, Unit::LINEAR, vec![term]);
    if let Node::Neurons(n) = &mut map {
        n.outputs = outputs;
    }
    Program {
        range_bits: BITS,
        tables: Vec::new(),
        nodes: vec![
            Node::Input {
                len: positions.saturating_mul(inputs),
            },
            map,
        ],
        outputs: vec![1],
    }
}

/// Layer after layer, each of as many neurons as the one before.
fn layers(p: &[u32]) -> Program {
    let mut nodes = vec![Node::Input { len: p[1] }];
    for layer in 0..p[0] as usize {
        nodes.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: p[1],
            positions: 1,
            unit: if layer % 2 == 0 {
                Unit::RELU
            } else {
                Unit::LINEAR
            },
            terms: vec![committed(ValueRef::new(layer), p[1])],
        }));
    }
    Program {
        range_bits: BITS,
        tables: Vec::new(),
        outputs: vec![nodes.len() as u32 - 1],
        nodes,
    }
}

/// Every neuron with a table of its own, of as many bits as there are.
fn tables(p: &[u32]) -> Program {
    let bits = 14;
    let table = |t: u32| (0..1u32 << bits).map(|x| (x ^ t) as u16).collect();
    let mut nodes = vec![Node::Input { len: 1 }];
    for t in 0..p[0] {
        let unit = Unit {
            low: true,
            high: true,
            tables: vec![t],
            ..Unit::LINEAR
        };
        nodes.push(neurons(1, 1, unit, vec![committed(ValueRef::new(0), 1)]));
    }
    nodes.push(neurons(
        1,
        1,
        Unit::LINEAR,
        vec![committed(ValueRef::new(1), 1)],
    ));
    Program {
        range_bits: bits,
        tables: (0..p[0]).map(table).collect(),
        outputs: vec![nodes.len() as u32 - 1],
        nodes,
    }
}

/// Matrices of which every position reads a row by its number, all by the input.
fn gathers(p: &[u32]) -> Program {
    let (matrices, rows, width, positions) = (p[0], p[1], p[2], p[3]);
    let mut nodes = vec![Node::Input { len: positions }];
    for matrix in 0..matrices {
        let number = Term {
            patches: ValueRef::new(0),
            inputs: 1,
            weights: Weights::Public(vec![1]),
        };
        let row = Term {
            patches: ValueRef::new(1 + 2 * matrix as usize),
            inputs: rows,
            weights: Weights::Gathered,
        };
        nodes.push(neurons(1, positions, Unit::LINEAR, vec![number]));
        nodes.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: width,
            positions,
            unit: Unit::LINEAR,
            terms: vec![row],
        }));
    }
    Program {
        range_bits: BITS,
        tables: Vec::new(),
        outputs: vec![nodes.len() as u32 - 1],
        nodes,
    }
}

/// What a card and its proofs cost.
#[derive(Clone)]
struct Cost {
    parameters: Vec<u32>,
    bytes: usize,
    columns: usize,
    load: Duration,
    proof: Duration,
    memory: usize,
}

/// `None` if the limits do not let it.
fn cost(way: &Way, parameters: &[u32]) -> Result<Option<Cost>, Failure> {
    let limits = Limits::default();
    let k = parameters[parameters.len() - 1];
    if limits.allow_k(k).is_err() {
        return Ok(None);
    }
    let program = (way.program)(parameters);
    match Plan::new(program.clone(), k, &limits) {
        Ok(plan) if plan.points() <= POINTS => {}
        _ => return Ok(None),
    }
    let bytes = empty::card(program, k, Vec::new())?.to_bytes();
    let generators = generators::load(k)?;
    let start = Instant::now();
    let card = Card::from_bytes_within(&bytes, &limits).map_err(|e| e.to_string())?;
    let verifier = Verifier::new(card, generators, &limits)?;
    let load = start.elapsed();
    let proof = empty::proof(&verifier, 1, &[]);
    let expected = Expected::default();
    let refuse = || {
        let start = Instant::now();
        let refused = verifier.verify(&expected, &proof).is_err();
        (start.elapsed(), refused)
    };
    // The first one prepares what stays.
    let ((first, refused), (second, _)) = (refuse(), refuse());
    assert!(refused);
    Ok(Some(Cost {
        parameters: parameters.to_vec(),
        bytes: bytes.len(),
        columns: verifier.columns(),
        load,
        proof: first.min(second),
        memory: verifier.reading_memory(),
    }))
}

/// How much more something has to take to count as more: clocks differ by as much.
const MORE: f64 = 1.03;

/// What parameters are multiplied by: much, because what does not matter yet may matter then.
const FACTORS: [u32; 5] = [4096, 256, 16, 4, 2];

/// Multiplies parameters, one at a time, with the least `k` from the present one on that has room, or
/// changes `k`, as long as `what` grows.
fn search(way: &Way, what: fn(&Cost) -> Duration) -> Result<Option<Cost>, Failure> {
    let mut parameters: Vec<u32> = way.parameters.iter().map(|(_, from)| *from).collect();
    let last = parameters.len() - 1;
    let most = Limits::default().k;
    let mut best = cost(way, &parameters)?;
    loop {
        let mut found: Option<Cost> = None;
        let k = parameters[last];
        let ks = [k - 1, k + 1, most].map(|k| vec![(last, k)]);
        let larger = |at: usize, by: u32| vec![(at, parameters[at].saturating_mul(by))];
        let larger = (0..last).flat_map(|at| FACTORS.map(|by| larger(at, by)));
        for change in larger.chain(ks).collect::<Vec<_>>() {
            let mut next = parameters.clone();
            change.iter().for_each(|&(at, value)| next[at] = value);
            let mut tried = cost(way, &next)?;
            while tried.is_none() && change[0].0 != last && next[last] < most {
                next[last] += 1;
                tried = cost(way, &next)?;
            }
            let time = |cost: &Option<Cost>| cost.as_ref().map_or(0.0, |c| what(c).as_secs_f64());
            if time(&tried) > MORE * time(&best).max(time(&found)) {
                found = tried;
            }
        }
        let Some(found) = found else {
            return Ok(best);
        };
        parameters.clone_from(&found.parameters);
        best = Some(found);
    }
}

fn main() -> Result<(), Failure> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!("| way | found | card | columns | load | refuse a proof | memory for that |");
    println!("|---|---|---|---|---|---|---|");
    for way in WAYS {
        if !names.is_empty() && !names.iter().any(|name| name == way.name) {
            continue;
        }
        let kinds: [(&str, fn(&Cost) -> Duration); 2] =
            [("load", |c| c.load), ("proof", |c| c.proof)];
        for (kind, what) in kinds {
            let Some(found) = pool.install(|| search(way, what))? else {
                println!("| {} | nothing is accepted | | | | | |", way.name);
                continue;
            };
            let parameters = way.parameters.iter().zip(&found.parameters);
            let parameters: Vec<String> = parameters
                .map(|((name, _), v)| format!("{name} {v}"))
                .collect();
            println!(
                "| {}, {kind} | {} | {:.1} kB | {} | {:.0} ms | {:.1} ms | {:.1} MB |",
                way.name,
                parameters.join(", "),
                found.bytes as f64 / 1e3,
                found.columns,
                found.load.as_secs_f64() * 1e3,
                found.proof.as_secs_f64() * 1e3,
                found.memory as f64 / 1e6,
            );
        }
    }
    Ok(())
}
