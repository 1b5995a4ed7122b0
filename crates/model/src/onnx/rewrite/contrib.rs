//! Operators that ONNX Runtime writes into models it quantizes or optimizes (domain `com.microsoft`), in ONNX's own.

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::integers::{Operands, dequantize};
use super::recurrent;
use super::writer::{Facts, Writer, attribute, int, text};

/// Attributes of pooling that ONNX has, too.
const POOLING: &[&str] = &[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "kernel_shape",
    "pads",
    "strides",
];

impl<'n> Operands<'n> {
    fn of(node: &'n NodeProto, facts: &'n Facts) -> Option<Self> {
        let last = attribute(node, "channels_last").is_some_and(|a| a.i != 0);
        let known = &facts.known;
        (!last).then_some(Operands { node, known })
    }

    fn attributes(&self, names: &[&str]) -> Vec<AttributeProto> {
        let all = self.node.attribute.iter();
        all.filter(|a| names.contains(&a.name.as_str()))
            .cloned()
            .collect()
    }
}

/// `QLinearAdd`, `QLinearMul`.
pub(in crate::onnx) fn binary(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let (a, b) = (of.real(w, 0, None)?, of.real(w, 3, None)?);
    let result = w.op(node.op_type.strip_prefix("QLinear")?, &[&a, &b]);
    of.result(w, &result, 6, 7)
}

pub(in crate::onnx) fn choice(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let (a, b) = (of.real(w, 1, None)?, of.real(w, 4, None)?);
    let result = w.op("Where", &[of.name(0)?, &a, &b]);
    of.result(w, &result, 7, 8)
}

/// `QLinearSigmoid` and others of one tensor.
pub(in crate::onnx) fn unary(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let op = node.op_type.strip_prefix("QLinear")?;
    let x = of.real(w, 0, None)?;
    let attributes = match op {
        "LeakyRelu" => of.attributes(&["alpha"]),
        "AveragePool" => of.attributes(POOLING),
        "Softmax" => {
            // Its default is not ONNX's, and it has a version of its own: up to 12 all axes from `axis` on are one.
            let axis = attribute(node, "axis").map_or(-1, |a| a.i);
            let version = attribute(node, "opset").map_or(w.opset, |a| a.i);
            if axis != -1 && (version < 13) != (w.opset < 13) {
                return None;
            }
            vec![int("axis", axis)]
        }
        "ReduceMean" if w.opset < 18 => of.attributes(&["axes", "keepdims"]),
        "ReduceMean" => return None,
        _ => Vec::new(),
    };
    let result = w.op_with(op, &[&x], attributes);
    of.result(w, &result, 3, 4)
}

pub(in crate::onnx) fn concat(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let parts = (2..node.input.len()).step_by(3);
    let parts: Vec<String> = parts
        .map(|at| of.real(w, at, None))
        .collect::<Option<_>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let result = w.op_with("Concat", &parts, of.attributes(&["axis"]));
    of.result(w, &result, 0, 1)
}

/// Of `SkipLayerNormalization`, tract's default for `epsilon` is another one.
pub(in crate::onnx) fn skip(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    if attribute(node, "epsilon").is_some() {
        return None;
    }
    let mut node = node.clone();
    node.attribute.push(AttributeProto {
        name: "epsilon".into(),
        r#type: 1,
        f: 1e-12,
        ..AttributeProto::default()
    });
    w.nodes.push(node);
    Some(())
}

/// `FusedConv`, `FusedGemm`: a linear map and an activation.
pub(in crate::onnx) fn fused(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let op = node.op_type.strip_prefix("Fused")?;
    let kept = node.attribute.iter();
    let kept = kept.filter(|a| !a.name.starts_with("activation"));
    let operands: Vec<&str> = node.input.iter().map(String::as_str).collect();
    if op == "Conv" && operands.len() > 3 {
        return None;
    }
    let sum = w.op_with(op, &operands, kept.cloned().collect());
    activation(&of, w, &sum, node.output.first()?)
}

/// `y = a·B + c` with the bias on the grid of the products; without a scale of its own the result is real.
pub(in crate::onnx) fn gemm(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let turned = attribute(of.node, "transB").is_some_and(|a| a.i != 0);
    let alpha = attribute(of.node, "alpha").map_or(1.0, |a| a.f);
    let a = of.real(w, 0, None)?;
    let b = of.grid(4, 5, Some((2, usize::from(!turned))))?;
    let b = dequantize(w, of.name(3)?, &b);
    let mut operands = vec![a, b];
    if of.name(6).is_some() {
        let bias = of.known(6)?;
        let (left, right) = (of.known(1)?.values.first()?, &of.known(4)?.values);
        // A scale per column, where the bias has columns.
        let (columns, dims) = (right.len(), bias.dims.as_slice());
        if columns > 1 && dims.last().copied() != i64::try_from(columns).ok() {
            return None;
        }
        let step = |i: usize| right.get(i % columns.max(1)).copied();
        let values = bias.values.iter().enumerate();
        let values: Option<Vec<f32>> = values
            .map(|(i, b)| Some((b * left * step(i)? * f64::from(alpha)) as f32))
            .collect();
        let dims = dims.iter().map(|&d| usize::try_from(d).ok());
        let dims: Vec<usize> = dims.collect::<Option<_>>()?;
        operands.push(w.floats(values?, &dims));
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let sum = w.op_with(
        "Gemm",
        &operands,
        of.attributes(&["alpha", "transA", "transB"]),
    );
    if of.name(7).is_none() {
        return w.identity(&sum, of.node.output.first()?);
    }
    of.result(w, &sum, 7, 8)
}

/// An LSTM whose weights are stored as integers, transposed: `[directions][inputs][4·hidden]`. The rounding of its activations,
/// by a scale that depends on the sample, is left out.
pub(in crate::onnx) fn lstm(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let mut weights = Vec::new();
    for (at, scale) in [(1, 8), (2, 10)] {
        let rank = of.known(at)?.dims.len();
        let directions = of.known(at)?.dims.first()?;
        // A scale per direction, which is one scale where there is one direction, or one per column as well.
        let scales = of.known(scale)?;
        let columns = scales.values.len() > 1;
        if rank != 3 || (columns && *directions != 1) {
            return None;
        }
        let grid = of.grid(scale, scale + 1, columns.then_some((3, 2)))?;
        let real = dequantize(w, of.name(at)?, &grid);
        weights.push(w.op_with(
            "Transpose",
            &[&real],
            vec![super::writer::ints("perm", vec![0, 2, 1])],
        ));
    }
    let mut input = of.node.input.clone();
    input.truncate(8);
    input[1..3].clone_from_slice(&weights);
    let node = NodeProto {
        name: w.fresh(),
        op_type: "LSTM".into(),
        input,
        output: of.node.output.clone(),
        attribute: of.node.attribute.clone(),
        ..NodeProto::default()
    };
    recurrent::rewrite(&node, w, facts)
}

/// `x·Φ(x)`, exactly, by the hyperbolic tangent, or by a logistic function; after adding a bias.
pub(in crate::onnx) fn gelu(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let (mut x, y) = (of.name(0)?.clone(), of.node.output.first()?);
    if let Some(bias) = of.name(1) {
        x = w.op("Add", &[&x, bias]);
    }
    let number = |w: &mut Writer, v: f32| w.floats(vec![v], &[]);
    let part = match of.node.op_type.as_str() {
        "QuickGelu" => {
            let alpha = attribute(of.node, "alpha").map_or(1.702, |a| a.f);
            let alpha = number(w, alpha);
            let scaled = w.op("Mul", &[&x, &alpha]);
            w.op("Sigmoid", &[&scaled])
        }
        "FastGelu" => {
            let cubic = number(w, 0.044_715);
            let root = number(w, (2.0 / std::f32::consts::PI).sqrt());
            let square = w.op("Mul", &[&x, &x]);
            let cube = w.op("Mul", &[&square, &x]);
            let small = w.op("Mul", &[&cube, &cubic]);
            let sum = w.op("Add", &[&x, &small]);
            let scaled = w.op("Mul", &[&sum, &root]);
            let bent = w.op("Tanh", &[&scaled]);
            halved(w, &bent)
        }
        _ => {
            let root = number(w, std::f32::consts::FRAC_1_SQRT_2);
            let scaled = w.op("Mul", &[&x, &root]);
            let bent = w.op("Erf", &[&scaled]);
            halved(w, &bent)
        }
    };
    w.node("Mul", &[&x, &part], y, Vec::new());
    Some(())
}

/// `(1 + x) / 2`
fn halved(w: &mut Writer, x: &str) -> String {
    let (one, half) = (w.floats(vec![1.0], &[]), w.floats(vec![0.5], &[]));
    let sum = w.op("Add", &[x, &one]);
    w.op("Mul", &[&sum, &half])
}

/// What a fused node applies last.
fn activation(of: &Operands, w: &mut Writer, x: &str, y: &str) -> Option<()> {
    let given = attribute(of.node, "activation_params").map_or(&[][..], |a| &a.floats);
    let name = text(of.node, "activation");
    match (name.as_str(), given) {
        ("Clip", [low, high]) => {
            let (low, high) = (w.floats(vec![*low], &[]), w.floats(vec![*high], &[]));
            let above = w.op("Max", &[x, &low]);
            w.node("Min", &[&above, &high], y, Vec::new());
        }
        (
            "Relu" | "LeakyRelu" | "Tanh" | "Sigmoid" | "HardSigmoid" | "Softplus" | "Softsign"
            | "Elu" | "Selu",
            _,
        ) => {
            let parameters = ["alpha", "beta", "gamma"].into_iter().enumerate();
            let parameters = parameters.filter_map(|(i, parameter)| {
                let own = attribute(of.node, &format!("activation_{parameter}")).map(|a| a.f);
                Some(AttributeProto {
                    name: parameter.into(),
                    r#type: 1,
                    f: own.or(given.get(i).copied())?,
                    ..AttributeProto::default()
                })
            });
            let parameters = parameters.collect();
            w.node(&name, &[x], y, parameters);
        }
        _ => return None,
    }
    Some(())
}

/// `alpha·A·B`, either transposed.
pub(in crate::onnx) fn matmul(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let of = Operands::of(node, facts)?;
    let set = |name: &str| attribute(of.node, name).is_some_and(|a| a.i != 0);
    // The dimensions before the last two may stand between them.
    let operand = |batch: bool, [a, b]: [char; 2]| match batch {
        true => format!("{a}...{b}"),
        false => format!("...{a}{b}"),
    };
    let turned = |turned: bool, [a, b]: [char; 2]| if turned { [b, a] } else { [a, b] };
    let equation = format!(
        "{},{}->...ij",
        operand(set("transBatchA"), turned(set("transA"), ['i', 'k'])),
        operand(set("transBatchB"), turned(set("transB"), ['k', 'j'])),
    );
    let equation = AttributeProto {
        name: "equation".into(),
        r#type: 3,
        s: equation.into_bytes(),
        ..AttributeProto::default()
    };
    let operands: [&str; 2] = [of.name(0)?, of.name(1)?];
    let plain = ["transA", "transB", "transBatchA", "transBatchB"];
    let product = if plain.into_iter().any(set) {
        w.op_with("Einsum", &operands, vec![equation])
    } else {
        w.op("MatMul", &operands)
    };
    let alpha = attribute(of.node, "alpha").map_or(1.0, |a| a.f);
    let alpha = w.floats(vec![alpha], &[]);
    w.node(
        "Mul",
        &[&product, &alpha],
        of.node.output.first()?,
        Vec::new(),
    );
    Some(())
}
