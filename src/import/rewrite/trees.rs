//! Decision trees as two layers of comparisons (the matrix form that Hummingbird calls GEMM).
//!
//! Every branch is a comparison of a feature with a threshold; a leaf is reached where all branches on its path went its way,
//! that is where `Σ ±branch` exceeds the number of branches taken minus one half; the result is the sum of the reached leaves'
//! values. Thresholds, paths and values are weights of committed linear maps.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::{Texts, Writer, attribute, int, text};

/// Branches times leaves of one block of trees: larger ensembles are cut into blocks.
const BLOCK: usize = 1 << 16;

struct Tree {
    /// (feature, threshold)
    branches: Vec<(i64, f32)>,
    leaves: Vec<Leaf>,
}

struct Leaf {
    /// (branch, whether its condition holds)
    path: Vec<(usize, bool)>,
    /// (target, value)
    values: Vec<(usize, f32)>,
}

/// All trees and the one comparison that they use.
fn trees(node: &NodeProto, kind: &str, targets: usize) -> Option<(Vec<Tree>, String)> {
    let ints = |name: &str| attribute(node, name).map(|a| a.ints.as_slice());
    let floats = |name: &str| attribute(node, name).map(|a| a.floats.as_slice());
    let (tree_of, id_of) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
    let (feature, value) = (ints("nodes_featureids")?, floats("nodes_values")?);
    let (yes, no) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
    let modes = &attribute(node, "nodes_modes")?.strings;
    let n = tree_of.len();
    if [
        id_of.len(),
        feature.len(),
        value.len(),
        yes.len(),
        no.len(),
        modes.len(),
    ]
    .iter()
    .any(|&l| l != n)
    {
        return None;
    }
    let of = |what: &str| format!("{kind}_{what}");
    let (vt, vn) = (ints(&of("treeids"))?, ints(&of("nodeids"))?);
    let (vi, vw) = (ints(&of("ids"))?, floats(&of("weights"))?);
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
    let mut mode = None;
    let mut out = Vec::new();
    let mut seen = Vec::new();
    for root in 0..n {
        if seen.contains(&tree_of[root]) {
            continue;
        }
        seen.push(tree_of[root]);
        let mut tree = Tree {
            branches: Vec::new(),
            leaves: Vec::new(),
        };
        let mut open = vec![(root, Vec::new())];
        let mut visited = 0;
        while let Some((at, path)) = open.pop() {
            visited += 1;
            if visited > n {
                // A cycle.
                return None;
            }
            if modes[at] == b"LEAF" {
                let key = (tree_of[at], id_of[at]);
                tree.leaves.push(Leaf {
                    path,
                    values: values.get(&key).cloned().unwrap_or_default(),
                });
                continue;
            }
            if mode.get_or_insert(&modes[at]) != &&modes[at] || !value[at].is_finite() {
                return None;
            }
            let branch = tree.branches.len();
            tree.branches.push((feature[at], value[at]));
            for (next, holds) in [(yes[at], true), (no[at], false)] {
                let mut path = path.clone();
                path.push((branch, holds));
                open.push((*place.get(&(tree_of[at], next))?, path));
            }
        }
        out.push(tree);
    }
    let mode = mode.map_or("BRANCH_LEQ".into(), |m| {
        String::from_utf8_lossy(m).into_owned()
    });
    Some((out, mode))
}

/// Branches and leaves of a block of trees; the sums of the reached leaves' values `[1][targets]`.
fn block(w: &mut Writer, x: &str, trees: &[Tree], mode: &str, targets: usize) -> Option<String> {
    let branches: Vec<(i64, f32)> = trees.iter().flat_map(|t| t.branches.clone()).collect();
    let leaves: usize = trees.iter().map(|t| t.leaves.len()).sum();
    let n = branches.len();
    let mut values = vec![0.0f32; leaves * targets];
    let (mut paths, mut limits) = (vec![0.0f32; n * leaves], vec![0.0f32; leaves]);
    let (mut leaf, mut first) = (0, 0);
    for tree in trees {
        for l in &tree.leaves {
            for &(branch, holds) in &l.path {
                paths[(first + branch) * leaves + leaf] = if holds { 1.0 } else { -1.0 };
                limits[leaf] += f32::from(u8::from(holds));
            }
            for &(target, value) in &l.values {
                values[leaf * targets + target] += value;
            }
            leaf += 1;
        }
        first += tree.branches.len();
    }
    let values = w.floats(values, &[leaves, targets]);
    if n == 0 {
        // Trees of one leaf each.
        let ones = w.floats(vec![1.0; leaves], &[1, leaves]);
        return Some(w.op("MatMul", &[&ones, &values]));
    }
    let features = w.indices(branches.iter().map(|b| b.0).collect());
    let thresholds = w.floats(branches.iter().map(|b| b.1).collect(), &[1, n]);
    let picked = w.op_with("Gather", &[x, &features], vec![int("axis", 1)]);
    // The condition, or its negation where that is the comparison there is.
    let (op, negated) = match mode {
        "BRANCH_LEQ" => ("Greater", true),
        "BRANCH_LT" => ("Less", false),
        "BRANCH_GT" => ("Greater", false),
        "BRANCH_GTE" => ("Less", true),
        _ => return None,
    };
    let mut taken = w.op(op, &[&picked, &thresholds]);
    if negated {
        taken = w.op("Not", &[&taken]);
    }
    let taken = w.cast(&taken);
    let paths = w.floats(paths, &[n, leaves]);
    let limits = w.floats(limits.iter().map(|l| l - 0.5).collect(), &[1, leaves]);
    let steps = w.op("MatMul", &[&taken, &paths]);
    let reached = w.op("Greater", &[&steps, &limits]);
    let reached = w.cast(&reached);
    Some(w.op("MatMul", &[&reached, &values]))
}

pub(super) fn rewrite(node: &NodeProto, w: &mut Writer, texts: &mut Texts) -> Option<()> {
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
    let (all, mode) = trees(node, kind, targets)?;
    let count = all.len();
    let (mut sums, mut from) = (Vec::new(), 0);
    while from < count {
        let (mut branches, mut leaves, mut to) = (0, 0, from);
        while to < count {
            branches += all[to].branches.len();
            leaves += all[to].leaves.len();
            if to > from && branches * leaves > BLOCK {
                break;
            }
            to += 1;
        }
        if branches.saturating_mul(leaves) > 1 << 26 {
            return None;
        }
        sums.push(block(w, &x, &all[from..to], &mode, targets)?);
        from = to;
    }
    let mut total = sums.first()?.clone();
    for sum in &sums[1..] {
        total = w.op("Add", &[&total, sum]);
    }
    let average = text(node, "aggregate_function") == "AVERAGE";
    if average {
        let factor = w.floats(vec![1.0 / count as f32], &[]);
        total = w.op("Mul", &[&total, &factor]);
    } else if !matches!(text(node, "aggregate_function").as_str(), "" | "SUM") {
        return None;
    }
    let base = attribute(node, "base_values")
        .map(|a| a.floats.clone())
        .unwrap_or_default();
    // Two classes with the values of one of them.
    let single = attribute(node, "class_ids")
        .map(|a| a.ints.as_slice())
        .filter(|ids| classifier && targets == 2 && ids.iter().all(|i| *i == ids[0]))
        .and_then(|ids| ids.first().copied());
    if !base.is_empty() {
        let fits = base.len() == targets || base.len() == 1;
        let mut all = vec![0.0; targets];
        match single {
            Some(id) => all[usize::try_from(id).ok()?] = *base.last()?,
            None if fits && base.len() == targets => all.clone_from(&base),
            None => return None,
        }
        let base = w.floats(all, &[1, targets]);
        total = w.op("Add", &[&total, &base]);
    }
    let transform = text(node, "post_transform");
    if let Some(id) = single {
        let weights = attribute(node, "class_weights").map(|a| a.floats.as_slice())?;
        let positive = weights.iter().all(|&v| v >= 0.0);
        // Column `id` holds the score s of the second class: [1 − s, s], or [−s, s].
        let mut matrix = vec![0.0f32; 4];
        let row = 2 * usize::try_from(id).ok()?;
        (matrix[row], matrix[row + 1]) = (-1.0, 1.0);
        let matrix = w.floats(matrix, &[2, 2]);
        total = w.op("MatMul", &[&total, &matrix]);
        if positive && matches!(transform.as_str(), "" | "NONE") {
            let shift = w.floats(vec![1.0, 0.0], &[1, 2]);
            total = w.op("Add", &[&total, &shift]);
        }
    }
    let scores = match transform.as_str() {
        "" | "NONE" => total,
        "LOGISTIC" => w.op("Sigmoid", &[&total]),
        "SOFTMAX" => w.op_with("Softmax", &[&total], vec![int("axis", 1)]),
        _ => return None,
    };
    if !classifier {
        w.node("Identity", &[&scores], node.output.first()?, Vec::new());
        return Some(());
    }
    w.node("Identity", &[&scores], node.output.get(1)?, Vec::new());
    let label = node.output.first()?;
    if ids.is_empty() {
        texts.push(label.clone());
        return Some(());
    }
    let settings = vec![int("axis", 1), int("keepdims", 0)];
    if ids.iter().zip(0..).all(|(a, b)| *a == b) {
        w.node("ArgMax", &[&scores], label, settings);
        return Some(());
    }
    let index = w.op_with("ArgMax", &[&scores], settings);
    let ids = w.indices(ids);
    w.node("Gather", &[&ids, &index], label, vec![int("axis", 0)]);
    Some(())
}
