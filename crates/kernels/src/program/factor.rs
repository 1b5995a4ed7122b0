//! Algebra that saves multiplications, on [`Atoms`].

use super::atoms::{Atom, AtomId, Atoms, Term};
use super::{Scalar, Value};
use ff::Field;
use std::collections::{BTreeMap, HashMap};

/// All of it.
pub(super) fn optimise(atoms: &mut Atoms) {
    let sums = atoms.atoms.len();
    let uses = atoms.uses();
    for atom in 0..sums {
        edit(atoms, atom, |atoms, terms| distribute(atoms, &uses, terms));
    }
    for atom in 0..atoms.atoms.len() {
        edit(atoms, atom, absorb_scales);
    }
    let mut atom = 0;
    while atom < atoms.atoms.len() {
        edit(atoms, atom, group_scales);
        atom += 1;
    }
    share_pairs(atoms);
    let mut atom = 0;
    while atom < atoms.atoms.len() {
        edit(atoms, atom, extract_factors);
        atom += 1;
    }
}

fn edit(atoms: &mut Atoms, atom: usize, change: impl FnOnce(&mut Atoms, Vec<Term>) -> Vec<Term>) {
    if let Atom::Sum(terms) = &mut atoms.atoms[atom] {
        let terms = std::mem::take(terms);
        let terms = change(atoms, terms);
        atoms.atoms[atom] = Atom::Sum(atoms.merged(terms));
    }
}

/// Equal for `c` and `−c`; `None` if additions do for it.
fn class(atoms: &mut Atoms, scale: Value) -> Option<Value> {
    if atoms.values.small(scale).is_some() {
        return None;
    }
    let minus = atoms.values.intern(-atoms.values.get(scale));
    Some(scale.min(minus))
}

/// `w₀·(c·v₀ + r₀) + w₁·(c·v₁ + r₁) + …` becomes `c·(w₀·v₀ + w₁·v₁ + …) + w₀·r₀ + w₁·r₁ + …`: products in a wide sum instead
/// of multiplications by a constant. This opens the brackets; [`group_scales`] does the rest.
fn distribute(atoms: &mut Atoms, uses: &[u32], terms: Vec<Term>) -> Vec<Term> {
    let mut classes: HashMap<Value, usize> = HashMap::new();
    let mut plans = Vec::with_capacity(terms.len());
    for term in &terms {
        if let Some(c) = class(atoms, term.scale) {
            *classes.entry(c).or_default() += 1;
        }
        let plan = open(atoms, uses, term);
        if let Some((_, c, _, _)) = &plan {
            *classes.entry(*c).or_default() += 1;
        }
        plans.push(plan);
    }
    let mut out = Vec::with_capacity(terms.len());
    for (term, plan) in terms.into_iter().zip(plans) {
        match plan {
            Some((at, c, scaled, plain)) if classes[&c] >= 2 => {
                for (scale, part) in [(Some(c), scaled), (None, plain)] {
                    if part.is_empty() {
                        continue;
                    }
                    let mut factors = term.factors.clone();
                    factors[at] = atoms.materialise(part);
                    factors.sort_unstable();
                    let scale = match scale {
                        Some(c) => atoms.values.get(c) * atoms.values.get(term.scale),
                        None => atoms.values.get(term.scale),
                    };
                    let scale = atoms.values.intern(scale);
                    out.push(Term { scale, factors });
                }
            }
            _ => out.push(term),
        }
    }
    out
}

/// Which factor of a product is `c·scaled + plain`, linear and used only here.
fn open(
    atoms: &mut Atoms,
    uses: &[u32],
    term: &Term,
) -> Option<(usize, Value, Vec<Term>, Vec<Term>)> {
    if term.factors.len() < 2 {
        return None;
    }
    for (at, &factor) in term.factors.iter().enumerate() {
        let Atom::Sum(inner) = &atoms.atoms[factor as usize] else {
            continue;
        };
        if uses.get(factor as usize) != Some(&1) || inner.iter().any(|t| t.factors.len() != 1) {
            continue;
        }
        let inner = inner.clone();
        let (mut scaled, mut plain) = (Vec::new(), Vec::new());
        let mut common = None;
        let mut fits = true;
        for t in inner {
            match class(atoms, t.scale) {
                None => plain.push(t),
                Some(c) => {
                    fits &= *common.get_or_insert(c) == c;
                    let scale = if t.scale == c {
                        atoms.one
                    } else {
                        atoms.minus_one
                    };
                    scaled.push(Term {
                        scale,
                        factors: t.factors,
                    });
                }
            }
        }
        if let (Some(c), true) = (common, fits) {
            return Some((at, c, scaled, plain));
        }
    }
    None
}

/// Constants and scalars of a product become one scalar.
fn absorb_scales(atoms: &mut Atoms, terms: Vec<Term>) -> Vec<Term> {
    terms
        .into_iter()
        .map(|term| {
            let scalar = |f: AtomId| match atoms.atoms[f as usize] {
                Atom::Uniform(s) => Some(s),
                _ => None,
            };
            let scalars: Vec<u32> = term.factors.iter().filter_map(|&f| scalar(f)).collect();
            let mut factors: Vec<AtomId> = term
                .factors
                .iter()
                .copied()
                .filter(|&f| scalar(f).is_none())
                .collect();
            let sign = term.scale == atoms.one || term.scale == atoms.minus_one;
            let Some((&first, rest)) = scalars.split_first() else {
                if factors.is_empty() {
                    return Term {
                        scale: atoms.one,
                        factors: vec![atoms.constant(term.scale)],
                    };
                }
                return term;
            };
            let product = rest
                .iter()
                .fold(first, |a, &b| atoms.scalar(Scalar::Mul(a, b)));
            let (scale, product) = if sign {
                (term.scale, product)
            } else {
                let c = atoms.scalar(Scalar::Constant(term.scale));
                (atoms.one, atoms.scalar(Scalar::Mul(product, c)))
            };
            factors.push(atoms.intern(Atom::Uniform(product)));
            factors.sort_unstable();
            Term { scale, factors }
        })
        .collect()
}

/// Terms with the same constant are added up before they are multiplied by it. Afterwards all scales are signs, or at most
/// 4 in terms of one factor.
fn group_scales(atoms: &mut Atoms, terms: Vec<Term>) -> Vec<Term> {
    let mut groups: BTreeMap<Value, Vec<Term>> = BTreeMap::new();
    let mut out = Vec::with_capacity(terms.len());
    for term in terms {
        let sign = term.scale == atoms.one || term.scale == atoms.minus_one;
        let small = atoms.values.small(term.scale).is_some();
        if sign || small && term.factors.len() == 1 {
            out.push(term);
            continue;
        }
        let minus = atoms.values.intern(-atoms.values.get(term.scale));
        let c = term.scale.min(minus);
        let scale = if c == term.scale {
            atoms.one
        } else {
            atoms.minus_one
        };
        groups.entry(c).or_default().push(Term {
            scale,
            factors: term.factors,
        });
    }
    for (c, mut group) in groups {
        let constant = atoms.constant(c);
        let mut term = match group.len() {
            1 => group.remove(0),
            _ => Term {
                scale: atoms.one,
                factors: vec![atoms.materialise(group)],
            },
        };
        term.factors.push(constant);
        term.factors.sort_unstable();
        out.push(term);
    }
    out
}

/// Names products of two atoms that occur in several terms, the most frequent first.
fn share_pairs(atoms: &mut Atoms) {
    // (sum, term) of every product, so that a round only looks at those.
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (i, atom) in atoms.atoms.iter().enumerate() {
        if let Atom::Sum(terms) = atom {
            let products = terms
                .iter()
                .enumerate()
                .filter(|(_, t)| t.factors.len() > 1);
            places.extend(products.map(|(j, _)| (i, j)));
        }
    }
    loop {
        let mut counts: HashMap<(AtomId, AtomId), usize> = HashMap::new();
        for &(i, j) in &places {
            for pair in pairs(atoms, i, j) {
                *counts.entry(pair).or_default() += 1;
            }
        }
        let best = counts
            .into_iter()
            .filter(|&(_, count)| count >= 2)
            .max_by_key(|&(pair, count)| (count, std::cmp::Reverse(pair)));
        let Some(((a, b), _)) = best else { return };
        // Not interned: an equal sum may be among those that are rewritten, and must not become its own operand.
        let scale = atoms.one;
        atoms.atoms.push(Atom::Sum(vec![Term {
            scale,
            factors: vec![a, b],
        }]));
        let product = (atoms.atoms.len() - 1) as AtomId;
        for &(i, j) in &places {
            let Atom::Sum(terms) = &mut atoms.atoms[i] else {
                continue;
            };
            let factors = &mut terms[j].factors;
            let Some(x) = factors.iter().position(|&f| f == a) else {
                continue;
            };
            let Some(y) = factors
                .iter()
                .enumerate()
                .position(|(y, &f)| f == b && y != x)
            else {
                continue;
            };
            factors.remove(x.max(y));
            factors.remove(x.min(y));
            factors.push(product);
        }
        places.retain(|&(i, j)| match &atoms.atoms[i] {
            Atom::Sum(terms) => terms[j].factors.len() > 1,
            _ => false,
        });
    }
}

/// The distinct pairs of factors of a product; scalars are left out, they are shared by factor extraction.
fn pairs(atoms: &Atoms, sum: usize, term: usize) -> Vec<(AtomId, AtomId)> {
    let Atom::Sum(terms) = &atoms.atoms[sum] else {
        return Vec::new();
    };
    let mut factors: Vec<AtomId> = terms[term].factors.clone();
    factors.retain(|&f| !matches!(atoms.atoms[f as usize], Atom::Uniform(_)));
    factors.sort_unstable();
    let mut out = Vec::new();
    for (i, &a) in factors.iter().enumerate() {
        out.extend(factors[i + 1..].iter().map(|&b| (a, b)));
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// `f·a + f·b + r` becomes `f·(a + b) + r`, for the most frequent factor first.
fn extract_factors(atoms: &mut Atoms, mut terms: Vec<Term>) -> Vec<Term> {
    loop {
        terms = atoms.merged(terms);
        let mut counts: HashMap<AtomId, usize> = HashMap::new();
        for term in terms.iter().filter(|t| t.factors.len() > 1) {
            let mut factors = term.factors.clone();
            factors.sort_unstable();
            factors.dedup();
            for f in factors {
                *counts.entry(f).or_default() += 1;
            }
        }
        let best = counts
            .into_iter()
            .filter(|&(_, count)| count >= 2)
            .max_by_key(|&(f, count)| (count, std::cmp::Reverse(f)));
        let Some((factor, _)) = best else {
            return terms;
        };
        let (mut inner, mut rest) = (Vec::new(), Vec::new());
        for mut term in terms {
            match term.factors.iter().position(|&f| f == factor) {
                Some(at) if term.factors.len() > 1 => {
                    term.factors.remove(at);
                    inner.push(term);
                }
                _ => rest.push(term),
            }
        }
        let sum = atoms.materialise(inner);
        if !is_zero(atoms, sum) {
            rest.push(Term {
                scale: atoms.one,
                factors: vec![factor.min(sum), factor.max(sum)],
            });
        }
        terms = rest;
    }
}

fn is_zero(atoms: &Atoms, atom: AtomId) -> bool {
    match atoms.atoms[atom as usize] {
        Atom::Uniform(s) => match atoms.scalars[s as usize] {
            Scalar::Constant(v) => atoms.values.get(v).is_zero_vartime(),
            _ => false,
        },
        _ => false,
    }
}
