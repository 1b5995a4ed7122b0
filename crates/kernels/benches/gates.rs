//! Gates of a lookup and fold argument over a few lanes, per row: compiled programs on every backend against a tree that is
//! evaluated operation by operation over whole columns, as halo2 does. `cargo bench --bench gates`.

#[path = "../../../benches/common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ff::Field;
use pasta_curves::Fp;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::hint::black_box;
use zkinfer_kernels::program::{Builder, Gate, Id, Program, run_rows};
use zkinfer_kernels::vector::{Backend, Portable, Vector};

const ROWS: usize = 1 << 12;

/// The tree that halo2 would walk.
enum Tree {
    Column(usize, i32),
    Add(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Scale(Box<Tree>, Fp),
    One,
}

fn col(c: usize) -> Tree {
    Tree::Column(c, 0)
}

fn add(a: Tree, b: Tree) -> Tree {
    Tree::Add(Box::new(a), Box::new(b))
}

fn mul(a: Tree, b: Tree) -> Tree {
    Tree::Mul(Box::new(a), Box::new(b))
}

fn sub(a: Tree, b: Tree) -> Tree {
    add(a, Tree::Scale(Box::new(b), -Fp::ONE))
}

/// Selector columns and rests; column 0 is α, 1 and 2 selectors, 3 a challenge column, lanes follow.
fn gates(lanes: usize) -> Vec<(usize, Tree)> {
    let mut gates = Vec::new();
    let lane = |i: usize| 4 + 3 * i; // x, below, rem
    let sums = 4 + 3 * lanes;
    for s in 0..(2 * lanes).div_ceil(3) {
        let d = |j: usize| {
            let l = (3 * s + j) % (2 * lanes);
            let x = col(lane(l / 2));
            add(
                col(0),
                if l.is_multiple_of(2) {
                    add(x, col(lane(l / 2) + 1))
                } else {
                    col(lane(l / 2) + 2)
                },
            )
        };
        let difference = sub(Tree::Column(sums + s, 1), col(sums + s));
        let all = mul(mul(d(0), d(1)), d(2));
        let fractions = (0..3).map(|i| {
            (0..3)
                .filter(|&j| j != i)
                .fold(Tree::One, |a, j| mul(a, d(j)))
        });
        let sum = fractions.reduce(add).unwrap_or(Tree::One);
        gates.push((1, sub(mul(difference, all), sum)));
        gates.push((2, col(sums + s)));
    }
    let mut horner = mul(mul(col(3), mul(col(3), col(3))), col(sums));
    let mut products = col(sums + 1);
    for i in 0..lanes {
        let v = sub(col(lane(i)), col(lane(i) + 1));
        let v = add(
            Tree::Scale(Box::new(v), Fp::from(1 << 12)),
            col(lane(i) + 2),
        );
        let weight = (0..i % 4).fold(col(0), |a, _| mul(a, col(3)));
        horner = add(horner, mul(weight, v));
        products = add(products, mul(add(col(lane(i)), col(2)), col(lane(i) + 1)));
        gates.push((1, mul(col(lane(i)), col(lane(i) + 1))));
    }
    gates.push((1, horner));
    gates.push((1, products));
    gates
}

fn chunk(tree: &Tree, columns: &[Vec<Fp>], from: usize, len: usize) -> Vec<Fp> {
    match tree {
        Tree::Column(c, r) => (0..len)
            .map(|i| columns[*c][(from + i).wrapping_add_signed(*r as isize) % ROWS])
            .collect(),
        Tree::One => vec![Fp::ONE; len],
        Tree::Add(a, b) => {
            let mut a = chunk(a, columns, from, len);
            let b = chunk(b, columns, from, len);
            a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
            a
        }
        Tree::Mul(a, b) => {
            let mut a = chunk(a, columns, from, len);
            let b = chunk(b, columns, from, len);
            a.iter_mut().zip(&b).for_each(|(a, b)| *a *= b);
            a
        }
        Tree::Scale(a, c) => {
            let mut a = chunk(a, columns, from, len);
            a.iter_mut().for_each(|a| *a *= c);
            a
        }
    }
}

/// halo2 cuts columns into four chunks per thread.
fn by_tree(gates: &[(usize, Tree)], columns: &[Vec<Fp>], y: Fp) -> Vec<Fp> {
    let mut out = Vec::with_capacity(ROWS);
    let len = ROWS / 4;
    for from in (0..ROWS).step_by(len) {
        let mut sum = vec![Fp::ZERO; len];
        for (selector, rest) in gates {
            let mut v = chunk(&col(*selector), columns, from, len);
            let rest = chunk(rest, columns, from, len);
            v.iter_mut().zip(&rest).for_each(|(a, b)| *a *= b);
            sum.iter_mut().zip(&v).for_each(|(s, v)| *s = *s * y + v);
        }
        out.extend(sum);
    }
    out
}

fn id(b: &mut Builder, tree: &Tree) -> Id {
    match tree {
        Tree::Column(c, r) => b.column(*c, *r),
        Tree::One => b.constant(Fp::ONE),
        Tree::Add(x, y) => {
            let (x, y) = (id(b, x), id(b, y));
            b.add(x, y)
        }
        Tree::Mul(x, y) => {
            let (x, y) = (id(b, x), id(b, y));
            b.mul(x, y)
        }
        Tree::Scale(x, c) => {
            let x = id(b, x);
            b.scale(x, *c)
        }
    }
}

fn compile(gates: &[(usize, Tree)]) -> Program {
    let mut b = Builder::new(2);
    let list: Vec<Gate> = gates
        .iter()
        .map(|(selector, rest)| Gate {
            factor: Some(b.column(*selector, 0)),
            rest: id(&mut b, rest),
        })
        .collect();
    let y = b.challenge(0);
    let mut powers = vec![b.constant(Fp::ONE)];
    for i in 1..list.len() {
        powers.push(b.mul(powers[i - 1], y));
    }
    powers.reverse();
    let all = b.combine(&list, &powers);
    b.compile(&[all])
}

fn by_program<B: Backend>(
    c: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    backend: B,
    program: &Program,
    columns: &[Vec<Fp>],
    y: Fp,
    expected: &[Fp],
) {
    let lanes = B::Scalar::LANES;
    let m = ROWS / lanes;
    let columns: Vec<Vec<B::Scalar>> = columns
        .iter()
        .map(|c| {
            (0..m)
                .map(|b| B::Scalar::from_fn(|lane| c[lane * m + b]))
                .collect()
        })
        .collect();
    let columns: Vec<&[B::Scalar]> = columns.iter().map(|c| c.as_slice()).collect();
    let prepared = program.prepare(backend, &[y]);
    let mut out = vec![B::Scalar::zero(); m];
    run_rows(backend, program, &prepared, &columns, 0..m, &mut [&mut out]);
    let mut first = vec![Fp::ZERO; lanes];
    out[0].store(&mut first);
    assert_eq!(first[0], expected[0]);
    c.bench_function(BenchmarkId::new(name, B::NAME), |bench| {
        bench.iter(|| {
            let columns = black_box(&columns);
            run_rows(backend, program, &prepared, columns, 0..m, &mut [&mut out]);
        })
    });
}

fn bench(c: &mut Criterion) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for lanes in [3usize, 9] {
        let gates = gates(lanes);
        let columns: Vec<Vec<Fp>> = (0..4 + 4 * lanes)
            .map(|_| (0..ROWS).map(|_| Fp::random(&mut rng)).collect())
            .collect();
        let y = Fp::random(&mut rng);
        let program = compile(&gates);
        println!("{} gates, {:?}", gates.len(), program.cost());
        let expected = by_tree(&gates, &columns, y);
        let name = format!("{lanes} lanes, 2^12 rows");
        let mut group = c.benchmark_group("gates");
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(BenchmarkId::new(&name, "tree"), |bench| {
            bench.iter(|| by_tree(&gates, black_box(&columns), y))
        });
        by_program(
            &mut group, &name, Portable, &program, &columns, y, &expected,
        );
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = zkinfer_kernels::vector::Ifma::detect() {
            by_program(&mut group, &name, ifma, &program, &columns, y, &expected);
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = bench
}
criterion_main!(benches);
