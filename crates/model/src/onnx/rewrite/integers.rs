//! Quantized operators in floats: `q = clip(round(x/s) + z)` stays a rounding and a clamp, `(q − z)·s` is affine.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::{Known, Writer, attribute};

/// Least and greatest number of an integer type.
pub(super) fn limits(data_type: i32) -> Option<(f32, f32)> {
    match data_type {
        2 => Some((0.0, 255.0)),
        3 => Some((-128.0, 127.0)),
        _ => None,
    }
}

/// Scale and zero point, shaped for an operand of this rank along this axis.
pub(super) struct Grid {
    scale: Vec<f32>,
    zero: Vec<f32>,
    dims: Vec<usize>,
}

pub(super) fn grid(
    scale: &Known,
    zero: Option<&Known>,
    shape: Option<(usize, usize)>,
) -> Option<Grid> {
    let len = scale.values.len();
    if len == 0 || scale.values.iter().any(|s| !s.is_finite() || *s <= 0.0) {
        return None;
    }
    let zero = match zero {
        None => vec![0.0; len],
        Some(z) if z.values.len() == len => z.values.iter().map(|&v| v as f32).collect(),
        Some(z) if z.values.len() == 1 => vec![z.values[0] as f32; len],
        Some(_) => return None,
    };
    let dims = match (len, shape) {
        (1, _) => Vec::new(),
        (_, Some((rank, axis))) if axis < rank => {
            let mut dims = vec![1; rank];
            dims[axis] = len;
            dims
        }
        _ => return None,
    };
    let scale = scale.values.iter().map(|&v| v as f32).collect();
    Some(Grid { scale, zero, dims })
}

pub(super) fn dequantize(w: &mut Writer, x: &str, grid: &Grid) -> String {
    let x = w.cast(x);
    let x = if grid.zero.iter().all(|&z| z == 0.0) {
        x
    } else {
        let zero = w.floats(grid.zero.clone(), &grid.dims);
        w.op("Sub", &[&x, &zero])
    };
    let scale = w.floats(grid.scale.clone(), &grid.dims);
    w.op("Mul", &[&x, &scale])
}

pub(super) fn quantize(w: &mut Writer, x: &str, y: &str, grid: &Grid, (low, high): (f32, f32)) {
    let scale = w.floats(grid.scale.clone(), &grid.dims);
    let x = w.op("Div", &[x, &scale]);
    let mut x = w.op("Round", &[&x]);
    if grid.zero.iter().any(|&z| z != 0.0) {
        let zero = w.floats(grid.zero.clone(), &grid.dims);
        x = w.op("Add", &[&x, &zero]);
    }
    let (low, high) = (w.floats(vec![low], &[]), w.floats(vec![high], &[]));
    let x = w.op("Max", &[&x, &low]);
    w.node("Min", &[&x, &high], y, Vec::new());
}

/// Who reads what in a graph.
struct Readers<'g> {
    of: HashMap<&'g str, Vec<&'g NodeProto>>,
    /// What the graph's caller or graphs inside nodes read.
    seen: HashSet<&'g str>,
}

impl<'g> Readers<'g> {
    fn of(graph: &'g GraphProto) -> Self {
        let mut of: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
        let mut seen: HashSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        for node in &graph.node {
            for input in &node.input {
                of.entry(input).or_default().push(node);
            }
            let mut open: Vec<&GraphProto> =
                node.attribute.iter().filter_map(|a| a.g.as_ref()).collect();
            while let Some(body) = open.pop() {
                seen.extend(body.output.iter().map(|o| o.name.as_str()));
                for node in &body.node {
                    seen.extend(node.input.iter().map(String::as_str));
                    open.extend(node.attribute.iter().filter_map(|a| a.g.as_ref()));
                }
            }
        }
        Readers { of, seen }
    }

    /// The nodes that read a value, if they are all that see it.
    fn all(&self, name: &str) -> Option<&[&'g NodeProto]> {
        let readers = self.of.get(name).map_or(&[][..], Vec::as_slice);
        (!self.seen.contains(name)).then_some(readers)
    }

    /// The other factor and the result of a product of two.
    fn factor(node: &'g NodeProto, one: &str) -> Option<(&'g str, &'g str)> {
        match (
            node.op_type.as_str(),
            node.input.as_slice(),
            node.output.as_slice(),
        ) {
            ("Mul", [a, b], [y]) if a == one && b != one => Some((b, y)),
            ("Mul", [a, b], [y]) if b == one && a != one => Some((a, y)),
            _ => None,
        }
    }

    /// Whether a `DynamicQuantizeLinear` can be left out: its integers are read by products that subtract its zero point, and
    /// what comes of each is multiplied by its scale once.
    fn is_idle(&self, node: &NodeProto) -> Option<()> {
        let [y, scale, zero] = node.output.as_slice() else {
            return None;
        };
        let mut products: HashSet<&str> = HashSet::new();
        let mut open = Vec::new();
        for reader in self.all(y)?.iter().chain(self.all(zero)?) {
            let at = |name: &String| -> Vec<usize> {
                let inputs = reader.input.iter().enumerate();
                inputs
                    .filter(|(_, i)| *i == name)
                    .map(|(at, _)| at)
                    .collect()
            };
            let integer = matches!(reader.op_type.as_str(), "MatMulInteger" | "ConvInteger");
            let subtracts =
                matches!((&at(y)[..], &at(zero)[..]), ([a], [b]) if *a < 2 && *b == a + 2);
            if !integer || !subtracts {
                return None;
            }
            open.extend(reader.output.first().map(String::as_str));
        }
        while let Some(product) = open.pop() {
            products.insert(product);
            for reader in self.all(product)?.iter().filter(|r| r.op_type == "Cast") {
                open.extend(reader.output.first().map(String::as_str));
            }
        }
        // The scale, and what it is multiplied by before the products are.
        let mut scales: Vec<&str> = vec![scale];
        for reader in self.all(scale)? {
            let (other, result) = Readers::factor(reader, scale)?;
            if !products.contains(other) {
                scales.push(result);
            }
        }
        for scale in scales.iter().skip(1) {
            for reader in self.all(scale)? {
                let (other, _) = Readers::factor(reader, scale)?;
                products.contains(other).then_some(())?;
            }
        }
        for product in products {
            for reader in self.all(product)?.iter().filter(|r| r.op_type != "Cast") {
                let (other, _) = Readers::factor(reader, product)?;
                scales.contains(&other).then_some(())?;
            }
        }
        Some(())
    }
}

/// `DynamicQuantizeLinear`s that can be left out, by the names of their integers.
pub(super) fn left_out(graph: &GraphProto) -> HashSet<String> {
    let dynamic = |n: &&NodeProto| n.op_type == "DynamicQuantizeLinear";
    if !graph.node.iter().any(|n| dynamic(&n)) {
        return HashSet::new();
    }
    let readers = Readers::of(graph);
    let idle = graph
        .node
        .iter()
        .filter(dynamic)
        .filter(|n| readers.is_idle(n).is_some());
    idle.filter_map(|n| n.output.first().cloned()).collect()
}

pub(super) fn rewrite(
    node: &NodeProto,
    w: &mut Writer,
    known: &mut HashMap<String, Known>,
    left_out: &HashSet<String>,
) -> Option<()> {
    // Scales by blocks.
    if attribute(node, "block_size").is_some_and(|a| a.i != 0) {
        return None;
    }
    let y = node.output.first()?.clone();
    let input = |i: usize| node.input.get(i).filter(|n| !n.is_empty());
    let get =
        |known: &HashMap<String, Known>, i: usize| input(i).and_then(|n| known.get(n)).cloned();
    // A zero point that is given has to be known.
    let zero = |known: &HashMap<String, Known>, i: usize| match input(i) {
        None => Some(None),
        Some(name) => known.get(name).cloned().map(Some),
    };
    let axis = attribute(node, "axis").map_or(1, |a| a.i);
    match node.op_type.as_str() {
        "QuantizeLinear" => {
            let (scale, zero) = (get(known, 1)?, zero(known, 2)?);
            let given = attribute(node, "output_dtype").map_or(0, |a| a.i);
            let given = if given == 0 {
                2
            } else {
                i32::try_from(given).ok()?
            };
            let range = limits(zero.as_ref().map_or(given, |z| z.data_type))?;
            let grid = grid(&scale, zero.as_ref(), None)?;
            quantize(w, input(0)?, &y, &grid, range);
        }
        "DequantizeLinear" => {
            let (scale, zero) = (get(known, 1)?, zero(known, 2)?);
            let shape = get(known, 0).map(|x| {
                let rank = x.dims.len();
                (
                    rank,
                    if axis < 0 {
                        (axis + rank as i64) as usize
                    } else {
                        axis as usize
                    },
                )
            });
            let grid = grid(&scale, zero.as_ref(), shape)?;
            let x = dequantize(w, input(0)?, &grid);
            w.node("Identity", &[&x], &y, Vec::new());
        }
        // Quantized tensors are floats from here on; what they are padded with has to be, too.
        "Pad" => {
            let value = get(known, 2).filter(|v| limits(v.data_type).is_some())?;
            let value = w.floats(value.values.iter().map(|&v| v as f32).collect(), &[]);
            let mut operands = vec![w.cast(input(0)?), input(1)?.clone(), value];
            operands.extend(input(3).cloned());
            let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
            w.node("Pad", &operands, &y, node.attribute.clone());
        }
        "QLinearConv" => {
            let weights = get(known, 3)?;
            let rank = weights.dims.len();
            let (xs, ws, ys) = (get(known, 1)?, get(known, 4)?, get(known, 6)?);
            let (xz, wz, yz) = (zero(known, 2)?, zero(known, 5)?, zero(known, 7)?);
            let range = limits(yz.as_ref().map_or(2, |z| z.data_type))?;
            let x = dequantize(w, input(0)?, &grid(&xs, xz.as_ref(), None)?);
            let k = dequantize(w, input(3)?, &grid(&ws, wz.as_ref(), Some((rank, 0)))?);
            let mut operands = vec![x, k];
            if input(8).is_some() {
                let bias = get(known, 8)?;
                let step = |i: usize| ws.values[if ws.values.len() == 1 { 0 } else { i }];
                if ws.values.len() != 1 && ws.values.len() != bias.values.len() {
                    return None;
                }
                let values = bias.values.iter().enumerate();
                let values: Vec<f32> = values
                    .map(|(i, b)| (b * xs.values[0] * step(i)) as f32)
                    .collect();
                let len = values.len();
                operands.push(w.floats(values, &[len]));
            }
            let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
            let sum = w.op_with("Conv", &operands, node.attribute.clone());
            quantize(w, &sum, &y, &grid(&ys, yz.as_ref(), None)?, range);
        }
        "QLinearMatMul" => {
            let (sa, sb, sy) = (get(known, 1)?, get(known, 4)?, get(known, 6)?);
            let (za, zb, zy) = (zero(known, 2)?, zero(known, 5)?, zero(known, 7)?);
            let range = limits(zy.as_ref().map_or(2, |z| z.data_type))?;
            let rank = get(known, 3).map(|b| (b.dims.len(), b.dims.len().wrapping_sub(1)));
            let a = dequantize(w, input(0)?, &grid(&sa, za.as_ref(), None)?);
            let b = dequantize(w, input(3)?, &grid(&sb, zb.as_ref(), rank)?);
            let product = w.op("MatMul", &[&a, &b]);
            quantize(w, &product, &y, &grid(&sy, zy.as_ref(), None)?, range);
        }
        "ConvInteger" | "MatMulInteger" => {
            let mut operands = Vec::new();
            for i in 0..2 {
                let mut x = w.cast(input(i)?);
                if let Some(name) = input(2 + i) {
                    let zero = get(known, 2 + i)?;
                    if zero.values.iter().any(|&z| z != 0.0) {
                        if zero.values.len() > 1 {
                            return None;
                        }
                        let zero = w.cast(name);
                        x = w.op("Sub", &[&x, &zero]);
                    }
                }
                operands.push(x);
            }
            let (op, attributes) = match node.op_type.as_str() {
                "ConvInteger" => ("Conv", node.attribute.clone()),
                _ => ("MatMul", Vec::new()),
            };
            w.node(op, &[&operands[0], &operands[1]], &y, attributes);
        }
        "DynamicQuantizeLinear" => {
            // Eight bits with a scale that depends on the sample: left out, which is nearer to the model before it was
            // quantized.
            let [_, scale, zero] = node.output.as_slice() else {
                return None;
            };
            if !left_out.contains(&y) {
                return None;
            }
            w.node("Identity", &[input(0)?], &y, Vec::new());
            for (name, value) in [(scale, 1.0), (zero, 0.0)] {
                let constant = w.floats(vec![value], &[]);
                w.node("Identity", &[&constant], name, Vec::new());
                known.insert(
                    name.clone(),
                    Known {
                        values: vec![f64::from(value)],
                        dims: Vec::new(),
                        data_type: 1,
                    },
                );
            }
        }
        _ => return None,
    }
    Some(())
}
