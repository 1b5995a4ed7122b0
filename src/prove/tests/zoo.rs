//! Test helpers: a small network with every kind of unit and wiring, and a check of all gates over a filled table.

use super::engine::{Engine, generators};
use super::fold::{Folder, commit_fixed};
use crate::secret::{Secret, WeightVisibility};
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::{Arc, Mutex};
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::expr::Query;
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::statement::segment_digest;
use zkinfer_circuits::support::{self, Slip, Witness};
use zkinfer_circuits::verify::{
    BatchOptions, Candidate, Expected, Limits, Plan, Reference, Verdict, Verifier, verify_many,
};
use zkinfer_circuits::{C, F};
use zkinfer_model::model::{QuantizedModel, WeightTensor};

fn value(node: usize, port: u32) -> ValueRef {
    ValueRef {
        node: node as u32,
        port,
    }
}

/// A small network with every kind of unit and wiring: convolution with padding and a fused maximum, a leaky unit, a
/// table, a sum, a dense layer that reads two ports, a clamp, a public copy with a maximum of three, a dense output.
pub(crate) fn zoo(bits: u32) -> QuantizedModel {
    let top = (1u16 << bits) - 1;
    let table: Vec<u16> = (0..=top).map(|x| top - x / 2).collect();
    let one = Node::Constant { len: 1 };
    let view = |source, loops: &[u32], axes: Vec<Axis>| Node::View {
        source,
        view: View {
            loops: loops.to_vec(),
            axes,
        },
    };
    let axis = |extent, offset, strides: &[i64]| Axis {
        extent,
        offset,
        strides: strides.to_vec(),
    };
    let neurons = |groups, outputs, positions, unit, terms| {
        Node::Neurons(Neurons {
            groups,
            outputs,
            positions,
            unit,
            terms,
        })
    };
    let committed = |patches, inputs| Term {
        patches,
        inputs,
        weights: Weights::Committed,
    };
    let repeat = |n: u32| view(value(1, 0), &[n], vec![axis(1, 0, &[0])]);
    let nodes = vec![
        Node::Input { len: 16 }, // 0: 4×4 image
        one,                     // 1
        // 2: patches of a 3×3 convolution with padding 1 at 4 windows of 2×2 candidates: [wy,wx,ky,kx,uy,ux]
        view(
            value(0, 0),
            &[2, 2, 2, 2, 3, 3],
            vec![
                axis(4, -1, &[2, 0, 1, 0, 1, 0]),
                axis(4, -1, &[0, 2, 0, 1, 0, 1]),
            ],
        ),
        repeat(16), // 3: bias of 4 positions × 4 candidates
        // 4: two channels, maximum of 2×2 and zero
        neurons(
            1,
            2,
            4,
            Unit {
                window: 4,
                low: true,
                high: false,
                tables: vec![],
                deep: false,
            },
            vec![committed(value(2, 0), 9), committed(value(3, 0), 1)],
        ),
        repeat(1), // 5
        // 6: dense, leaky
        neurons(
            1,
            3,
            1,
            Unit::RELU,
            vec![committed(value(4, 0), 8), committed(value(5, 0), 1)],
        ),
        Node::Concat {
            sources: vec![value(6, 0), value(6, 1)],
        }, // 7
        // 8: dense with a table behind a double clamp
        neurons(
            1,
            4,
            1,
            Unit {
                window: 1,
                low: true,
                high: true,
                tables: vec![0],
                deep: false,
            },
            vec![committed(value(7, 0), 6), committed(value(5, 0), 1)],
        ),
        Node::Sum {
            source: value(8, 1 + 1),
            group: 2,
        }, // 9: two sums of two table values (ports: x, below, table)
        // 10: public copies, maximum of two sums and a padding
        view(value(9, 0), &[1, 3, 1], vec![axis(2, 0, &[0, 1, 0])]),
        neurons(
            1,
            1,
            1,
            Unit {
                window: 3,
                low: false,
                high: false,
                tables: vec![],
                deep: false,
            },
            vec![Term {
                patches: value(10, 0),
                inputs: 1,
                weights: Weights::Public(vec![1 << (bits - 1)]),
            }],
        ), // 11
        Node::Concat {
            sources: vec![value(11, 0), value(8, 2), value(0, 0)],
        }, // 12
        // 13: output
        neurons(
            1,
            2,
            1,
            Unit::LINEAR,
            vec![committed(value(12, 0), 21), committed(value(5, 0), 1)],
        ),
        // 14: grouped, positions, upper clamp only
        view(
            value(0, 0),
            &[2, 4, 2],
            vec![axis(2, 0, &[1, 0, 0]), axis(8, 0, &[0, 2, 1])],
        ),
        repeat(8), // 15
        neurons(
            2,
            1,
            4,
            Unit {
                window: 1,
                low: false,
                high: true,
                tables: vec![],
                deep: false,
            },
            vec![committed(value(14, 0), 2), committed(value(15, 0), 1)],
        ), // 16
    ];
    let program = Program {
        range_bits: bits,
        tables: vec![table],
        nodes,
        outputs: vec![13, 16],
    };
    with_weights(program)
}

/// Two dense layers, four inputs, two outputs.
pub(crate) fn dense(bits: u32) -> QuantizedModel {
    let committed = |node, inputs| Term {
        patches: value(node, 0),
        inputs,
        weights: Weights::Committed,
    };
    let layer = |outputs, unit, terms| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs,
            positions: 1,
            unit,
            terms,
        })
    };
    let nodes = vec![
        Node::Input { len: 4 },
        Node::Constant { len: 1 },
        layer(3, Unit::RELU, vec![committed(0, 4), committed(1, 1)]),
        layer(2, Unit::LINEAR, vec![committed(2, 3), committed(1, 1)]),
    ];
    with_weights(Program {
        range_bits: bits,
        tables: vec![],
        nodes,
        outputs: vec![3],
    })
}

/// A clamp to `[0, 2^T)`.
pub(crate) fn clamp() -> Unit {
    Unit {
        window: 1,
        low: true,
        high: true,
        tables: vec![],
        deep: false,
    }
}

fn public(patches: ValueRef, weights: &[i64], inputs: u32) -> Term {
    Term {
        patches,
        inputs,
        weights: Weights::Public(weights.to_vec()),
    }
}

/// Products of activations: `A·B` of a 2×3 and a 3×2 matrix with a zero point, an element-wise product of its result with
/// part of the input, and a dense output.
pub(crate) fn products(bits: u32) -> QuantizedModel {
    let neurons = |groups, outputs, positions, unit, terms| {
        Node::Neurons(Neurons {
            groups,
            outputs,
            positions,
            unit,
            terms,
        })
    };
    let read = |source, loops: &[u32], offset, strides: &[i64], extent| Node::View {
        source,
        view: View {
            loops: loops.to_vec(),
            axes: vec![Axis {
                extent,
                offset,
                strides: strides.to_vec(),
            }],
        },
    };
    let times = |patches, inputs, left, factor| Term {
        patches,
        inputs,
        weights: Weights::Value {
            value: left,
            factor,
        },
    };
    let nodes = vec![
        Node::Input { len: 12 },
        Node::Constant { len: 1 },
        read(value(0, 0), &[2, 3], 0, &[3, 1], 12), // 2: A
        read(value(0, 0), &[2, 3], 6, &[1, 2], 12), // 3: B, columns first
        Node::Sum {
            source: value(2, 0),
            group: 3,
        }, // 4: sums of A's rows
        read(value(1, 0), &[4], 0, &[0], 1),        // 5: ones
        read(value(1, 0), &[2], 0, &[0], 1),        // 6: two of them
        // 7: Σ A·(B − 3) and a bias
        neurons(
            1,
            2,
            2,
            clamp(),
            vec![
                times(value(3, 0), 3, value(2, 0), 1),
                times(value(6, 0), 1, value(4, 0), -3),
                public(value(6, 0), &[77, -30], 1),
            ],
        ),
        read(value(3, 0), &[4], 0, &[1], 6), // 8
        // 9: element by element, in groups of one
        neurons(
            4,
            1,
            1,
            clamp(),
            vec![
                times(value(7, 0), 1, value(8, 0), 2),
                public(value(5, 0), &[9, 8, 7, 6], 1),
            ],
        ),
        neurons(
            1,
            2,
            1,
            Unit::LINEAR,
            vec![
                Term {
                    patches: value(9, 0),
                    inputs: 4,
                    weights: Weights::Committed,
                },
                public(value(1, 0), &[1 << (2 * bits - 1); 2], 1),
            ],
        ),
    ];
    with_weights(Program {
        range_bits: bits,
        tables: vec![],
        nodes,
        outputs: vec![10],
    })
}

/// Three steps of a recurrence with two hidden units at so many positions, all with the first step's weights, and a dense
/// output. `shared` or not, the nodes are the same but for the kind of their weights.
pub(crate) fn recurrent(bits: u32, positions: u32, shared: bool) -> QuantizedModel {
    let steps = 3;
    let mut nodes = vec![
        Node::Input {
            len: steps * 2 * positions,
        },
        Node::Constant { len: 1 },
        Node::View {
            source: value(1, 0),
            view: View {
                loops: vec![positions],
                axes: vec![Axis {
                    extent: 1,
                    offset: 0,
                    strides: vec![0],
                }],
            },
        }, // 2: ones
        Node::Neurons(Neurons {
            groups: 1,
            outputs: 2,
            positions,
            unit: clamp(),
            terms: vec![public(value(2, 0), &[20 << bits, 40 << bits], 1)],
        }), // 3: the first state
    ];
    let (mut state, mut leader) = (3, None);
    for step in 0..steps {
        let axis = |offset: i64, strides: &[i64], extent| Axis {
            extent,
            offset,
            strides: strides.to_vec(),
        };
        let at = i64::from(step * 2 * positions);
        for (source, axis) in [
            (0, axis(at, &[2, 1], steps * 2 * positions)),
            (state, axis(0, &[1, i64::from(positions)], 2 * positions)),
        ] {
            nodes.push(Node::View {
                source: value(source, 0),
                view: View {
                    loops: vec![positions, 2],
                    axes: vec![axis],
                },
            });
        }
        let first = nodes.len();
        let own = *leader.get_or_insert(first as u32);
        let weights = || match own {
            own if own == first as u32 || !shared => Weights::Committed,
            own => Weights::Shared(own),
        };
        let term = |node, inputs| Term {
            patches: value(node, 0),
            inputs,
            weights: weights(),
        };
        let terms = vec![
            term(first - 2, 2),
            term(first - 1, 2),
            term(2, 1),
            public(value(2, 0), &[1 << (2 * bits - 2), 1 << (2 * bits - 1)], 1),
        ];
        nodes.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: 2,
            positions,
            unit: clamp(),
            terms,
        }));
        state = first;
    }
    nodes.push(Node::Neurons(Neurons {
        groups: 1,
        outputs: 2,
        positions: 1,
        unit: Unit::LINEAR,
        terms: vec![
            Term {
                patches: value(state, 0),
                inputs: 2 * positions,
                weights: Weights::Committed,
            },
            public(value(1, 0), &[1 << (2 * bits - 1); 2], 1),
        ],
    }));
    let outputs = vec![nodes.len() as u32 - 1];
    with_weights(Program {
        range_bits: bits,
        tables: vec![],
        nodes,
        outputs,
    })
}

/// Two words of two digits, of which rows of two tables are looked up: of one by the word, of the other by three more than its
/// lower digit. Four bits.
pub(crate) fn gathers(rows: u32) -> QuantizedModel {
    let neurons = |outputs, positions, terms| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs,
            positions,
            unit: Unit::LINEAR,
            terms,
        })
    };
    let gathered = |node: usize| Term {
        patches: value(node, 0),
        inputs: rows,
        weights: Weights::Gathered,
    };
    let committed = |node: usize, inputs: u32| Term {
        patches: value(node, 0),
        inputs,
        weights: Weights::Committed,
    };
    let lower = View {
        loops: vec![2],
        axes: vec![Axis {
            extent: 4,
            offset: 0,
            strides: vec![2],
        }],
    };
    let nodes = vec![
        Node::Input { len: 4 },
        Node::Constant { len: 2 },
        neurons(1, 2, vec![public(value(0, 0), &[1, 16], 2)]),
        Node::View {
            source: value(0, 0),
            view: lower,
        },
        neurons(
            1,
            2,
            vec![public(value(3, 0), &[1], 1), public(value(1, 0), &[3], 1)],
        ),
        neurons(3, 2, vec![gathered(2), gathered(4), committed(1, 1)]),
        neurons(2, 1, vec![committed(5, 6)]),
    ];
    let tensor = |node: u32, term: u32, data: Vec<i32>| WeightTensor { node, term, data };
    let table = |a: i32, b: i32, below: i32| -> Vec<i32> {
        let row = |o: i32| (0..rows as i32).map(move |v| (v * a + o * b) % below);
        (0..3).flat_map(row).collect()
    };
    QuantizedModel {
        program: Program {
            range_bits: 4,
            tables: vec![],
            nodes,
            outputs: vec![6],
        },
        weights: vec![
            tensor(5, 0, table(37, 41, 128)),
            tensor(5, 1, table(7, 13, 100)),
            tensor(5, 2, vec![8; 3]),
            tensor(6, 0, vec![6, 1, 3, 5, 2, 4, 1, 0, 2, 3, 6, 1]),
        ],
        hints: vec![],
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}

fn with_weights(program: Program) -> QuantizedModel {
    let bits = program.range_bits;
    let mut weights = Vec::new();
    let mut state = 12345u64;
    for (node, n) in program.nodes.iter().enumerate() {
        let Node::Neurons(n) = n else { continue };
        for (t, term) in n
            .terms
            .iter()
            .enumerate()
            .filter(|(_, t)| t.weights == Weights::Committed)
        {
            let count = (n.groups * n.outputs * term.inputs) as usize;
            let spread = (1i64 << bits) / 4;
            let data = (0..count)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let r = ((state >> 33) as i64 % (2 * spread + 1) - spread) as i32;
                    // Biases of units without a lower clamp keep results in range.
                    let wide = !n.unit.low && term.inputs == 1;
                    if wide {
                        1 << (2 * bits - 1)
                    } else if !n.unit.low {
                        r / 16
                    } else {
                        r
                    }
                })
                .collect();
            weights.push(WeightTensor {
                node: node as u32,
                term: t as u32,
                data,
            });
        }
    }
    QuantizedModel {
        program,
        weights,
        hints: vec![],
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}

/// What the verifier says. A batch of copies has to come to the same, and so does upstream's verifier.
#[track_caller]
pub(crate) fn judged(
    verifier: &Verifier,
    expected: &Expected,
    proof: &Proof,
) -> Result<Verdict, Rejection> {
    let alone = verifier.verify(expected, proof);
    let together = judged_runs(verifier, std::slice::from_ref(expected), proof);
    assert_eq!(together, alone.clone().map(|verdict| vec![verdict]));
    alone
}

/// As [`judged`], for a proof of several runs.
#[track_caller]
pub(crate) fn judged_runs(
    verifier: &Verifier,
    expected: &[Expected],
    proof: &Proof,
) -> Result<Vec<Verdict>, Rejection> {
    let alone = verifier.verify_runs(expected, proof);
    let candidate = Candidate {
        expected: expected.to_vec(),
        proof: proof.clone(),
    };
    let copy = || (verifier, candidate.clone());
    let copies = std::iter::repeat_with(copy).take(3);
    for together in verify_many(copies, BatchOptions::default()) {
        assert_eq!(together, alone);
    }
    let runs = proof.runs.len();
    assert_eq!(referred(verifier, &candidate, runs), alone);
    alone
}

/// What upstream's verifier says. On bytes that are no proof of so many runs, its sum has to be the verifier's, too.
#[track_caller]
fn referred(
    verifier: &Verifier,
    candidate: &Candidate,
    runs: usize,
) -> Result<Vec<Verdict>, Rejection> {
    let reference = Reference::new(verifier, params(verifier.card().k)).unwrap();
    if (1..=4).contains(&runs) {
        for index in 0..verifier.segments().len() {
            let garbage = reference.garbage(index, runs, 1);
            assert_eq!(reference.agrees(index, &garbage, runs), Some(true));
        }
    }
    reference.verify(candidate)
}

pub(crate) fn params(k: u32) -> Arc<Params<C>> {
    static CACHE: Mutex<Vec<Arc<Params<C>>>> = Mutex::new(Vec::new());
    let mut cache = CACHE.lock().unwrap();
    if let Some(p) = cache.iter().find(|p| p.k() == k) {
        return p.clone();
    }
    cache.push(Arc::new(Params::new(k)));
    cache.last().unwrap().clone()
}

pub(crate) fn bases(k: u32) -> Arc<Generators> {
    zkinfer_verifier::generators::load(k).unwrap()
}

pub(crate) fn secret(k: u32, seed: u64) -> Secret {
    secret_of(zoo(6), k, seed)
}

pub(crate) fn secret_of(model: QuantizedModel, k: u32, seed: u64) -> Secret {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    Secret::commit_at(
        model,
        k,
        vec![],
        params(k),
        WeightVisibility::Hidden,
        &mut rng,
        &mut zkinfer_model::progress::silent,
    )
    .unwrap()
}

/// A model of several segments, whether they fit or not.
pub(crate) fn secret_of_segments(models: Vec<QuantizedModel>, k: u32, seed: u64) -> Secret {
    let limits = Limits::owner();
    let segments = models.into_iter().map(|model| {
        let plan = Plan::new(model.program.clone(), k, &limits).unwrap();
        (model, plan)
    });
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    Secret::commit_parts(
        segments.collect(),
        vec![],
        params(k),
        WeightVisibility::Hidden,
        &mut rng,
        &mut zkinfer_model::progress::silent,
    )
    .unwrap()
}

/// A changed card with the support proof that its owner can make for the honest weights.
pub(crate) fn supported(honest: &Secret, card: Card) -> Card {
    supported_with(honest, card, &[], Slip::Nowhere)
}

/// The same by an owner who admits to entries elsewhere, `(group, row, value)` of a group's first point, and puts what the
/// claim is then wrong by where it may help.
pub(crate) fn supported_with(
    honest: &Secret,
    mut card: Card,
    elsewhere: &[(usize, u32, F)],
    slip: Slip,
) -> Card {
    struct Admitted<'a>(Folder<'a>, &'a [(usize, u32, F)]);
    impl Witness for Admitted<'_> {
        fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<(u32, F)>, F) {
            let (mut values, blind) = self.0.fold(group, coefficients);
            let own = self.1.iter().filter(|(g, ..)| *g == group);
            values.extend(own.map(|(_, row, v)| (*row, *v)));
            values.sort_by_key(|(row, _)| *row);
            (values, blind)
        }

        fn commit(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C> {
            self.0.commit(columns, blinds)
        }
    }
    let params = params(card.k);
    let groups = &honest.plan().groups;
    let folder = Folder {
        groups,
        generators: &generators(Engine::Auto, &params).unwrap(),
        matrices: honest.matrices(),
        blinds: honest.blinds(),
    };
    // Of the changed program, if it can be laid out at all.
    let program = card.segments[0].program.clone();
    if let Ok(plan) = Plan::new(program, card.k, &Limits::default()) {
        card.segments[0].fixed = commit_fixed(&plan, folder.generators);
    }
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let digest = segment_digest(&card.digest(), 0);
    let witness = Admitted(folder, elsewhere);
    let proof = support::prove_with(card.k, &digest, groups, &witness, slip, &mut rng);
    card.segments[0].support = proof.unwrap();
    card
}

/// Names of the gates that do not vanish everywhere.
pub(crate) fn violated(plan: &Plan, columns: &[Vec<F>]) -> Vec<String> {
    let last = plan.layout.last;
    let mut names = Vec::new();
    for gate in &plan.description.gates {
        let holds = (0..=last).all(|row| {
            let at = |q: Query| row + q.rotation as usize;
            let v = gate.poly.evaluate(
                &|c| c,
                // Behind the last row there are random values; gates are off there.
                &|q| columns[q.column].get(at(q)).copied().unwrap_or(F::from(7)),
                &|q| F::from(u64::from(plan.fixed[q.column][at(q)])),
                &|_| F::ZERO,
                &|a, b| a + b,
                &|a, b| a * b,
                &|a, c| a * c,
            );
            v == F::ZERO
        });
        if !holds {
            names.push(gate.name.clone());
        }
    }
    names
}
