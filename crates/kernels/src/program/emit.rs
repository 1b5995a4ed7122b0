//! From sums of products to instructions: order, signs, bounds and registers.

use super::atoms::{Atom, AtomId, Atoms, Term};
use super::{Op, Operand, Product, Program, Scalar, Span};
use crate::vector::{MAX_BOUND, MAX_PRODUCT, MAX_TERMS, MAX_WIDE};
use std::collections::HashMap;

/// Registers that may wait for a wide sum before it is begun in memory: bounds the number of live registers.
const WAITING: usize = 8;
/// Largest bound of each half of a difference, so that the difference (plus a product) fits.
const HALF_BOUND: u64 = MAX_BOUND / 2 - 2;

/// A place and its bound.
#[derive(Clone, Copy, Debug)]
struct Held {
    at: Operand,
    bound: u64,
}

struct Emitter {
    atoms: Atoms,
    uses: Vec<u32>,
    done: HashMap<(AtomId, bool), Held>,
    splats: HashMap<(u32, bool), u32>,
    program: Program,
    /// Wide registers in use.
    wides: u32,
}

pub(super) fn emit(atoms: Atoms) -> Program {
    let program = Program {
        ops: Vec::new(),
        operands: Vec::new(),
        pairs: Vec::new(),
        queries: Vec::new(),
        scalars: Vec::new(),
        splats: Vec::new(),
        values: Default::default(),
        registers: 0,
        wides: 0,
        outputs: atoms.outputs.len(),
    };
    let mut emitter = Emitter {
        uses: atoms.uses(),
        atoms,
        done: HashMap::new(),
        splats: HashMap::new(),
        program,
        wides: 0,
    };
    for index in 0..emitter.atoms.outputs.len() {
        let held = emitter.value(emitter.atoms.outputs[index], false);
        emitter.program.ops.push(Op::Output {
            index: index as u32,
            from: held.at,
            reduce: held.bound > 2,
        });
    }
    let mut program = emitter.program;
    program.queries = emitter.atoms.queries;
    program.scalars = emitter.atoms.scalars;
    program.values = emitter.atoms.values;
    allocate(&mut program);
    program
}

impl Emitter {
    /// Emits whatever is needed to have an atom, or its negative.
    fn value(&mut self, atom: AtomId, negative: bool) -> Held {
        if let Some(&held) = self.done.get(&(atom, negative)) {
            return held;
        }
        let held = match &self.atoms.atoms[atom as usize] {
            Atom::Uniform(scalar) => {
                let key = (*scalar, negative);
                let splats = &mut self.program.splats;
                let at = *self.splats.entry(key).or_insert_with(|| {
                    splats.push(key);
                    (splats.len() - 1) as u32
                });
                Held {
                    at: Operand::Splat(at),
                    bound: 1,
                }
            }
            Atom::Query(query) if !negative => Held {
                at: Operand::Query(*query),
                bound: self.atoms.column_bound,
            },
            Atom::Sum(terms) => match terms.as_slice() {
                [term] if term.factors.len() == 1 && self.sign(term).is_some() => {
                    let flip = self.sign(term) == Some(-1);
                    self.value(term.factors[0], negative ^ flip)
                }
                _ if self.done.contains_key(&(atom, !negative)) => self.negated(atom, negative),
                terms => {
                    let terms = terms.to_vec();
                    self.sum(&terms, negative)
                }
            },
            Atom::Query(_) => self.negated(atom, negative),
        };
        self.done.insert((atom, negative), held);
        held
    }

    fn sign(&self, term: &Term) -> Option<i32> {
        let small = self.atoms.values.small(term.scale)?;
        (small.abs() == 1).then_some(small)
    }

    fn negated(&mut self, atom: AtomId, negative: bool) -> Held {
        let other = self.value(atom, !negative);
        self.combine(None, true, Vec::new(), vec![other])
    }

    /// Whether the negative of an atom costs nothing.
    fn flips(&self, atom: AtomId) -> bool {
        match &self.atoms.atoms[atom as usize] {
            Atom::Uniform(_) => true,
            Atom::Query(_) => self.done.contains_key(&(atom, true)),
            Atom::Sum(_) => {
                self.done.contains_key(&(atom, true))
                    || self.uses[atom as usize] == 1 && !self.done.contains_key(&(atom, false))
            }
        }
    }

    /// `±Σ terms`.
    fn sum(&mut self, terms: &[Term], negative: bool) -> Held {
        let mut products: Vec<(bool, Vec<AtomId>)> = Vec::new();
        let mut linear: Vec<(i32, AtomId)> = Vec::new();
        for term in terms {
            let small = self.atoms.values.small(term.scale);
            match (small, term.factors.as_slice()) {
                (Some(times), [factor]) => {
                    linear.push((if negative { -times } else { times }, *factor))
                }
                (Some(times @ (1 | -1)), [_, _, ..]) => {
                    products.push(((times < 0) ^ negative, term.factors.clone()));
                }
                _ => {
                    let constant = self.atoms.scalar(Scalar::Constant(term.scale));
                    let constant = self.atoms.intern(Atom::Uniform(constant));
                    self.uses.resize(self.atoms.atoms.len(), 2);
                    if term.factors.is_empty() {
                        linear.push((if negative { -1 } else { 1 }, constant));
                    } else {
                        let mut factors = term.factors.clone();
                        factors.push(constant);
                        products.push((negative, factors));
                    }
                }
            }
        }
        // All products enter one wide sum with one sign; choose the one that needs fewer negations.
        let costly = |wanted: bool| {
            let others = products.iter().filter(|(sign, _)| *sign != wanted);
            others
                .filter(|(_, f)| !f.iter().any(|&f| self.flips(f)))
                .count()
        };
        let sign = costly(true) < costly(false);

        let mut plus = Vec::new();
        let mut minus = Vec::new();
        let mut wide = Wide::default();
        for (negative, factors) in products {
            let flip = negative != sign;
            let flipped = flip.then(|| {
                let free = factors.iter().position(|&f| self.flips(f));
                free.unwrap_or(0)
            });
            let mut held: Vec<Held> = factors
                .iter()
                .enumerate()
                .map(|(i, &f)| self.value(f, flipped == Some(i)))
                .collect();
            // Scalars last: products of columns may be shared.
            held.sort_by_key(|h| matches!(h.at, Operand::Splat(_)));
            while held.len() > 2 {
                let (a, b) = (held.remove(0), held.remove(0));
                let product = self.product(a, b);
                held.insert(0, product);
            }
            if let [a, b] = held[..]
                && let Some(full) = self.push_pair(&mut wide, a, b)
            {
                let held = self.combine(Some(full), false, Vec::new(), Vec::new());
                if sign { &mut minus } else { &mut plus }.push(held);
            }
        }
        for (times, atom) in linear {
            let held = self.value(atom, false);
            let list = if times < 0 { &mut minus } else { &mut plus };
            list.extend(std::iter::repeat_n(held, times.unsigned_abs() as usize));
        }
        let product = (wide.count > 0).then_some(wide);
        self.combine(product, sign, plus, minus)
    }

    fn product(&mut self, a: Held, b: Held) -> Held {
        let mut wide = Wide::default();
        let full = self.push_pair(&mut wide, a, b);
        debug_assert!(full.is_none());
        self.combine(Some(wide), false, Vec::new(), Vec::new())
    }

    /// Adds a product to a wide sum; if the sum was full, it is given back and a new one begun.
    fn push_pair(&mut self, wide: &mut Wide, mut a: Held, mut b: Held) -> Option<Wide> {
        while a.bound * b.bound > MAX_WIDE || a.bound.max(b.bound) > MAX_PRODUCT {
            let larger = if a.bound >= b.bound { &mut a } else { &mut b };
            *larger = self.reduced(*larger);
        }
        let bound = a.bound * b.bound;
        let full = (wide.bound + bound > MAX_WIDE || wide.count as u64 == MAX_TERMS)
            .then(|| std::mem::take(wide));
        wide.bound += bound;
        wide.count += 1;
        wide.pairs.push((a, b));
        let waiting = |h: &Held| matches!(h.at, Operand::Register(_));
        let registers = wide.pairs.iter().filter(|(a, b)| waiting(a) || waiting(b));
        if full.is_none() && registers.count() >= WAITING {
            let first = wide.register.is_none();
            let register = *wide.register.get_or_insert_with(|| {
                self.wides += 1;
                self.wides - 1
            });
            self.program.wides = self.program.wides.max(self.wides as usize);
            let pairs = self.pairs(&std::mem::take(&mut wide.pairs));
            self.program.ops.push(Op::Partial {
                wide: register,
                first,
                pairs,
            });
        }
        full
    }

    fn pairs(&mut self, pairs: &[(Held, Held)]) -> Span {
        let start = self.program.pairs.len() as u32;
        let pairs = pairs.iter().map(|(a, b)| (a.at, b.at));
        self.program.pairs.extend(pairs);
        (start, self.program.pairs.len() as u32)
    }

    fn operands(&mut self, list: &[Held]) -> Span {
        let start = self.program.operands.len() as u32;
        self.program.operands.extend(list.iter().map(|h| h.at));
        (start, self.program.operands.len() as u32)
    }

    fn reduced(&mut self, held: Held) -> Held {
        if held.bound <= 2 {
            return held;
        }
        self.push(Product::None, false, &[held], &[], 2, true)
    }

    /// Adds up a list until its bound is at most `limit`.
    fn shortened(&mut self, mut list: Vec<Held>, limit: u64) -> (Vec<Held>, u64) {
        loop {
            let total: u64 = list.iter().map(|h| h.bound).sum();
            if total <= limit {
                return (list, total);
            }
            let mut prefix = 0;
            let mut bound = 0;
            while prefix < list.len() && bound + list[prefix].bound <= MAX_BOUND {
                bound += list[prefix].bound;
                prefix += 1;
            }
            let sum = self.push(Product::None, false, &list[..prefix], &[], 2, true);
            // At the end: progress even if what follows is large.
            list.drain(..prefix);
            list.push(sum);
        }
    }

    /// `±product + Σ plus − Σ minus`.
    fn combine(
        &mut self,
        product: Option<Wide>,
        negative: bool,
        plus: Vec<Held>,
        minus: Vec<Held>,
    ) -> Held {
        let (plus, plus_bound) = self.shortened(plus, HALF_BOUND);
        let (minus, minus_bound) = self.shortened(minus, HALF_BOUND);
        let product_bound = if product.is_some() { 2 } else { 0 };
        let (mut added, mut taken) = (plus_bound, minus_bound);
        if negative {
            taken += product_bound;
        } else {
            added += product_bound;
        }
        let multiple = if taken <= 4 { 4 } else { MAX_BOUND / 2 };
        added = added.max(1);
        if taken > 0 {
            added += multiple;
        }
        let product = match product {
            None => Product::None,
            Some(wide) => match (wide.register, wide.pairs.as_slice()) {
                (None, [(a, b)]) if wide.bound <= MAX_PRODUCT => {
                    if a.at == b.at {
                        Product::Square(a.at)
                    } else {
                        Product::One(a.at, b.at)
                    }
                }
                _ => {
                    if wide.register.is_some() {
                        self.wides -= 1;
                    }
                    Product::Wide(wide.register, self.pairs(&wide.pairs))
                }
            },
        };
        let mut held = self.push(product, negative, &plus, &minus, multiple, false);
        held.bound = added;
        held
    }

    fn push(
        &mut self,
        product: Product,
        negative: bool,
        plus: &[Held],
        minus: &[Held],
        multiple: u64,
        reduce: bool,
    ) -> Held {
        let plus = self.operands(plus);
        let minus = self.operands(minus);
        let to = self.program.registers as u32;
        self.program.registers += 1;
        self.program.ops.push(Op::Combine {
            to,
            product,
            negative,
            plus,
            minus,
            multiple: multiple as u8,
            reduce,
        });
        Held {
            at: Operand::Register(to),
            bound: 2,
        }
    }
}

/// A wide sum that is being collected.
#[derive(Default)]
struct Wide {
    register: Option<u32>,
    pairs: Vec<(Held, Held)>,
    bound: u64,
    count: usize,
}

/// Every register is written once so far; gives each the lowest number that is free while it lives.
fn allocate(program: &mut Program) {
    let mut last = vec![0usize; program.registers];
    for (i, op) in program.ops.iter().enumerate() {
        each_operand(op, &program.operands, &program.pairs, |operand| {
            if let Operand::Register(r) = operand {
                last[r as usize] = i;
            }
        });
    }
    let mut ending: Vec<Vec<u32>> = vec![Vec::new(); program.ops.len()];
    for (r, &end) in last.iter().enumerate() {
        ending[end].push(r as u32);
    }
    let mut physical = vec![0u32; program.registers];
    let mut free = std::collections::BinaryHeap::new();
    let mut count = 0u32;
    for (i, op) in program.ops.iter_mut().enumerate() {
        // Operands are read before the result is written, so that their registers are free for it.
        free.extend(
            ending[i]
                .iter()
                .map(|&r| std::cmp::Reverse(physical[r as usize])),
        );
        if let Op::Combine { to, .. } = op {
            let register = free.pop().map_or_else(
                || {
                    count += 1;
                    count - 1
                },
                |r| r.0,
            );
            physical[*to as usize] = register;
            *to = register;
        }
    }
    let rename = |operand: &mut Operand| {
        if let Operand::Register(r) = operand {
            *r = physical[*r as usize];
        }
    };
    program.operands.iter_mut().for_each(rename);
    for (a, b) in &mut program.pairs {
        rename(a);
        rename(b);
    }
    for op in &mut program.ops {
        match op {
            Op::Combine { product, .. } => match product {
                Product::One(a, b) => {
                    rename(a);
                    rename(b);
                }
                Product::Square(a) => rename(a),
                Product::None | Product::Wide(..) => {}
            },
            Op::Output { from, .. } => rename(from),
            Op::Partial { .. } => {}
        }
    }
    program.registers = count as usize;
}

fn each_operand(
    op: &Op,
    operands: &[Operand],
    pairs: &[(Operand, Operand)],
    mut f: impl FnMut(Operand),
) {
    let mut all_pairs = |span: Span| {
        for &(a, b) in &pairs[span.0 as usize..span.1 as usize] {
            f(a);
            f(b);
        }
    };
    match *op {
        Op::Combine {
            product,
            plus,
            minus,
            ..
        } => {
            match product {
                Product::None => {}
                Product::One(a, b) => {
                    f(a);
                    f(b);
                }
                Product::Square(a) => f(a),
                Product::Wide(_, span) => all_pairs(span),
            }
            for span in [plus, minus] {
                for &operand in &operands[span.0 as usize..span.1 as usize] {
                    f(operand);
                }
            }
        }
        Op::Partial { pairs, .. } => all_pairs(pairs),
        Op::Output { from, .. } => f(from),
    }
}
