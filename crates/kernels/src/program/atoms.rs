//! From a tree of binary operations to sums of products of *atoms*: cells, scalars and other sums.

use super::{Builder, Id, Node, Scalar, Value, Values};
use ff::Field;
use pasta_curves::Fp;
use std::collections::HashMap;

/// Index of an atom.
pub(super) type AtomId = u32;

/// `scale · Π factors`, factors sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Term {
    pub scale: Value,
    pub factors: Vec<AtomId>,
}

/// Something that is computed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Atom {
    /// A cell.
    Query(u32),
    /// A scalar.
    Uniform(u32),
    /// A sum of products.
    Sum(Vec<Term>),
}

/// Products are flattened up to this many factors.
const FACTORS: usize = 8;

/// All atoms of a program.
#[derive(Debug)]
pub(super) struct Atoms {
    pub atoms: Vec<Atom>,
    known: HashMap<Atom, AtomId>,
    pub queries: Vec<(u32, i32)>,
    pub scalars: Vec<Scalar>,
    known_scalars: HashMap<Scalar, u32>,
    pub values: Values,
    pub one: Value,
    pub minus_one: Value,
    pub outputs: Vec<AtomId>,
    pub column_bound: u64,
}

impl Atoms {
    pub fn new(mut builder: Builder, outputs: &[Id]) -> Atoms {
        let nodes = std::mem::take(&mut builder.nodes);
        let mut values = std::mem::take(&mut builder.values);
        let mut atoms = Atoms {
            one: values.intern(Fp::ONE),
            minus_one: values.intern(-Fp::ONE),
            atoms: Vec::new(),
            known: HashMap::new(),
            queries: Vec::new(),
            scalars: Vec::new(),
            known_scalars: HashMap::new(),
            values,
            outputs: Vec::new(),
            column_bound: builder.column_bound,
        };
        let uses = count_uses(&nodes, outputs);
        let mut forms: Vec<Vec<Term>> = vec![Vec::new(); nodes.len()];
        // The scalar of nodes that depend on no column.
        let mut uniform: Vec<Option<u32>> = vec![None; nodes.len()];
        for (i, node) in nodes.iter().enumerate() {
            if uses[i] == 0 {
                continue;
            }
            uniform[i] = atoms.scalar_node(node, &uniform);
            forms[i] = match (node, uniform[i]) {
                (Node::Constant(v), _) => atoms.term(*v, Vec::new()),
                (_, Some(scalar)) => {
                    let atom = atoms.intern(Atom::Uniform(scalar));
                    atoms.term(atoms.one, vec![atom])
                }
                (node, None) => atoms.form(node, uses[i], &uses, &mut forms),
            };
        }
        for output in outputs {
            let terms = take(&mut forms, &uses, *output);
            let atom = atoms.materialise(terms);
            atoms.outputs.push(atom);
        }
        atoms
    }

    fn term(&self, scale: Value, factors: Vec<AtomId>) -> Vec<Term> {
        vec![Term { scale, factors }]
    }

    fn scalar_node(&mut self, node: &Node, uniform: &[Option<u32>]) -> Option<u32> {
        let at = |id: &Id| uniform[id.0 as usize];
        let scalar = match node {
            Node::Constant(v) => Scalar::Constant(*v),
            Node::Challenge(c) => Scalar::Challenge(*c),
            Node::Column(..) => return None,
            Node::Add(a, b) => Scalar::Add(at(a)?, at(b)?),
            Node::Mul(a, b) => Scalar::Mul(at(a)?, at(b)?),
            Node::Scale(a, c) => {
                let a = at(a)?;
                Scalar::Mul(a, self.scalar(Scalar::Constant(*c)))
            }
        };
        Some(self.scalar(scalar))
    }

    /// The number of a scalar.
    pub fn scalar(&mut self, scalar: Scalar) -> u32 {
        let scalars = &mut self.scalars;
        *self.known_scalars.entry(scalar).or_insert_with(|| {
            scalars.push(scalar);
            (scalars.len() - 1) as u32
        })
    }

    /// The number of an atom.
    pub fn intern(&mut self, atom: Atom) -> AtomId {
        if let Some(&id) = self.known.get(&atom) {
            return id;
        }
        self.atoms.push(atom.clone());
        let id = (self.atoms.len() - 1) as AtomId;
        self.known.insert(atom, id);
        id
    }

    /// A node that depends on columns, as a sum of products. A node that is used more than once is one term, so that
    /// nothing is computed twice.
    fn form(&mut self, node: &Node, uses: u32, all: &[u32], forms: &mut [Vec<Term>]) -> Vec<Term> {
        match *node {
            Node::Constant(_) | Node::Challenge(_) => Vec::new(), // uniform
            Node::Column(column, rotation) => {
                self.queries.push((column, rotation));
                let atom = self.intern(Atom::Query((self.queries.len() - 1) as u32));
                self.term(self.one, vec![atom])
            }
            Node::Add(a, b) => {
                let (mut a, mut b) = (take(forms, all, a), take(forms, all, b));
                if a.len() < b.len() {
                    std::mem::swap(&mut a, &mut b);
                }
                a.append(&mut b);
                if uses == 1 {
                    return a;
                }
                let atom = self.materialise(a);
                self.term(self.one, vec![atom])
            }
            Node::Scale(a, c) => {
                let mut terms = take(forms, all, a);
                if uses > 1 && terms.len() > 1 {
                    let atom = self.materialise(terms);
                    terms = self.term(self.one, vec![atom]);
                }
                let c = self.values.get(c);
                for term in &mut terms {
                    term.scale = self.values.intern(self.values.get(term.scale) * c);
                }
                let costly = terms.len() == 1 && self.values.small(terms[0].scale).is_none();
                if uses > 1 && costly {
                    let atom = self.materialise(terms);
                    terms = self.term(self.one, vec![atom]);
                }
                terms
            }
            Node::Mul(a, b) => {
                let mut a = self.single(take(forms, all, a));
                let mut b = self.single(take(forms, all, b));
                if a.factors.len() + b.factors.len() > FACTORS {
                    for side in [&mut a, &mut b] {
                        if side.factors.len() >= FACTORS / 2 {
                            *side = Term {
                                factors: vec![self.materialise(vec![side.clone()])],
                                scale: self.one,
                            };
                        }
                    }
                }
                let scale = self.values.get(a.scale) * self.values.get(b.scale);
                let mut factors = a.factors;
                factors.append(&mut b.factors);
                factors.sort_unstable();
                let scale = self.values.intern(scale);
                self.term(scale, factors)
            }
        }
    }

    fn single(&mut self, mut terms: Vec<Term>) -> Term {
        match terms.pop() {
            Some(term) if terms.is_empty() => term,
            last => {
                terms.extend(last);
                Term {
                    scale: self.one,
                    factors: vec![self.materialise(terms)],
                }
            }
        }
    }

    /// An atom for a sum of products.
    pub fn materialise(&mut self, terms: Vec<Term>) -> AtomId {
        let terms = self.merged(terms);
        match terms.as_slice() {
            [] => {
                let zero = self.values.intern(Fp::ZERO);
                self.constant(zero)
            }
            [term] if term.scale == self.one && term.factors.len() == 1 => term.factors[0],
            [term] if term.factors.is_empty() => self.constant(term.scale),
            _ => self.intern(Atom::Sum(terms)),
        }
    }

    /// The atom of a constant.
    pub fn constant(&mut self, v: Value) -> AtomId {
        let scalar = self.scalar(Scalar::Constant(v));
        self.intern(Atom::Uniform(scalar))
    }

    /// The same sum with like terms added up, in the order of their first occurrence.
    pub fn merged(&mut self, terms: Vec<Term>) -> Vec<Term> {
        let mut index: HashMap<Vec<AtomId>, usize> = HashMap::with_capacity(terms.len());
        let mut out: Vec<Term> = Vec::with_capacity(terms.len());
        for term in terms {
            if let Some(&i) = index.get(&term.factors) {
                let sum = self.values.get(out[i].scale) + self.values.get(term.scale);
                out[i].scale = self.values.intern(sum);
            } else {
                index.insert(term.factors.clone(), out.len());
                out.push(term);
            }
        }
        out.retain(|t| !self.values.get(t.scale).is_zero_vartime());
        out
    }

    /// How many terms and outputs refer to each atom.
    pub fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.atoms.len()];
        let sums = self.atoms.iter().filter_map(|a| match a {
            Atom::Sum(terms) => Some(terms),
            _ => None,
        });
        for &factor in sums.flatten().flat_map(|t| &t.factors) {
            uses[factor as usize] += 1;
        }
        for &output in &self.outputs {
            uses[output as usize] += 1;
        }
        uses
    }
}

fn take(forms: &mut [Vec<Term>], uses: &[u32], id: Id) -> Vec<Term> {
    let form = &mut forms[id.0 as usize];
    if uses[id.0 as usize] == 1 {
        std::mem::take(form)
    } else {
        form.clone()
    }
}

/// How often each node is referred to from reachable ones; zero for unreachable ones.
fn count_uses(nodes: &[Node], outputs: &[Id]) -> Vec<u32> {
    let mut uses = vec![0u32; nodes.len()];
    for output in outputs {
        uses[output.0 as usize] += 1;
    }
    // Operands come before the nodes that use them.
    for (i, node) in nodes.iter().enumerate().rev() {
        if uses[i] == 0 {
            continue;
        }
        match node {
            Node::Constant(_) | Node::Challenge(_) | Node::Column(..) => {}
            Node::Add(a, b) | Node::Mul(a, b) => {
                uses[a.0 as usize] += 1;
                uses[b.0 as usize] += 1;
            }
            Node::Scale(a, _) => uses[a.0 as usize] += 1,
        }
    }
    uses
}
