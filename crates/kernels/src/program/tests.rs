use super::*;
#[cfg(target_arch = "x86_64")]
use crate::vector::Ifma;
use crate::vector::{Backend, Checked, Portable, Vector};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Columns of `n` elements as vectors, in the layout of the module.
fn vectors<B: Backend>(column: &[Fp]) -> Vec<B::Scalar> {
    let m = column.len() / B::Scalar::LANES;
    (0..m)
        .map(|b| B::Scalar::from_fn(|lane| column[lane * m + b]))
        .collect()
}

fn elements<B: Backend>(vectors: &[B::Scalar]) -> Vec<Fp> {
    let m = vectors.len();
    let mut out = vec![Fp::ZERO; m * B::Scalar::LANES];
    let mut lanes = vec![Fp::ZERO; B::Scalar::LANES];
    for (b, v) in vectors.iter().enumerate() {
        v.store(&mut lanes);
        for (lane, v) in lanes.iter().enumerate() {
            out[lane * m + b] = *v;
        }
    }
    out
}

/// Row by row, node by node.
fn plain(
    builder: &Builder,
    outputs: &[Id],
    columns: &[Vec<Fp>],
    challenges: &[Fp],
) -> Vec<Vec<Fp>> {
    let n = columns[0].len();
    let mut results = vec![vec![Fp::ZERO; n]; outputs.len()];
    for row in 0..n {
        let mut values: Vec<Fp> = Vec::with_capacity(builder.nodes.len());
        for node in &builder.nodes {
            let at = |id: &Id| values[id.0 as usize];
            let v = match node {
                Node::Constant(v) => builder.values.get(*v),
                Node::Challenge(c) => challenges[*c as usize],
                Node::Column(c, r) => {
                    let at = (row as i64 + i64::from(*r)).rem_euclid(n as i64);
                    columns[*c as usize][at as usize]
                }
                Node::Add(a, b) => at(a) + at(b),
                Node::Mul(a, b) => at(a) * at(b),
                Node::Scale(a, v) => at(a) * builder.values.get(*v),
            };
            values.push(v);
        }
        for (result, output) in results.iter_mut().zip(outputs) {
            result[row] = values[output.0 as usize];
        }
    }
    results
}

fn run<B: Backend>(
    backend: B,
    program: &Program,
    columns: &[Vec<Fp>],
    challenges: &[Fp],
    parts: usize,
) -> Vec<Vec<Fp>> {
    let columns: Vec<Vec<B::Scalar>> = columns.iter().map(|c| vectors::<B>(c)).collect();
    let columns: Vec<&[B::Scalar]> = columns.iter().map(|c| c.as_slice()).collect();
    let m = columns[0].len();
    let prepared = program.prepare(backend, challenges);
    let mut outputs = vec![vec![B::Scalar::zero(); m]; program.outputs()];
    for part in 0..parts {
        let rows = part * m / parts..(part + 1) * m / parts;
        let mut slices: Vec<&mut [B::Scalar]> =
            outputs.iter_mut().map(|o| &mut o[rows.clone()]).collect();
        run_rows(backend, program, &prepared, &columns, rows, &mut slices);
    }
    outputs.iter().map(|o| elements::<B>(o)).collect()
}

fn check(builder: &Builder, outputs: &[Id], columns: &[Vec<Fp>], challenges: &[Fp]) -> Program {
    let expected = plain(builder, outputs, columns, challenges);
    let program = builder.clone().compile(outputs);
    each_backend(&program, columns, challenges, &expected);
    program
}

fn each_backend(program: &Program, columns: &[Vec<Fp>], challenges: &[Fp], expected: &[Vec<Fp>]) {
    for parts in [1, 3] {
        assert!(run(Portable, program, columns, challenges, parts) == expected);
    }
    assert!(run(Checked, program, columns, challenges, 1) == expected);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = Ifma::detect() {
        for parts in [1, 3] {
            assert!(run(ifma, program, columns, challenges, parts) == expected);
        }
    }
}

fn random_columns(rng: &mut ChaCha20Rng, columns: usize, n: usize) -> Vec<Vec<Fp>> {
    (0..columns)
        .map(|_| {
            (0..n)
                .map(|_| match rng.next_u32() % 8 {
                    0 => Fp::ZERO,
                    1 => -Fp::ONE,
                    2 => Fp::ONE,
                    _ => Fp::random(&mut *rng),
                })
                .collect()
        })
        .collect()
}

fn random_value(rng: &mut ChaCha20Rng) -> Fp {
    match rng.next_u32() % 8 {
        0 => Fp::ZERO,
        1 => Fp::ONE,
        2 => -Fp::ONE,
        3 => Fp::from(2),
        4 => -Fp::from(3),
        5 => Fp::from(1 << 12),
        6 => -Fp::from(1 << 12),
        _ => Fp::random(rng),
    }
}

#[test]
fn random_programs_equal_plain_evaluation() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for round in 0..60u64 {
        let n = [8, 16, 64][round as usize % 3];
        let mut b = Builder::new(1 + round % 3);
        let columns = random_columns(&mut rng, 4, n);
        let challenges: Vec<Fp> = (0..3).map(|_| Fp::random(&mut rng)).collect();
        let mut ids = Vec::new();
        for c in 0..4 {
            for r in -2..=2 {
                ids.push(b.column(c, r));
            }
        }
        ids.extend((0..3).map(|c| b.challenge(c)));
        let size = 10 + rng.next_u32() % 120;
        for _ in 0..size {
            // Mostly recent ones, so that expressions are deep.
            let mut pick = || {
                let recent = ids.len().min(12);
                let at = if rng.next_u32().is_multiple_of(2) {
                    ids.len() - 1 - rng.next_u32() as usize % recent
                } else {
                    rng.next_u32() as usize % ids.len()
                };
                ids[at]
            };
            let (x, y) = (pick(), pick());
            let id = match rng.next_u32() % 8 {
                0..=1 => b.add(x, y),
                2 => b.sub(x, y),
                3..=4 => b.mul(x, y),
                5 => {
                    let v = random_value(&mut rng);
                    b.scale(x, v)
                }
                6 => b.neg(x),
                _ => {
                    let v = random_value(&mut rng);
                    let v = b.constant(v);
                    b.add(x, v)
                }
            };
            ids.push(id);
        }
        let outputs: Vec<Id> = ids[ids.len() - 3..].to_vec();
        check(&b, &outputs, &columns, &challenges);
    }
}

#[test]
fn rotations_wrap_around() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let columns = random_columns(&mut rng, 1, 32);
    let mut b = Builder::default();
    let outputs: Vec<Id> = [
        -33,
        -32,
        -5,
        -4,
        -2,
        -1,
        0,
        1,
        2,
        3,
        4,
        5,
        31,
        32,
        100,
        i32::MAX,
        i32::MIN,
    ]
    .into_iter()
    .map(|r| b.column(0, r))
    .collect();
    check(&b, &outputs, &columns, &[]);
}

#[test]
fn deep_sums_and_products() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let columns = random_columns(&mut rng, 40, 16);
    for bound in [1, 2, 16] {
        let mut b = Builder::new(bound);
        let cells: Vec<Id> = (0..200).map(|i| b.column(i % 40, i as i32 / 40)).collect();
        let plus = b.sum(cells.iter().copied());
        let minus: Id = cells.iter().fold(cells[7], |a, &c| b.sub(a, c));
        let product = cells.iter().skip(1).fold(cells[0], |a, &c| b.mul(a, c));
        let squares = cells.windows(2).map(|w| w.to_vec()).collect::<Vec<_>>();
        let squares: Vec<Id> = squares.into_iter().map(|w| b.mul(w[0], w[1])).collect();
        let dot = squares.iter().fold(plus, |a, &s| b.sub(a, s));
        let mut many = Vec::new();
        for i in 0..30 {
            for j in i..30 {
                many.push(b.mul(cells[i], cells[j + 60]));
            }
        }
        let many = b.sum(many);
        let mut tower = cells[0];
        for &cell in &cells[..100] {
            tower = b.mul(tower, tower);
            tower = b.sub(tower, cell);
        }
        let mut doubled = cells[0];
        for &cell in &cells[..100] {
            let next = b.add(doubled, cell);
            doubled = b.sub(next, doubled);
            doubled = b.add(next, doubled);
        }
        let outputs = [plus, minus, product, dot, many, tower, doubled];
        check(&b, &outputs, &columns, &[]);
    }
}

#[test]
fn trivial_outputs() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let columns = random_columns(&mut rng, 2, 8);
    let mut b = Builder::default();
    let (x, y) = (b.column(0, 0), b.column(1, 0));
    let zero = b.sub(x, x);
    let five = b.constant(Fp::from(5));
    let challenge = b.challenge(1);
    let negative = b.neg(x);
    let cancel = b.add(x, y);
    let cancel = b.sub(cancel, y);
    let cancel = b.sub(cancel, x);
    let square = b.mul(x, x);
    let difference = b.sub(square, square);
    let twice = b.mul(x, challenge);
    let outputs = [
        zero, five, challenge, negative, cancel, difference, twice, x, x,
    ];
    check(&b, &outputs, &columns, &[Fp::from(3), Fp::from(4)]);
    let program = b.clone().compile(&outputs);
    assert_eq!((program.columns(), program.challenges()), (2, 2));
}

/// The running sum of a lookup argument with `n` denominators.
fn lookup(b: &mut Builder, n: usize, numerators: bool) -> Id {
    let (next, current) = (b.column(0, 1), b.column(0, 0));
    let difference = b.sub(next, current);
    let alpha = b.column(1, 0);
    let d: Vec<Id> = (0..n)
        .map(|i| {
            let x = b.column(2 + i, 0);
            b.add(alpha, x)
        })
        .collect();
    let all = d[1..].iter().fold(d[0], |a, &d| b.mul(a, d));
    let left = b.mul(difference, all);
    let mut sum = Vec::new();
    for i in 0..n {
        let mut term = if numerators {
            b.column(2 + n + i, 0)
        } else {
            b.constant(Fp::ONE)
        };
        for (j, &d) in d.iter().enumerate() {
            if j != i {
                term = b.mul(term, d);
            }
        }
        sum.push(term);
    }
    let sum = b.sum(sum);
    b.sub(left, sum)
}

#[test]
fn lookup_sums_share_their_products() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    for (n, numerators, products, reductions) in [
        (1, false, 1, 1),
        (2, false, 2, 2),
        (3, false, 3, 3),
        (2, true, 3, 2),
        (3, true, 6, 3),
    ] {
        let mut b = Builder::default();
        let gate = lookup(&mut b, n, numerators);
        let columns = random_columns(&mut rng, 2 + 2 * n, 8);
        let cost = check(&b, &[gate], &columns, &[]).cost();
        assert!(
            // One more, of the output.
            cost.products <= products && cost.reductions <= reductions + 1,
            "{n} {numerators}: {cost:?}"
        );
    }
}

#[test]
fn common_factors_and_constants_are_multiplied_once() {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let columns = random_columns(&mut rng, 40, 16);
    let challenges: Vec<Fp> = (0..12).map(|_| Fp::random(&mut rng)).collect();
    let mut b = Builder::default();
    let weights: Vec<Id> = (0..12).map(|i| b.challenge(i)).collect();
    // Twelve linear gates under two selectors.
    let gates: Vec<Gate> = (0..12)
        .map(|i| {
            let (next, current) = (b.column(i, 1), b.column(i, 0));
            Gate {
                factor: (i < 11).then(|| b.column(20 + i % 2, 0)),
                rest: b.sub(next, current),
            }
        })
        .collect();
    let all = b.combine(&gates, &weights);
    let cost = check(&b, &[all], &columns, &challenges).cost();
    assert_eq!((cost.products, cost.reductions), (14, 3));

    // Σ w_i·(2^12·(x_i − y_i) + r_i): two products per term, one for the constant.
    let mut b = Builder::default();
    let mut terms = Vec::new();
    for i in 0..8 {
        let (x, y, r, w) = (
            b.column(i, 0),
            b.column(8 + i, 0),
            b.column(16 + i, 0),
            b.column(24 + i, 0),
        );
        let v = b.sub(x, y);
        let v = b.scale(v, Fp::from(1 << 12));
        let v = b.add(v, r);
        terms.push(b.mul(w, v));
    }
    let sum = b.sum(terms);
    let cost = check(&b, &[sum], &columns, &[]).cost();
    assert_eq!((cost.products, cost.reductions), (17, 2));
}
