//! Hints: programs that do not pin one down, and another normaliser of a softmax.

use super::*;

/// Two distributions of three logits; the probabilities are the output. `change` edits the nodes: 0 logits, 1 hints,
/// 2 digits, 3 constant, 4 steps, 5 constant, 6 and 7 the bounds, 8 output.
pub(crate) fn softmax(f: Vec<u16>, change: impl FnOnce(&mut Vec<Node>)) -> QuantizedModel {
    let g: Vec<u16> = f[1..].iter().copied().chain([0]).collect();
    let target = 55;
    let axis = Axis {
        extent: 4,
        offset: 0,
        strides: vec![2, 0, 1],
    };
    let steps = Unit {
        high: true,
        tables: vec![0, 1],
        ..Unit::LINEAR
    };
    let mut nodes = vec![
        Node::Input { len: 6 },
        Node::Hint { len: 4 },
        Node::View {
            source: value(1, 0),
            view: View {
                loops: vec![2, 3, 2],
                axes: vec![axis],
            },
        },
        Node::Constant { len: 6 },
        neurons(
            6,
            steps,
            vec![
                public(value(2, 0), &[64, 4096]),
                public(value(0, 0), &[-50]),
                public(value(3, 0), &[32]),
            ],
        ),
        Node::Constant { len: 2 },
        neurons(
            2,
            Unit::LINEAR,
            vec![
                public(value(4, 1), &[1; 3]),
                public(value(5, 0), &[-target]),
            ],
        ),
        neurons(
            2,
            Unit::LINEAR,
            vec![
                public(value(4, 2), &[-1; 3]),
                public(value(5, 0), &[target - 1]),
            ],
        ),
        neurons(6, Unit::LINEAR, vec![public(value(4, 1), &[64])]),
    ];
    change(&mut nodes);
    let solver = HintSolver::Softmax {
        node: 1,
        logits: value(0, 0),
        lens: vec![3, 3],
        factor: 50,
        constant: 32,
        table: 0,
        target,
    };
    model(vec![f, g], nodes, 8, vec![solver])
}

pub(crate) fn exponential() -> Vec<u16> {
    (0..64)
        .map(|d| {
            if d == 63 {
                0
            } else {
                (63.0 * (-f64::from(d) / 9.0).exp()).round() as u16
            }
        })
        .collect()
}

#[test]
fn hint_that_nothing_pins() {
    // Without this refusal both `L` and `L + 1` would be provable outputs of the first of these.
    let nodes = vec![
        Node::Input { len: 2 },
        Node::Hint { len: 2 },
        neurons(2, Unit::LINEAR, vec![public(value(1, 0), &[64])]),
    ];
    let free = model(vec![], nodes, 2, vec![]);
    let linear = |node: usize, edit: &dyn Fn(&mut Neurons)| {
        softmax(exponential(), |nodes| {
            if let Node::Neurons(n) = &mut nodes[node] {
                edit(n)
            }
        })
    };
    let weight = |term: usize, weights: Vec<i64>| {
        move |n: &mut Neurons| n.terms[term].weights = Weights::Public(weights.clone())
    };
    let mut rising = exponential();
    rising[40] += 1;
    let cases: Vec<(&str, QuantizedModel)> = vec![
        ("nothing", free),
        ("no lower bound", linear(6, &|n| n.unit = Unit::RELU)),
        ("no upper bound", linear(7, &|n| n.unit = Unit::RELU)),
        ("bounds with a gap", linear(7, &weight(1, vec![55]))),
        (
            "a sum that leaves one out",
            linear(7, &weight(0, vec![-1, -1, 0])),
        ),
        (
            "a sum that scales one",
            linear(6, &weight(0, vec![1, 2, 1])),
        ),
        (
            "a secret bound",
            linear(6, &|n| n.terms[1].weights = Weights::Committed),
        ),
        (
            "bounds on the same table",
            linear(7, &|n| n.terms[0].patches.port = 1),
        ),
        (
            "secret digits",
            linear(4, &|n| n.terms[0].weights = Weights::Committed),
        ),
        ("other digits", linear(4, &weight(0, vec![64, 64]))),
        ("a clamp from below", linear(4, &|n| n.unit.low = true)),
        (
            "digits that cancel",
            linear(4, &|n| n.terms.push(public(value(2, 0), &[-64, -4096]))),
        ),
        ("a table that rises", softmax(rising, |_| {})),
        ("a table that is not the successor", {
            let mut model = softmax(exponential(), |_| {});
            model.program.tables[1] = vec![0; 64];
            model
        }),
        (
            "a hint to spare",
            softmax(exponential(), |nodes| nodes.push(Node::Hint { len: 1 })),
        ),
    ];
    assert!(
        Plan::new(
            softmax(exponential(), |_| {}).program,
            K,
            &Limits::default()
        )
        .is_ok()
    );
    for (name, model) in cases {
        let error = Plan::new(model.program, K, &Limits::default()).err();
        let refused = |reason: &str| reason == "a hint that the program does not pin down";
        assert!(
            matches!(&error, Some(CardError::Program(ProgramError::Node { reason, .. })) if refused(reason)),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn softmax_with_the_next_normaliser() {
    let secret = committed(softmax(exponential(), |_| {}));
    let input = [vec![10, 20, 30, 5, 5, 60]];
    assert!(judge(&secret, &input, &[], &mut Lie::default()).is_ok());
    for by in [1i64, -1] {
        let tables = secret.plan().program.tables.clone();
        let run = secret.infer_integers(&input).unwrap();
        // Everything is computed from the other `L`, so that only a bound on a sum can notice.
        let cells = |plan: &Plan, p: &mut witness::Phase1| {
            let set = |p: &mut witness::Phase1, node: usize, i: usize, y: i64| {
                let (lane, row) = cell(plan, node, i);
                p.accumulators[lane.first_candidate][row] = y;
                p.cells[lane.x][row] = (y >> 6) as u32;
                p.cells[lane.rem[0]][row] = (y & 63) as u32;
            };
            let (lane, row) = cell(plan, 1, 0);
            p.cells[lane.x][row] = p.cells[lane.x][row].wrapping_add_signed(by as i32);
            let mut sums = [0i64; 2];
            for i in 0..3 {
                let (lane, row) = cell(plan, 4, i);
                let y = p.accumulators[lane.first_candidate][row] + 64 * by;
                set(p, 4, i, y);
                for t in 0..2 {
                    let v = tables[t][(y >> 6) as usize];
                    p.cells[lane.tables[t]][row] = u32::from(v);
                    sums[t] += i64::from(v);
                }
                set(p, 8, i, 64 * i64::from(tables[0][(y >> 6) as usize]));
            }
            set(p, 6, 0, sums[0] - 55);
            set(p, 7, 0, 54 - sums[1]);
            assert!(sums[0] < 55 || sums[1] >= 55);
        };
        // A negative quotient as the field sees it.
        let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: Option<&Challenges>| {
            if phase == 1 {
                for node in [6, 7] {
                    let (lane, row) = cell(plan, node, 0);
                    let v = &mut columns[lane.x][row];
                    if *v == F::from(u64::from(u32::MAX)) {
                        *v = -F::ONE;
                    }
                }
            }
        };
        let outputs: Vec<(usize, i32)> = (0..3)
            .map(|i| {
                let f = &tables[0];
                let d = (0..64)
                    .find(|&d| i32::from(f[d]) == i32::from(run.output()[i]))
                    .unwrap() as i64;
                (
                    i,
                    i32::from(f[(d + by) as usize]) - i32::from(f[d as usize]),
                )
            })
            .collect();
        let mut lie = Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            ..Lie::default()
        };
        let verdict = judge(&secret, &input, &outputs, &mut lie);
        assert_eq!(verdict, Err(Rejection::Circuit));
        // The bound's quotient is −1, which the range table does not hold.
        assert!(
            !lie.violated.is_empty() && lie.violated.iter().all(|g| g.starts_with("lookup: ")),
            "{:?}",
            lie.violated
        );
    }
}

/// A sum whose every term begins with a constant is a sum all the same.
#[test]
fn sums_that_begin_with_constants() {
    let padded = |weight: i64, port: u32, constant: i64| {
        move |n: &mut Neurons| {
            n.terms = vec![
                public(value(5, 0), &[constant]),
                public(value(4, port), &[weight; 3]),
            ]
        }
    };
    let model = softmax(exponential(), |nodes| {
        let mut change = |node: usize, edit: &dyn Fn(&mut Neurons)| {
            if let Node::Neurons(n) = &mut nodes[node] {
                edit(n)
            }
        };
        change(6, &padded(1, 1, -55));
        change(7, &padded(-1, 2, 54));
    });
    let expanded = model.program.expand(&Limits::default().program).unwrap();
    assert_eq!(
        zkinfer_circuits::hints::check(&model.program, &expanded, 1 << 10),
        Ok(())
    );
    // Nothing is written out beyond the limit.
    let expanded = model.program.expand(&Limits::default().program).unwrap();
    let empty = expanded.memory();
    let found = zkinfer_circuits::hints::check(&model.program, &expanded, 8);
    let found = found.unwrap_err().to_string();
    assert!(found.contains("limit on elements"), "{found}");
    assert_eq!(expanded.memory(), empty);
}
