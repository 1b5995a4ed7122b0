//! Decision trees as two layers of comparisons (the matrix form that Hummingbird calls GEMM).
//!
//! Every branch is a comparison of a feature with a threshold, or with each of a set of numbers; a leaf is reached where all
//! branches on its path went its way, that is where `Σ ±branch` exceeds the number of branches that have to hold minus one
//! half; the result is the sum of the reached leaves' values. Thresholds, paths and values are weights of committed linear
//! maps.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::ml::is_for_several;
use super::texts::Texts;
use super::writer::{Facts, Writer, attribute, int, text};

/// Branches times leaves of one block of trees: larger ensembles are cut into blocks.
const BLOCK: usize = 1 << 16;
/// Most branches times leaves of one tree.
const LARGEST: usize = 1 << 24;

/// What a branch asks of its feature.
#[derive(Clone, Debug)]
enum Test {
    Greater(f32),
    Less(f32),
}

/// A test, whether it is the opposite that leads to the first child, and the feature.
#[derive(Clone, Debug)]
struct Branch {
    feature: i64,
    test: Test,
    negated: bool,
}

struct Tree {
    branches: Vec<Branch>,
    leaves: Vec<Leaf>,
}

struct Leaf {
    /// (branch, whether its condition holds)
    path: Vec<(usize, bool)>,
    /// (target, value)
    values: Vec<(usize, f32)>,
}

/// A node of a tree as the file has it.
enum Place {
    Branch(Branch, [usize; 2]),
    Leaf(Vec<(usize, f32)>),
}

/// Follows a tree from its root; `None` if it is not one.
fn follow(root: usize, places: &[Place]) -> Option<Tree> {
    let mut tree = Tree {
        branches: Vec::new(),
        leaves: Vec::new(),
    };
    let mut open = vec![(root, Vec::new())];
    let mut visited = 0;
    while let Some((at, path)) = open.pop() {
        visited += 1;
        if visited > places.len() {
            // A cycle.
            return None;
        }
        match places.get(at)? {
            Place::Leaf(values) => tree.leaves.push(Leaf {
                path,
                values: values.clone(),
            }),
            Place::Branch(branch, next) => {
                let number = tree.branches.len();
                tree.branches.push(branch.clone());
                for (next, holds) in [(next[0], true), (next[1], false)] {
                    let mut path = path.clone();
                    path.push((number, holds));
                    open.push((next, path));
                }
            }
        }
        if tree.branches.len().saturating_mul(tree.leaves.len()) > LARGEST {
            return None;
        }
    }
    Some(tree)
}

/// The condition of a mode: the test and whether it is negated.
fn condition(mode: &str, value: f32) -> Option<(Test, bool)> {
    if !value.is_finite() {
        return None;
    }
    Some(match mode {
        "BRANCH_LEQ" => (Test::Greater(value), true),
        "BRANCH_LT" => (Test::Less(value), false),
        "BRANCH_GTE" => (Test::Less(value), true),
        "BRANCH_GT" => (Test::Greater(value), false),
        // Whether a number equals another cannot be told once it is rounded.
        _ => return None,
    })
}

fn ints<'n>(node: &'n NodeProto, name: &str) -> Option<&'n [i64]> {
    attribute(node, name).map(|a| a.ints.as_slice())
}

/// All trees of a `TreeEnsembleClassifier` (kind `class`) or `TreeEnsembleRegressor` (kind `target`).
fn trees(node: &NodeProto, kind: &str, targets: usize) -> Option<Vec<Tree>> {
    let floats = |name: &str| attribute(node, name).map(|a| a.floats.as_slice());
    let (tree_of, id_of) = (ints(node, "nodes_treeids")?, ints(node, "nodes_nodeids")?);
    let (feature, value) = (ints(node, "nodes_featureids")?, floats("nodes_values")?);
    let yes = ints(node, "nodes_truenodeids")?;
    let no = ints(node, "nodes_falsenodeids")?;
    let modes = &attribute(node, "nodes_modes")?.strings;
    let n = tree_of.len();
    let lengths = [
        id_of.len(),
        feature.len(),
        value.len(),
        yes.len(),
        no.len(),
        modes.len(),
    ];
    if lengths.iter().any(|&l| l != n) {
        return None;
    }
    let of = |what: &str| format!("{kind}_{what}");
    let (vt, vn) = (ints(node, &of("treeids"))?, ints(node, &of("nodeids"))?);
    let (vi, vw) = (ints(node, &of("ids"))?, floats(&of("weights"))?);
    if vt.len() != vn.len() || vt.len() != vi.len() || vt.len() != vw.len() {
        return None;
    }
    let mut values: HashMap<(i64, i64), Vec<(usize, f32)>> = HashMap::new();
    for i in 0..vt.len() {
        let target = usize::try_from(vi[i]).ok().filter(|&t| t < targets)?;
        values
            .entry((vt[i], vn[i]))
            .or_default()
            .push((target, vw[i]));
    }
    let place: HashMap<(i64, i64), usize> = (0..n).map(|i| ((tree_of[i], id_of[i]), i)).collect();
    let mut places = Vec::with_capacity(n);
    for i in 0..n {
        let key = (tree_of[i], id_of[i]);
        let mode = String::from_utf8_lossy(&modes[i]);
        if mode == "LEAF" {
            places.push(Place::Leaf(values.get(&key).cloned().unwrap_or_default()));
            continue;
        }
        let (test, negated) = condition(&mode, value[i])?;
        let next = |id: i64| place.get(&(tree_of[i], id)).copied();
        let branch = Branch {
            feature: feature[i],
            test,
            negated,
        };
        places.push(Place::Branch(branch, [next(yes[i])?, next(no[i])?]));
    }
    let mut seen: Vec<i64> = Vec::new();
    let mut out = Vec::new();
    for (root, tree) in tree_of.iter().enumerate().take(n) {
        // The first node of a tree is its root.
        if !seen.contains(tree) {
            seen.push(*tree);
            out.push(follow(root, &places)?);
        }
    }
    Some(out)
}

/// All trees of a `TreeEnsemble` (version 5 of ONNX-ML).
fn ensemble(node: &NodeProto, targets: usize) -> Option<Vec<Tree>> {
    let values = |name: &str| -> Option<Vec<f64>> {
        Some(super::writer::decode(attribute(node, name)?.t.as_ref()?)?.values)
    };
    let (feature, modes) = (ints(node, "nodes_featureids")?, values("nodes_modes")?);
    let splits = values("nodes_splits")?;
    let (yes, yes_leaf) = (
        ints(node, "nodes_truenodeids")?,
        ints(node, "nodes_trueleafs")?,
    );
    let (no, no_leaf) = (
        ints(node, "nodes_falsenodeids")?,
        ints(node, "nodes_falseleafs")?,
    );
    let (target, weights) = (ints(node, "leaf_targetids")?, values("leaf_weights")?);
    let n = feature.len();
    let lengths = [
        modes.len(),
        splits.len(),
        yes.len(),
        yes_leaf.len(),
        no.len(),
        no_leaf.len(),
    ];
    if lengths.iter().any(|&l| l != n) || target.len() != weights.len() {
        return None;
    }
    let names = [
        "BRANCH_LEQ",
        "BRANCH_LT",
        "BRANCH_GTE",
        "BRANCH_GT",
        "BRANCH_EQ",
        "BRANCH_NEQ",
        "BRANCH_MEMBER",
    ];
    // Leaves come after the branches.
    let child = |id: i64, leaf: i64| {
        let id = usize::try_from(id).ok()?;
        let (first, len) = if leaf != 0 { (n, target.len()) } else { (0, n) };
        (id < len).then_some(first + id)
    };
    let mut places = Vec::with_capacity(n + target.len());
    for i in 0..n {
        let mode = names.get(modes[i] as usize).filter(|_| modes[i] >= 0.0)?;
        let (test, negated) = condition(mode, splits[i] as f32)?;
        let branch = Branch {
            feature: feature[i],
            test,
            negated,
        };
        let next = [child(yes[i], yes_leaf[i])?, child(no[i], no_leaf[i])?];
        places.push(Place::Branch(branch, next));
    }
    for (&t, &v) in target.iter().zip(&weights) {
        let t = usize::try_from(t).ok().filter(|&t| t < targets)?;
        places.push(Place::Leaf(vec![(t, v as f32)]));
    }
    let roots = ints(node, "tree_roots")?.iter();
    roots
        .map(|&r| follow(usize::try_from(r).ok().filter(|&r| r < n)?, &places))
        .collect()
}

/// The comparisons of some branches, of one kind: `[N][columns]` of zeros and ones.
fn compared(w: &mut Writer, x: &str, op: &str, tests: &[(i64, f32)]) -> String {
    let n = tests.len();
    let features = w.indices(tests.iter().map(|t| t.0).collect());
    let thresholds = w.floats(tests.iter().map(|t| t.1).collect(), &[1, n]);
    let picked = w.op_with("Gather", &[x, &features], vec![int("axis", 1)]);
    let taken = w.op(op, &[&picked, &thresholds]);
    w.cast(&taken)
}

/// Branches and leaves of a block of trees; the sums of the reached leaves' values `[1][targets]`.
fn block(w: &mut Writer, x: &str, trees: &[Tree], targets: usize) -> Option<String> {
    let branches: Vec<&Branch> = trees.iter().flat_map(|t| &t.branches).collect();
    let leaves: usize = trees.iter().map(|t| t.leaves.len()).sum();
    // The column of every branch, kind by kind.
    let mut columns = vec![0; branches.len()];
    let (mut parts, mut count) = (Vec::new(), 0);
    for op in ["Greater", "Less"] {
        let mut tests = Vec::new();
        for (number, branch) in branches.iter().enumerate() {
            let v = match (&branch.test, op) {
                (Test::Greater(v), "Greater") | (Test::Less(v), "Less") => *v,
                _ => continue,
            };
            columns[number] = count + tests.len();
            tests.push((branch.feature, v));
        }
        if !tests.is_empty() {
            count += tests.len();
            parts.push(compared(w, x, op, &tests));
        }
    }
    if leaves.saturating_mul(targets.max(count)) > LARGEST {
        return None;
    }
    let mut values = vec![0.0f32; leaves * targets];
    let (mut paths, mut limits) = (vec![0.0f32; count * leaves], vec![-0.5f32; leaves]);
    let (mut leaf, mut first) = (0, 0);
    for tree in trees {
        for l in &tree.leaves {
            for &(branch, holds) in &l.path {
                let one = holds != branches[first + branch].negated;
                paths[columns[first + branch] * leaves + leaf] = if one { 1.0 } else { -1.0 };
                limits[leaf] += f32::from(u8::from(one));
            }
            for &(target, value) in &l.values {
                values[leaf * targets + target] += value;
            }
            leaf += 1;
        }
        first += tree.branches.len();
    }
    let values = w.floats(values, &[leaves, targets]);
    let taken = match parts.as_slice() {
        [] => {
            // Trees of one leaf each.
            let ones = w.floats(vec![1.0; leaves], &[1, leaves]);
            return Some(w.op("MatMul", &[&ones, &values]));
        }
        [one] => one.clone(),
        all => {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            w.op_with("Concat", &all, vec![int("axis", 1)])
        }
    };
    let paths = w.floats(paths, &[count, leaves]);
    let limits = w.floats(limits, &[1, leaves]);
    let steps = w.op("MatMul", &[&taken, &paths]);
    let reached = w.op("Greater", &[&steps, &limits]);
    let reached = w.cast(&reached);
    Some(w.op("MatMul", &[&reached, &values]))
}

/// A `TreeEnsemble`'s numbers for what the older operators write out.
fn named(node: &NodeProto, name: &str, names: &[&str], default: i64) -> Option<String> {
    let number = attribute(node, name).map_or(default, |a: &AttributeProto| a.i);
    names
        .get(usize::try_from(number).ok()?)
        .map(|s| (*s).into())
}

pub(in crate::onnx) fn rewrite(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let classifier = node.op_type == "TreeEnsembleClassifier";
    let x = w.cast(node.input.first()?);
    let ids: Vec<i64> = attribute(node, "classlabels_int64s")
        .map(|a| a.ints.clone())
        .unwrap_or_default();
    let names = attribute(node, "classlabels_strings").map_or(0, |a| a.strings.len());
    let (kind, targets) = if classifier {
        ("class", ids.len().max(names))
    } else {
        let targets = attribute(node, "n_targets").map_or(1, |a| a.i);
        ("target", usize::try_from(targets).ok()?)
    };
    if targets == 0 || targets > 4096 {
        return None;
    }
    let newer = node.op_type == "TreeEnsemble";
    let (all, aggregate, transform) = if newer {
        (
            ensemble(node, targets)?,
            named(
                node,
                "aggregate_function",
                &["AVERAGE", "SUM", "MIN", "MAX"],
                1,
            )?,
            named(node, "post_transform", &["NONE", "SOFTMAX", "LOGISTIC"], 0)?,
        )
    } else {
        let (aggregate, transform) = ("aggregate_function", "post_transform");
        (
            trees(node, kind, targets)?,
            text(node, aggregate),
            text(node, transform),
        )
    };
    let count = all.len();
    let extreme = match aggregate.as_str() {
        "MIN" => Some("Min"),
        "MAX" => Some("Max"),
        "" | "SUM" | "AVERAGE" => None,
        _ => return None,
    };
    if extreme.is_some() && targets > 1 {
        return None;
    }
    let (mut sums, mut from) = (Vec::new(), 0);
    while from < count {
        let (mut branches, mut leaves, mut to) = (0, 0, from);
        while to < count {
            branches += all[to].branches.len();
            leaves += all[to].leaves.len();
            let full = branches * leaves > BLOCK || extreme.is_some();
            if to > from && full {
                break;
            }
            to += 1;
        }
        sums.push(block(w, &x, &all[from..to], targets)?);
        from = to;
    }
    let mut total = sums.first()?.clone();
    for sum in &sums[1..] {
        total = w.op(extreme.unwrap_or("Add"), &[&total, sum]);
    }
    if aggregate == "AVERAGE" {
        let factor = w.floats(vec![1.0 / count as f32], &[]);
        total = w.op("Mul", &[&total, &factor]);
    }
    let base = attribute(node, "base_values")
        .map(|a| a.floats.clone())
        .unwrap_or_default();
    // Two classes with the values of one of them.
    let single = attribute(node, "class_ids")
        .map(|a| a.ints.as_slice())
        .filter(|ids| classifier && targets == 2 && ids.iter().all(|i| *i == ids[0]))
        .and_then(|ids| ids.first().copied());
    let several = classifier && single.is_none();
    if several && targets == 2 {
        // Of two classes that leaves speak of both, ONNX Runtime takes the second if its score is positive, and names it 1; the
        // standard takes the larger one.
        return None;
    }
    let total = with_base(w, total, &all, targets, (several, single), &base)?;
    if let Some(id) = single {
        return of_one_class(node, w, &total, id, (&transform, &ids), &mut facts.texts);
    }
    let scores = match transform.as_str() {
        "" | "NONE" => total,
        // Of one score there is none.
        transform if !classifier && targets == 1 && is_for_several(transform) => total,
        "LOGISTIC" => w.op("Sigmoid", &[&total]),
        "SOFTMAX" => w.op_with("Softmax", &[&total], vec![int("axis", 1)]),
        _ => return None,
    };
    if !classifier {
        w.node("Identity", &[&scores], node.output.first()?, Vec::new());
        return Some(());
    }
    w.node("Identity", &[&scores], node.output.get(1)?, Vec::new());
    w.label(&scores, &ids, node.output.first()?, &mut facts.texts)
}

/// The sums with what they begin with. ONNX Runtime leaves out what no reached leaf says anything about: neither is its base
/// added, nor can it be the class.
fn with_base(
    w: &mut Writer,
    total: String,
    trees: &[Tree],
    targets: usize,
    (several, single): (bool, Option<i64>),
    base: &[f32],
) -> Option<String> {
    let complete = (0..targets).all(|target| is_scored(trees, target));
    let nonnegative = trees
        .iter()
        .flat_map(|t| &t.leaves)
        .all(|l| l.values.iter().all(|v| v.1 >= 0.0));
    let plain = targets > 2 && nonnegative && base.is_empty();
    let unclear = several && !plain || !base.is_empty();
    if single.is_none() && !complete && unclear {
        return None;
    }
    if base.is_empty() {
        return Some(total);
    }
    let mut all = vec![0.0; targets];
    match single {
        Some(id) if base.len() == 1 => all[usize::try_from(id).ok()?] = base[0],
        None if base.len() == targets => all.copy_from_slice(base),
        _ => return None,
    }
    let base = w.floats(all, &[1, targets]);
    Some(w.op("Add", &[&total, &base]))
}

/// Whether some tree says something about a target whichever way it is walked.
fn is_scored(trees: &[Tree], target: usize) -> bool {
    let says = |leaf: &Leaf| leaf.values.iter().any(|v| v.0 == target);
    trees.iter().any(|tree| tree.leaves.iter().all(says))
}

/// Two classes of which column `id` of `total` holds the score `s` of the second, as ONNX Runtime has it: where all values are
/// positive it is a probability, and the second class is taken above one half; else it is taken above zero.
fn of_one_class(
    node: &NodeProto,
    w: &mut Writer,
    total: &str,
    id: i64,
    (transform, ids): (&str, &[i64]),
    texts: &mut Texts,
) -> Option<()> {
    let weights = attribute(node, "class_weights").map(|a| a.floats.as_slice())?;
    let positive = weights.iter().all(|&v| v >= 0.0);
    // [−s, s]
    let mut matrix = vec![0.0f32; 4];
    let row = 2 * usize::try_from(id).ok()?;
    (matrix[row], matrix[row + 1]) = (-1.0, 1.0);
    let matrix = w.floats(matrix, &[2, 2]);
    let both = w.op("MatMul", &[total, &matrix]);
    // The larger of these is the class.
    let compared = if positive {
        let shift = w.floats(vec![1.0, 0.0], &[1, 2]);
        w.op("Add", &[&both, &shift])
    } else {
        both.clone()
    };
    let scores = match transform {
        "LOGISTIC" => w.op("Sigmoid", &[&both]),
        "" | "NONE" | "SOFTMAX" | "SOFTMAX_ZERO" => compared.clone(),
        _ => return None,
    };
    w.node("Identity", &[&scores], node.output.get(1)?, Vec::new());
    w.label(&compared, ids, node.output.first()?, texts)
}
