//! LSTM, GRU and RNN, in both directions, as `Scan`s over cells of plain operators, and `Loop`s with a known number of rounds as
//! `Scan`s.
//!
//! tract reads these operators but takes no notice of `activations`, `clip`, `direction = reverse` and sequence lengths; here
//! they are all written out. A step is
//!
//! ```text
//! RNN    h' = f(W·x + R·h + b)
//! LSTM   i = f(W_i·x + R_i·h + P_i∘c + b_i)      o, with c' in place of c, and f likewise      g = g(W_g·x + R_g·h + b_g)
//!        c' = f∘c + i∘g                          h' = o∘h(c')
//! GRU    z = f(W_z·x + R_z·h + b_z)              r likewise
//!        n = g(W_n·x + b_n + R_n·(r∘h) + b'_n)   or, with linear_before_reset, g(W_n·x + b_n + r∘(R_n·h + b'_n))
//!        h' = n + z∘(h − n)
//! ```
//!
//! where the sequence is longer than a sample's, its state stays as it is and the result is zero.

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, type_proto,
};

use super::writer::{Facts, Writer, attribute, int, text};

/// ONNX's numbers of element types.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// A function between a linear map and a product.
#[derive(Clone)]
struct Activation {
    name: String,
    alpha: f32,
    beta: f32,
}

/// What the attributes say.
struct Cell {
    kind: Kind,
    hidden: usize,
    directions: Vec<bool>,
    /// Of every direction.
    activations: Vec<Vec<Activation>>,
    clip: Option<f32>,
    input_forget: bool,
    linear_before_reset: bool,
    batch_first: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rnn,
    Lstm,
    Gru,
}

impl Kind {
    fn gates(self) -> usize {
        match self {
            Kind::Rnn => 1,
            Kind::Lstm => 4,
            Kind::Gru => 3,
        }
    }

    fn defaults(self) -> &'static [&'static str] {
        match self {
            Kind::Rnn => &["Tanh"],
            Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Kind::Gru => &["Sigmoid", "Tanh"],
        }
    }
}

impl Cell {
    /// `None` for attributes that are not valid or not supported.
    fn of(node: &NodeProto) -> Option<Cell> {
        let kind = match node.op_type.as_str() {
            "RNN" => Kind::Rnn,
            "LSTM" => Kind::Lstm,
            "GRU" => Kind::Gru,
            _ => return None,
        };
        let flag = |name: &str| attribute(node, name).is_some_and(|a| a.i == 1);
        let directions = match text(node, "direction").as_str() {
            "" | "forward" => vec![false],
            "reverse" => vec![true],
            "bidirectional" => vec![false, true],
            _ => return None,
        };
        let hidden = usize::try_from(attribute(node, "hidden_size")?.i).ok()?;
        let clip = attribute(node, "clip").map(|a| a.f);
        if clip.is_some_and(|c| c.is_nan() || c <= 0.0) {
            return None;
        }
        // Of other numbers nobody says what they mean.
        if attribute(node, "linear_before_reset").is_some_and(|a| !(0..=1).contains(&a.i)) {
            return None;
        }
        Some(Cell {
            kind,
            hidden: (1..=1 << 16).contains(&hidden).then_some(hidden)?,
            activations: activations(node, kind, directions.len())?,
            directions,
            clip,
            input_forget: attribute(node, "input_forget").is_some_and(|a| a.i != 0),
            linear_before_reset: flag("linear_before_reset"),
            batch_first: flag("layout"),
        })
    }
}

/// `alpha` and `beta` of an activation that has them, by default.
fn parameters(name: &str) -> Option<(Option<f32>, Option<f32>)> {
    Some(match name {
        "Affine" => (Some(1.0), Some(0.0)),
        "LeakyRelu" => (Some(0.01), None),
        "ThresholdedRelu" | "Elu" => (Some(1.0), None),
        "ScaledTanh" => (Some(1.0), Some(1.0)),
        "HardSigmoid" => (Some(0.2), Some(0.5)),
        "Relu" | "Tanh" | "Sigmoid" | "Softsign" | "Softplus" => (None, None),
        _ => return None,
    })
}

fn activations(node: &NodeProto, kind: Kind, directions: usize) -> Option<Vec<Vec<Activation>>> {
    let each = kind.defaults().len();
    let named: Vec<String> = attribute(node, "activations")
        .map(|a| {
            let text = |s: &Vec<u8>| String::from_utf8_lossy(s).into_owned();
            a.strings.iter().map(text).collect()
        })
        .unwrap_or_default();
    let names: Vec<String> = match named.len() {
        0 => kind
            .defaults()
            .iter()
            .map(|s| (*s).to_string())
            .cycle()
            .take(each * directions)
            .collect(),
        n if n == each * directions => named,
        _ => return None,
    };
    let list = |name: &str| {
        attribute(node, name)
            .map(|a| a.floats.clone())
            .unwrap_or_default()
            .into_iter()
    };
    let (mut alphas, mut betas) = (list("activation_alpha"), list("activation_beta"));
    let mut all = Vec::new();
    for name in names {
        // Names are compared without regard to case, as other runtimes do.
        let known = [
            "Affine",
            "LeakyRelu",
            "ThresholdedRelu",
            "Elu",
            "ScaledTanh",
            "HardSigmoid",
            "Relu",
            "Tanh",
            "Sigmoid",
            "Softsign",
            "Softplus",
        ];
        let name = *known.iter().find(|k| k.eq_ignore_ascii_case(&name))?;
        let (alpha, beta) = parameters(name)?;
        let own = |default: Option<f32>, list: &mut std::vec::IntoIter<f32>| {
            default.map_or(0.0, |default| list.next().unwrap_or(default))
        };
        all.push(Activation {
            name: name.into(),
            alpha: own(alpha, &mut alphas),
            beta: own(beta, &mut betas),
        });
    }
    Some(all.chunks(each).map(<[Activation]>::to_vec).collect())
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 1,
        f: value,
        ..AttributeProto::default()
    }
}

pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: values,
        ..AttributeProto::default()
    }
}

pub(super) fn body(graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: "body".into(),
        r#type: 5,
        g: Some(graph),
        ..AttributeProto::default()
    }
}

fn perm(values: &[i64]) -> Vec<AttributeProto> {
    vec![ints("perm", values.to_vec())]
}

/// The operands of one direction, outside the loop.
struct Operands {
    /// Per gate: transposed weights of the input and of the state, both biases.
    w: Vec<String>,
    r: Vec<String>,
    bias: Vec<Option<(String, String)>>,
    /// Per gate i, o, f.
    peepholes: Vec<String>,
}

/// Whether tract does what ONNX says.
fn is_plain(node: &NodeProto) -> bool {
    let named = |name: &str| attribute(node, name).is_some();
    let lengths = node.input.get(4).is_some_and(|i| !i.is_empty());
    let reverse = text(node, "direction") == "reverse";
    let clip = attribute(node, "clip").is_some();
    let forget = attribute(node, "input_forget").is_some_and(|a| a.i != 0);
    !(named("activations") || lengths || reverse || clip || forget)
}

/// Writes a recurrent operator out where tract would not do what ONNX says.
pub(in crate::onnx) fn repair(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    if is_plain(node) {
        return None;
    }
    rewrite(node, w, facts)
}

/// Writes a recurrent operator out.
pub(in crate::onnx) fn rewrite(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let cell = Cell::of(node)?;
    let input = |i: usize| node.input.get(i).filter(|s| !s.is_empty()).cloned();
    let output = |i: usize| node.output.get(i).filter(|s| !s.is_empty()).cloned();
    let (x, weights, recurrent) = (input(0)?, input(1)?, input(2)?);
    let (hidden, batch_first) = (cell.hidden, cell.batch_first);
    let h = hidden as i64;
    // [1] each.
    let shape = w.op("Shape", &[&x]);
    let at = |w: &mut Writer, i: i64| {
        let index = w.indices(vec![i]);
        w.op("Gather", &[&shape, &index])
    };
    let batch = at(w, i64::from(!batch_first));
    let steps = at(w, i64::from(batch_first));
    let width = w.indices(vec![h]);
    let (mut all, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
    for (d, &reverse) in cell.directions.iter().enumerate() {
        let of_direction = |w: &mut Writer, name: &str| {
            let index = w.index(d as i64);
            w.op_with("Gather", &[name, &index], vec![int("axis", 0)])
        };
        let matrices = |w: &mut Writer, name: &str| -> Vec<String> {
            (0..cell.kind.gates() as i64)
                .map(|g| {
                    let rows = w.indices((g * h..(g + 1) * h).collect());
                    let part = w.op_with("Gather", &[name, &rows], vec![int("axis", 0)]);
                    w.op_with("Transpose", &[&part], perm(&[1, 0]))
                })
                .collect()
        };
        let parts = |w: &mut Writer, name: &str, count: i64| -> Vec<String> {
            (0..count)
                .map(|g| {
                    let rows = w.indices((g * h..(g + 1) * h).collect());
                    w.op_with("Gather", &[name, &rows], vec![int("axis", 0)])
                })
                .collect()
        };
        let (wd, rd) = (of_direction(w, &weights), of_direction(w, &recurrent));
        let gates = cell.kind.gates();
        let bias = match input(3) {
            None => vec![None; gates],
            Some(b) => {
                let b = of_direction(w, &b);
                let all = parts(w, &b, 2 * gates as i64);
                let both = |g: usize| Some((all[g].clone(), all[g + gates].clone()));
                (0..gates).map(both).collect()
            }
        };
        let peepholes = match input(7).filter(|_| cell.kind == Kind::Lstm) {
            None => Vec::new(),
            Some(p) => {
                let p = of_direction(w, &p);
                parts(w, &p, 3)
            }
        };
        let operands = Operands {
            w: matrices(w, &wd),
            r: matrices(w, &rd),
            bias,
            peepholes,
        };
        let states = if cell.kind == Kind::Lstm { 2 } else { 1 };
        let mut operand_names = Vec::new();
        for s in 0..states {
            let first = match input(5 + s) {
                Some(first) => {
                    let index = w.index(d as i64);
                    let axis = i64::from(batch_first);
                    w.op_with("Gather", &[&first, &index], vec![int("axis", axis)])
                }
                None => {
                    let dims = w.op_with("Concat", &[&batch, &width], vec![int("axis", 0)]);
                    let zero = AttributeProto {
                        name: "value".into(),
                        r#type: 4,
                        t: Some(TensorProto {
                            data_type: FLOAT,
                            dims: vec![1],
                            float_data: vec![0.0],
                            ..TensorProto::default()
                        }),
                        ..AttributeProto::default()
                    };
                    w.op_with("ConstantOfShape", &[&dims], vec![zero])
                }
            };
            operand_names.push(first);
        }
        operand_names.push(x.clone());
        let lengths = input(4).map(|lengths| {
            // The number of every step, and the samples' lengths as a column.
            let (zero, one, column) = (w.index(0), w.index(1), w.indices(vec![-1, 1]));
            let flat = w.indices(vec![]);
            let count = w.op("Reshape", &[&steps, &flat]);
            let numbers = w.op("Range", &[&zero, &count, &one]);
            operand_names.push(numbers);
            let lengths = w.op("Reshape", &[&lengths, &column]);
            w.op_with("Cast", &[&lengths], vec![int("to", 7)])
        });
        let prefix = w.fresh();
        let cell_body = step(
            &cell,
            d,
            &operands,
            lengths.as_deref(),
            &prefix,
            states,
            w.opset,
        );
        let scanned = operand_names.len() - states;
        let axes = |first: i64, count: usize| {
            let mut axes = vec![0; count];
            axes[0] = first;
            axes
        };
        let mut attributes = vec![
            body(cell_body),
            int("num_scan_inputs", scanned as i64),
            ints("scan_input_axes", axes(i64::from(batch_first), scanned)),
            ints("scan_output_axes", axes(i64::from(batch_first), 1)),
        ];
        if reverse {
            attributes.push(ints("scan_input_directions", vec![1; scanned]));
            attributes.push(ints("scan_output_directions", vec![1]));
        }
        let results: Vec<String> = (0..=states).map(|_| w.fresh()).collect();
        let name = w.fresh();
        w.nodes.push(NodeProto {
            name,
            op_type: "Scan".into(),
            input: operand_names,
            output: results.clone(),
            attribute: attributes,
            ..NodeProto::default()
        });
        // A direction of its own: behind the steps, before the samples; with the batch first, behind it.
        let direction = |w: &mut Writer, x: &str, dims: Vec<i64>| {
            let dims = w.indices(dims);
            w.op("Reshape", &[x, &dims])
        };
        let state = |w: &mut Writer, x: &str| {
            let dims = if batch_first {
                vec![0, 1, h]
            } else {
                vec![1, -1, h]
            };
            direction(w, x, dims)
        };
        last_h.push(state(w, &results[0]));
        if states == 2 {
            last_c.push(state(w, &results[1]));
        }
        let dims = if batch_first {
            vec![0, 0, 1, h]
        } else {
            vec![0, 1, -1, h]
        };
        all.push(direction(w, &results[states], dims));
    }
    let axis = |sequence: bool| match (sequence, batch_first) {
        (true, true) => 2,
        (true, false) | (false, true) => 1,
        (false, false) => 0,
    };
    for (i, (parts, sequence)) in [(all, true), (last_h, false), (last_c, false)]
        .into_iter()
        .enumerate()
    {
        if let Some(y) = output(i).filter(|_| !parts.is_empty()) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            w.node("Concat", &parts, &y, vec![int("axis", axis(sequence))]);
        }
    }
    Some(())
}

/// One step: states and what is read of the sequence in, states and the step's result out.
fn step(
    cell: &Cell,
    direction: usize,
    operands: &Operands,
    lengths: Option<&str>,
    prefix: &str,
    states: usize,
    opset: i64,
) -> GraphProto {
    let mut constants = Vec::new();
    let mut w = Writer {
        name: prefix.to_string(),
        count: 0,
        opset,
        nodes: Vec::new(),
        constants: &mut constants,
    };
    let named = |what: &str| format!("{prefix}.{what}");
    let (h, c, x, number) = (named("h"), named("c"), named("x"), named("number"));
    let functions = &cell.activations[direction];
    // W·x + R·state + both biases.
    let linear = |w: &mut Writer, g: usize, state: &str| {
        let a = w.op("MatMul", &[&x, &operands.w[g]]);
        let b = w.op("MatMul", &[state, &operands.r[g]]);
        let sum = w.op("Add", &[&a, &b]);
        match &operands.bias[g] {
            None => sum,
            Some((first, second)) => {
                let bias = w.op("Add", &[first, second]);
                w.op("Add", &[&sum, &bias])
            }
        }
    };
    let (new_h, new_c) = match cell.kind {
        Kind::Rnn => {
            let y = linear(&mut w, 0, &h);
            (activate(&mut w, cell, &functions[0], &y), None)
        }
        Kind::Lstm => {
            // Peepholes come in the order of the gates i, o, f.
            let gate = |w: &mut Writer, g: usize, f: usize, cell_state: Option<&str>| {
                let mut y = linear(w, g, &h);
                if let (Some(p), Some(c)) = (operands.peepholes.get(g), cell_state) {
                    let peep = w.op("Mul", &[c, p]);
                    y = w.op("Add", &[&y, &peep]);
                }
                activate(w, cell, &functions[f], &y)
            };
            let i = gate(&mut w, 0, 0, Some(&c));
            let f = if cell.input_forget {
                let one = w.floats(vec![1.0], &[1]);
                w.op("Sub", &[&one, &i])
            } else {
                gate(&mut w, 2, 0, Some(&c))
            };
            let g = gate(&mut w, 3, 1, None);
            let kept = w.op("Mul", &[&f, &c]);
            let new = w.op("Mul", &[&i, &g]);
            let new_c = w.op("Add", &[&kept, &new]);
            let o = gate(&mut w, 1, 0, Some(&new_c));
            // ONNX Runtime clips what goes into gates, not the cell's state.
            let shown = apply(&mut w, &functions[2], &new_c);
            (w.op("Mul", &[&o, &shown]), Some(new_c))
        }
        Kind::Gru => {
            let z = linear(&mut w, 0, &h);
            let z = activate(&mut w, cell, &functions[0], &z);
            let r = linear(&mut w, 1, &h);
            let r = activate(&mut w, cell, &functions[0], &r);
            let y = if cell.linear_before_reset {
                let mut a = w.op("MatMul", &[&x, &operands.w[2]]);
                let mut b = w.op("MatMul", &[&h, &operands.r[2]]);
                if let Some((first, second)) = &operands.bias[2] {
                    a = w.op("Add", &[&a, first]);
                    b = w.op("Add", &[&b, second]);
                }
                let b = w.op("Mul", &[&r, &b]);
                w.op("Add", &[&a, &b])
            } else {
                let reset = w.op("Mul", &[&r, &h]);
                linear(&mut w, 2, &reset)
            };
            let n = activate(&mut w, cell, &functions[1], &y);
            let change = w.op("Sub", &[&h, &n]);
            let change = w.op("Mul", &[&z, &change]);
            (w.op("Add", &[&n, &change]), None)
        }
    };
    let mut results = vec![new_h];
    results.extend(new_c);
    let mut shown = results[0].clone();
    if let Some(lengths) = lengths {
        let within = w.op("Less", &[&number, lengths]);
        for (result, old) in results.iter_mut().zip([&h, &c]) {
            *result = w.op("Where", &[&within, result, old]);
        }
        let zero = w.floats(vec![0.0], &[1]);
        shown = w.op("Where", &[&within, &shown, &zero]);
    }
    results.push(shown);
    // A value may be a result once.
    let results: Vec<String> = results.iter().map(|r| w.op("Identity", &[r])).collect();
    let mut inputs = vec![(h, FLOAT)];
    inputs.extend((states == 2).then_some((c, FLOAT)));
    inputs.push((x, FLOAT));
    inputs.extend(lengths.map(|_| (number, INT64)));
    let value = |(name, elem_type): (String, i32)| ValueInfoProto {
        name,
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type,
                shape: None,
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    };
    GraphProto {
        name: prefix.to_string(),
        node: std::mem::take(&mut w.nodes),
        initializer: constants,
        input: inputs.into_iter().map(value).collect(),
        output: results.into_iter().map(|r| value((r, FLOAT))).collect(),
        ..GraphProto::default()
    }
}

fn activate(w: &mut Writer, cell: &Cell, f: &Activation, x: &str) -> String {
    let mut x = x.to_string();
    if let Some(clip) = cell.clip {
        let (low, high) = (w.floats(vec![-clip], &[1]), w.floats(vec![clip], &[1]));
        x = w.op("Max", &[&x, &low]);
        x = w.op("Min", &[&x, &high]);
    }
    apply(w, f, &x)
}

fn apply(w: &mut Writer, f: &Activation, x: &str) -> String {
    let mut x = x.to_string();
    let (alpha, beta) = (float("alpha", f.alpha), float("beta", f.beta));
    match f.name.as_str() {
        "Affine" => {
            let (alpha, beta) = (w.floats(vec![f.alpha], &[1]), w.floats(vec![f.beta], &[1]));
            x = w.op("Mul", &[&x, &alpha]);
            w.op("Add", &[&x, &beta])
        }
        "ScaledTanh" => {
            let (alpha, beta) = (w.floats(vec![f.alpha], &[1]), w.floats(vec![f.beta], &[1]));
            x = w.op("Mul", &[&x, &beta]);
            x = w.op("Tanh", &[&x]);
            w.op("Mul", &[&x, &alpha])
        }
        "LeakyRelu" | "ThresholdedRelu" | "Elu" => w.op_with(&f.name, &[&x], vec![alpha]),
        "HardSigmoid" => w.op_with(&f.name, &[&x], vec![alpha, beta]),
        name => w.op(name, &[&x]),
    }
}
