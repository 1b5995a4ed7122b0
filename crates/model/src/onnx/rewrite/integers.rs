//! Quantized operators in floats: `q = clip(round(x/s) + z)` stays a rounding and a clamp, `(q − z)·s` is affine.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::writer::{Facts, Known, Writer, attribute, decode};

/// Least and greatest number of an integer type.
pub(super) fn limits(data_type: i32) -> Option<(f32, f32)> {
    match data_type {
        2 => Some((0.0, 255.0)),
        3 => Some((-128.0, 127.0)),
        4 => Some((0.0, 65_535.0)),
        5 => Some((-32_768.0, 32_767.0)),
        21 => Some((0.0, 15.0)),
        22 => Some((-8.0, 7.0)),
        _ => None,
    }
}

/// Four bits two by two are stored in bytes; tract does not know them.
pub(in crate::onnx) fn unpack(graph: &mut GraphProto) {
    for tensor in &mut graph.initializer {
        unpack_tensor(tensor);
    }
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            attribute.t.iter_mut().for_each(unpack_tensor);
            attribute.g.iter_mut().for_each(unpack);
        }
    }
}

fn unpack_tensor(tensor: &mut TensorProto) {
    let signed = match tensor.data_type {
        21 => false,
        22 => true,
        _ => return,
    };
    let mut dims = tensor.dims.iter();
    let len = dims.try_fold(1usize, |p, &d| p.checked_mul(usize::try_from(d).ok()?));
    let packed: Vec<u8> = if tensor.raw_data.is_empty() {
        tensor.int32_data.iter().map(|&v| v as u8).collect()
    } else {
        tensor.raw_data.clone()
    };
    let Some(len) = len.filter(|len| len.div_ceil(2) == packed.len()) else {
        return;
    };
    let four = |v: u8| if signed && v > 7 { v | 0xf0 } else { v };
    let both = packed.iter().flat_map(|b| [four(b & 15), four(b >> 4)]);
    tensor.data_type = if signed { 3 } else { 2 };
    tensor.int32_data.clear();
    tensor.raw_data = both.take(len).collect();
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
pub(in crate::onnx) fn left_out(graph: &GraphProto) -> HashSet<String> {
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

/// A node's operands and what is known of them.
pub(super) struct Operands<'n> {
    pub(super) node: &'n NodeProto,
    pub(super) known: &'n HashMap<String, Known>,
}

impl<'n> Operands<'n> {
    pub(super) fn name(&self, i: usize) -> Option<&'n String> {
        self.node.input.get(i).filter(|n| !n.is_empty())
    }

    pub(super) fn known(&self, i: usize) -> Option<&'n Known> {
        self.known.get(self.name(i)?)
    }

    /// Scale and zero point at two places, of an operand of this rank and axis if they are lists. A zero point that is given
    /// has to be known.
    pub(super) fn grid(
        &self,
        scale: usize,
        zero: usize,
        shape: Option<(usize, usize)>,
    ) -> Option<Grid> {
        let zero = match self.name(zero) {
            Some(_) => Some(self.known(zero)?),
            None => None,
        };
        grid(self.known(scale)?, zero, shape)
    }

    /// The operand at `at`, whose scale and zero point follow it, in floats.
    pub(super) fn real(
        &self,
        w: &mut Writer,
        at: usize,
        shape: Option<(usize, usize)>,
    ) -> Option<String> {
        let grid = self.grid(at + 1, at + 2, shape)?;
        Some(dequantize(w, self.name(at)?, &grid))
    }

    /// Writes the result on the grid at `scale`, `zero`.
    pub(super) fn result(&self, w: &mut Writer, x: &str, scale: usize, zero: usize) -> Option<()> {
        let range = limits(self.known(zero).map_or(2, |z| z.data_type))?;
        let grid = self.grid(scale, zero, None)?;
        quantize(w, x, self.node.output.first()?, &grid, range);
        Some(())
    }

    /// How many elements share a scale, if scales are by blocks.
    fn by_blocks(&self) -> Option<usize> {
        let size = attribute(self.node, "block_size")?.i;
        usize::try_from(size).ok().filter(|s| *s > 0)
    }
}

/// The number of axes of the first operand, and the one along which scales differ.
fn axis(of: &Operands, facts: &Facts) -> Option<(usize, usize)> {
    let axis = attribute(of.node, "axis").map_or(1, |a| a.i);
    facts.types.axis(of.name(0)?, axis)
}

/// `DequantizeLinear` of stored integers with scales by blocks along an axis: floats.
fn blocks(node: &NodeProto, w: &mut Writer, size: usize) -> Option<()> {
    let stored = |w: &Writer, i: usize| {
        let name = node.input.get(i).filter(|n| !n.is_empty())?;
        decode(w.constants.iter().find(|t| t.name == *name)?)
    };
    let (x, scale) = (stored(w, 0)?, stored(w, 1)?);
    let zero = match node.input.get(2).filter(|n| !n.is_empty()) {
        Some(_) => Some(stored(w, 2)?),
        None => None,
    };
    let axis = attribute(node, "axis").map_or(1, |a| a.i);
    let rank = x.dims.len() as i64;
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
    let dims = |dims: &[i64]| -> Option<Vec<usize>> {
        dims.iter().map(|&d| usize::try_from(d).ok()).collect()
    };
    let (x_dims, s_dims) = (dims(&x.dims)?, dims(&scale.dims)?);
    let fits = |(i, d): (usize, &usize)| match i == axis {
        true => s_dims.get(i) == Some(&d.div_ceil(size)),
        false => s_dims.get(i) == Some(d),
    };
    let same = x_dims.iter().enumerate().all(fits) && s_dims.len() == x_dims.len();
    if !same || axis >= x_dims.len() || zero.as_ref().is_some_and(|z| z.dims != scale.dims) {
        return None;
    }
    let inner: usize = x_dims[axis + 1..].iter().product();
    let value = |(i, q): (usize, &f64)| {
        let (outer, rest) = (i / (x_dims[axis] * inner), i % (x_dims[axis] * inner));
        let at = (outer * s_dims[axis] + rest / inner / size) * inner + rest % inner;
        let zero = zero.as_ref().map_or(0.0, |z| z.values[at]);
        ((q - zero) * scale.values[at]) as f32
    };
    let values = x.values.iter().enumerate().map(value).collect();
    let real = w.floats(values, &x_dims);
    w.identity(&real, node.output.first()?)
}

pub(in crate::onnx) fn quantize_linear(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let known = &facts.known;
    let of = Operands { node, known };
    if of.by_blocks().is_some() {
        return None;
    }
    let given = attribute(node, "output_dtype").map_or(0, |a| a.i);
    let given = if given == 0 {
        2
    } else {
        i32::try_from(given).ok()?
    };
    let range = limits(of.known(2).map_or(given, |z| z.data_type))?;
    let grid = of.grid(1, 2, axis(&of, facts))?;
    quantize(w, of.name(0)?, node.output.first()?, &grid, range);
    Some(())
}

pub(in crate::onnx) fn dequantize_linear(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let known = &facts.known;
    let of = Operands { node, known };
    if let Some(size) = of.by_blocks() {
        return blocks(node, w, size);
    }
    let x = of.real(w, 0, axis(&of, facts))?;
    w.identity(&x, node.output.first()?)
}

/// Quantized tensors are floats from here on; what they are padded with has to be, too.
pub(in crate::onnx) fn pad(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let known = &facts.known;
    let of = Operands { node, known };
    let value = of.known(2).filter(|v| limits(v.data_type).is_some())?;
    let value = w.floats(value.values.iter().map(|&v| v as f32).collect(), &[]);
    let mut operands = vec![w.cast(of.name(0)?), of.name(1)?.clone(), value];
    operands.extend(of.name(3).cloned());
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let y = node.output.first()?;
    w.node("Pad", &operands, y, node.attribute.clone());
    Some(())
}

pub(in crate::onnx) fn conv(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let known = &facts.known;
    let of = Operands { node, known };
    let (x_scale, scales) = (&of.known(1)?.values, &of.known(4)?.values);
    let rank = of.known(3)?.dims.len();
    let mut operands = vec![of.real(w, 0, None)?, of.real(w, 3, Some((rank, 0)))?];
    if of.name(8).is_some() {
        let bias = of.known(8)?;
        let step = |i: usize| scales[if scales.len() == 1 { 0 } else { i }];
        if scales.len() != 1 && scales.len() != bias.values.len() {
            return None;
        }
        let values = bias.values.iter().enumerate();
        let values: Vec<f32> = values
            .map(|(i, b)| (b * x_scale[0] * step(i)) as f32)
            .collect();
        let len = values.len();
        operands.push(w.floats(values, &[len]));
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let sum = w.op_with("Conv", &operands, node.attribute.clone());
    of.result(w, &sum, 6, 7)
}

pub(in crate::onnx) fn matmul(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let known = &facts.known;
    let of = Operands { node, known };
    let columns = of
        .known(3)
        .map(|b| (b.dims.len(), b.dims.len().wrapping_sub(1)));
    let (a, b) = (of.real(w, 0, None)?, of.real(w, 3, columns)?);
    let product = w.op("MatMul", &[&a, &b]);
    of.result(w, &product, 6, 7)
}

/// `ConvInteger` and `MatMulInteger`.
pub(in crate::onnx) fn product(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let known = &facts.known;
    let of = Operands { node, known };
    let mut operands = Vec::new();
    for i in 0..2 {
        let mut x = w.cast(of.name(i)?);
        if let Some(name) = of.name(2 + i) {
            let zero = of.known(2 + i)?;
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
    let y = node.output.first()?;
    w.node(op, &[&operands[0], &operands[1]], y, attributes);
    Some(())
}

/// Eight bits with a scale that depends on the sample: left out, which is nearer to the model before it was quantized.
pub(in crate::onnx) fn dynamic(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let [y, scale, zero] = node.output.as_slice() else {
        return None;
    };
    if !facts.left_out.contains(y) {
        return None;
    }
    w.identity(node.input.first()?, y)?;
    for (name, value) in [(scale, 1.0), (zero, 0.0)] {
        let constant = w.floats(vec![value], &[]);
        w.identity(&constant, name)?;
        let known = Known {
            values: vec![f64::from(value)],
            dims: Vec::new(),
            data_type: 1,
        };
        facts.known.insert(name.clone(), known);
    }
    Some(())
}
