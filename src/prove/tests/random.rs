//! Random small networks: whatever the shapes, strides, groups, signs and units, circuit and integer run agree.

use super::engine::Engine;
use super::zoo::{bases, judged, params, violated};
use super::*;
use crate::secret::{Secret, Visibility, WeightVisibility};
use halo2_proofs::dev::MockProver;
use proptest::prelude::*;
use std::sync::Arc;
use zkinfer_circuits::circuit::with_description;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, ProgramLimits, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};
use zkinfer_model::model::{QuantizedModel, WeightTensor};
use zkinfer_model::run::run;

const BITS: u32 = 6;

/// Draws small numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.roll((high - low + 1) as u64) as i64
    }
}

struct Builder {
    dice: Dice,
    program: Program,
    weights: Vec<WeightTensor>,
    /// Current image: value and channels, height, width.
    image: (ValueRef, usize, usize, usize),
}

impl Builder {
    fn new(seed: u64) -> Builder {
        let mut dice = Dice(seed);
        let (c, h, w) = (
            dice.between(1, 3) as usize,
            dice.between(2, 5) as usize,
            dice.between(2, 5) as usize,
        );
        let table = (0..1u64 << BITS)
            .map(|x| ((x * x + seed % 7) % (1 << BITS)) as u16)
            .collect();
        let nodes = vec![
            Node::Input {
                len: (c * h * w) as u32,
            },
            Node::Constant { len: 1 },
        ];
        let program = Program {
            range_bits: BITS,
            tables: vec![table],
            nodes,
            outputs: vec![],
        };
        Builder {
            dice,
            program,
            weights: vec![],
            image: (ValueRef::new(0), c, h, w),
        }
    }

    fn push(&mut self, node: Node) -> ValueRef {
        self.program.nodes.push(node);
        ValueRef::new(self.program.nodes.len() - 1)
    }

    fn view(
        &mut self,
        source: ValueRef,
        loops: Vec<u32>,
        axes: Vec<(usize, i64, Vec<i64>)>,
    ) -> ValueRef {
        let axes = axes
            .into_iter()
            .map(|(extent, offset, strides)| Axis {
                extent: extent as u32,
                offset,
                strides,
            })
            .collect();
        self.push(Node::View {
            source,
            view: View { loops, axes },
        })
    }

    fn unit(&mut self) -> Unit {
        let deep = self.dice.roll(3) == 0;
        let unit = match self.dice.roll(6) {
            0 => Unit {
                window: 1,
                low: true,
                high: true,
                tables: vec![0],
                deep: false,
            },
            1 => Unit {
                window: 1,
                low: true,
                high: true,
                tables: vec![],
                deep: false,
            },
            2 => Unit {
                window: 1,
                low: true,
                high: false,
                tables: vec![0],
                deep: false,
            },
            _ => Unit::RELU,
        };
        Unit { deep, ..unit }
    }

    fn neurons(
        &mut self,
        groups: usize,
        outputs: usize,
        positions: usize,
        unit: Unit,
        patches: ValueRef,
        inputs: usize,
    ) -> ValueRef {
        let count = groups * positions * unit.window as usize;
        let bias = self.view(ValueRef::new(1), vec![count as u32], vec![(1, 0, vec![0])]);
        let node = self.program.nodes.len() as u32;
        let spread = (1i64 << BITS) * 2 / (inputs as i64).max(2);
        let weights: Vec<i32> = (0..groups * outputs * inputs)
            .map(|_| self.dice.between(-spread, spread) as i32)
            .map(|w| w << (BITS * (unit.depth() - 1)))
            .collect();
        let offset = if unit.low {
            1 << (BITS * unit.depth() - 1)
        } else {
            1 << (BITS * (unit.depth() + 1) - 1)
        };
        self.weights.push(WeightTensor {
            node,
            term: 0,
            data: weights,
        });
        self.weights.push(WeightTensor {
            node,
            term: 1,
            data: vec![offset; groups * outputs],
        });
        let terms = vec![
            Term {
                patches,
                inputs: inputs as u32,
                weights: Weights::Committed,
            },
            Term {
                patches: bias,
                inputs: 1,
                weights: Weights::Committed,
            },
        ];
        self.push(Node::Neurons(Neurons {
            groups: groups as u32,
            outputs: outputs as u32,
            positions: positions as u32,
            unit,
            terms,
        }))
    }

    fn convolution(&mut self) {
        let (value, c, h, w) = self.image;
        let groups = if c > 1 && self.dice.roll(2) == 0 {
            c
        } else {
            1
        };
        let outputs = self.dice.between(1, 3) as usize;
        let (stride, pad) = (self.dice.between(1, 2), self.dice.between(0, 1));
        let dilation = self.dice.between(1, 2);
        let kernel = self.dice.between(1, 3);
        let size =
            |n: usize| (n as i64 + 2 * pad - dilation * (kernel - 1) - 1).div_euclid(stride) + 1;
        let (oh, ow) = (size(h), size(w));
        if oh < 1 || ow < 1 {
            return;
        }
        let pool = oh >= 2 && ow >= 2 && self.dice.roll(2) == 0;
        let (ph, pw, m) = if pool {
            (oh / 2, ow / 2, 2)
        } else {
            (oh, ow, 1)
        };
        let unit = if pool {
            Unit {
                window: 4,
                low: self.dice.roll(2) == 0,
                high: false,
                tables: vec![],
                deep: false,
            }
        } else {
            self.unit()
        };
        let unit = if pool && !unit.low {
            Unit { low: true, ..unit }
        } else {
            unit
        };
        let per = (c / groups) as i64;
        let loops = [groups as i64, ph, pw, m, m, per, kernel, kernel]
            .map(|l| l as u32)
            .to_vec();
        let patches = self.view(
            value,
            loops,
            vec![
                (c, 0, vec![per, 0, 0, 0, 0, 1, 0, 0]),
                (h, -pad, vec![0, m * stride, 0, stride, 0, 0, dilation, 0]),
                (w, -pad, vec![0, 0, m * stride, 0, stride, 0, 0, dilation]),
            ],
        );
        let inputs = (per * kernel * kernel) as usize;
        let table = !unit.tables.is_empty();
        let out = self.neurons(
            groups,
            outputs,
            (ph * pw) as usize,
            unit.clone(),
            patches,
            inputs,
        );
        let port = if table && self.dice.roll(2) == 0 {
            unit.ports() - 1
        } else {
            0
        };
        self.image = (
            ValueRef { port, ..out },
            groups * outputs,
            ph as usize,
            pw as usize,
        );
    }

    /// The products of every two channels, `X·Xᵀ`: an image of one row per channel.
    fn gram(&mut self) {
        let (value, c, h, w) = self.image;
        let positions = self.dice.between(1, c as i64) as usize;
        let patches = self.view(
            value,
            vec![positions as u32, (h * w) as u32],
            vec![(c, 0, vec![1, 0]), (h * w, 0, vec![0, 1])],
        );
        let factor = self.dice.between(-1, 2);
        let bias = self.view(
            ValueRef::new(1),
            vec![positions as u32],
            vec![(1, 0, vec![0])],
        );
        let term = |patches, inputs: usize, weights| Term {
            patches,
            inputs: inputs as u32,
            weights,
        };
        let unit = match self.unit() {
            unit if unit.high => unit,
            _ => super::zoo::clamp(),
        };
        let out = self.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: c as u32,
            positions: positions as u32,
            unit,
            terms: vec![
                term(patches, h * w, Weights::Value { value, factor }),
                term(bias, 1, Weights::Public(vec![100; c])),
            ],
        }));
        self.image = (out, c, 1, positions);
    }

    /// One matrix from channels to channels, used twice.
    fn shared(&mut self) {
        let (value, c, h, w) = self.image;
        let positions = h * w;
        let read = |b: &mut Builder, value| {
            b.view(
                value,
                vec![positions as u32, c as u32],
                vec![(c, 0, vec![0, 1]), (positions, 0, vec![1, 0])],
            )
        };
        let patches = read(self, value);
        let unit = super::zoo::clamp();
        let leader = self.neurons(1, c, positions, unit, patches, c);
        let patches = read(self, leader);
        let Node::Neurons(mut n) = self.program.nodes[leader.node as usize].clone() else {
            return;
        };
        n.terms[0].patches = patches;
        n.terms
            .iter_mut()
            .for_each(|t| t.weights = Weights::Shared(leader.node));
        let out = self.push(Node::Neurons(n));
        self.image = (out, c, h, w);
    }

    fn dense(&mut self, outputs: usize, unit: Unit) -> ValueRef {
        let (value, c, h, w) = self.image;
        let out = self.neurons(1, outputs, 1, unit, value, c * h * w);
        self.image = (out, outputs, 1, 1);
        out
    }

    /// Wiring: transposition, averages, a concatenation with itself.
    fn wiring(&mut self) {
        let (value, c, h, w) = self.image;
        match self.dice.roll(3) {
            0 => {
                let v = self.view(
                    value,
                    vec![c as u32, w as u32, h as u32],
                    vec![
                        (c, 0, vec![1, 0, 0]),
                        (h, 0, vec![0, 0, 1]),
                        (w, 0, vec![0, 1, 0]),
                    ],
                );
                self.image = (v, c, w, h);
            }
            1 if (h * w) % 2 == 0 => {
                let v = self.push(Node::Sum {
                    source: value,
                    group: 2,
                });
                self.image = (v, c, 1, h * w / 2);
            }
            _ => {
                let v = self.push(Node::Concat {
                    sources: vec![value, value],
                });
                self.image = (v, 2 * c, h, w);
            }
        }
    }

    fn build(seed: u64) -> QuantizedModel {
        let mut b = Builder::new(seed);
        for _ in 0..b.dice.between(1, 3) {
            match b.dice.roll(7) {
                0 => b.wiring(),
                5 => b.gram(),
                6 => b.shared(),
                1 => {
                    let (outputs, unit) = (b.dice.between(1, 6) as usize, b.unit());
                    b.dense(outputs, unit);
                }
                _ => b.convolution(),
            }
        }
        let outputs = b.dice.between(1, 4) as usize;
        let last = b.dense(
            outputs,
            Unit {
                window: 1,
                low: true,
                high: true,
                tables: vec![],
                deep: false,
            },
        );
        b.program.outputs = vec![last.node];
        QuantizedModel {
            program: b.program,
            weights: b.weights,
            hints: vec![],
            inputs: vec![],
            outputs: vec![],
            layers: vec![],
            decodings: vec![],
        }
    }
}

#[derive(Default)]
struct Filled(Vec<Vec<F>>);

impl Deviation for Filled {
    fn filled(&mut self, _: &Plan, columns: &[Vec<F>]) {
        self.0 = columns.to_vec();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn circuit_and_integer_run_agree(seed in any::<u64>(), k in 7u32..9, extreme in 0u32..3) {
        let model = Builder::build(seed);
        let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
        let top = (1u32 << BITS) - 1;
        let len = model.program.input_len() as u32;
        let input: Vec<u32> = (0..len).map(|i| match extreme {
            0 => (i * 29 + seed as u32 % 50) % (top + 1),
            1 => top * (i % 2),
            _ => top,
        }).collect();
        // Some random weights lead out of range; there is nothing to prove then.
        let Ok(trace) = run(&model.program, &expanded, &model.weights, &[], std::slice::from_ref(&input)) else { return Ok(()) };
        let program = model.program.clone();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let secret = match Secret::commit_at(model, k, vec![], params(k), WeightVisibility::Hidden, &mut rng, &mut zkinfer_model::progress::silent) {
            Ok(secret) => secret,
            Err(crate::error::CommitError::Plan(_)) => return Ok(()), // does not fit this k
            Err(e) => panic!("{e}"),
        };
        let run = secret.infer_integers(&[input]).unwrap();
        let mut filled = Filled::default();
        let visibility = Visibility { attach_input: true, ..Visibility::default() };
        let same = rng.clone();
        let proven = secret.prove_with(&run, &visibility, b"", &mut filled, &mut rng).unwrap();
        prop_assert_eq!(violated(secret.plan(), &filled.0), Vec::<String>::new());
        if seed % 4 == 0 {
            // Upstream's own check of the circuit as configured.
            let circuit = secret.plan().circuit().with_advice(Arc::new(filled.0));
            let mock = with_description(circuit.description(), || MockProver::run(k, &circuit, vec![]).unwrap());
            prop_assert_eq!(mock.verify(), Ok(()));
        }
        // All engines make the same proof of every plan.
        let card = secret.card().clone();
        let mut secret = secret;
        for engine in Engine::available() {
            secret = secret.with_engine(engine);
            let again = secret.prove(&run, &visibility, b"", &mut same.clone()).unwrap();
            prop_assert!(again.proof == proven.proof, "{} differs", engine);
        }
        let verifier = Verifier::new(card, bases(k), &Limits::default()).unwrap();
        let verdict = judged(&verifier, &Expected::default(), &proven.proof).unwrap();
        let first = expanded.first_slot[program.outputs[0] as usize] as usize;
        let output: Vec<u16> = trace.slots[first..first + program.output_len()].iter().map(|&v| v as u16).collect();
        prop_assert_eq!(verdict.output, Side::Public(output));
    }
}
