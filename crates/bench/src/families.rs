//! The models of sweeps: ONNX files of any size with random weights, the same at every call.
//!
//! Weights are uniform with the spread that keeps values the same size from layer to layer (He), so that quantization finds
//! ranges to work with. A model of random weights costs exactly what a trained one of the same architecture does.

use crate::onnx::{Builder, int, ints};
use crate::random::Sequence;
use crate::report::Family;

/// Classes of every model.
const CLASSES: usize = 10;
/// Neurons of a layer of [`Family::Depth`], and inputs of [`Family::Width`].
const LAYER: usize = 64;
/// Channels of the two convolutions of [`Family::Cnn`].
const CHANNELS: [usize; 2] = [8, 16];
/// Width, heads and hidden width of [`Family::Tokens`].
const BLOCK: (usize, usize, usize) = (32, 4, 128);
/// Side of the image of [`Family::Channels`].
const SIDE: usize = 16;
/// Rows of [`Family::Rows`], tokens of [`Family::Block`].
const ROWS: usize = 64;
/// Width of a head of [`Family::Block`].
const HEAD: usize = 64;

/// A generated model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Where it is on the sweep's axis.
    pub size: u64,
    /// What it is called.
    pub name: String,
    /// The file.
    pub onnx: Vec<u8>,
}

/// How far a sweep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Most parameters, for families whose parameters grow.
    pub parameters: u64,
    /// Most activations, for families whose activations grow.
    pub activations: u64,
    /// Most multiply-adds, for families over images, rows or tokens of fixed number that get wider.
    pub multiply_adds: u64,
}

impl Default for Extent {
    fn default() -> Self {
        Extent {
            parameters: 10_000_000,
            activations: 300_000,
            multiply_adds: 100_000_000,
        }
    }
}

impl Family {
    /// What grows from point to point, in a word: side of the image, width of the layers.
    pub fn axis(self) -> &'static str {
        match self {
            Family::Mlp => "inputs",
            Family::Cnn => "side",
            Family::Depth => "layers",
            Family::Width | Family::Rows | Family::Block => "width",
            Family::Tokens => "tokens",
            Family::Channels => "channels",
        }
    }

    /// Sizes of a sweep, ascending: the thing that grows, parameters, activations or multiply-adds, grows by half a decade
    /// (tokens double) from 1,000 or the family's smallest model.
    pub fn sizes(self, extent: &Extent) -> Vec<u64> {
        let limit = match self {
            Family::Mlp | Family::Depth | Family::Width => extent.parameters,
            Family::Cnn | Family::Tokens => extent.activations,
            Family::Channels | Family::Rows | Family::Block => extent.multiply_adds,
        };
        if self == Family::Tokens {
            let doubled = std::iter::successors(Some(2u64), |t| Some(2 * t));
            return doubled.take_while(|&t| self.grown(t) <= limit).collect();
        }
        let targets = (0..).map(|half: i32| 10f64.powf(3.0 + f64::from(half) / 2.0));
        // Rounding may exceed a target by a little.
        let targets = targets.take_while(|&t| t <= 1.05 * limit as f64);
        // Nothing is smaller than the smallest model.
        let smallest = self.grown(self.step()) as f64;
        let targets = targets.filter(|t| 1.5 * t >= smallest);
        let mut sizes: Vec<u64> = targets.map(|t| self.size_near(t)).collect();
        sizes.dedup();
        sizes
    }

    /// Parameters, activations where parameters stay (of tokens: attention's and GELU's), or multiply-adds with weights where
    /// both grow more slowly, of the model of a size.
    pub fn grown(self, size: u64) -> u64 {
        let (classes, layer) = (CLASSES as u64, LAYER as u64);
        match self {
            Family::Mlp => {
                let quarter = size / 4;
                10 * quarter * quarter + (3 + classes) * quarter + classes
            }
            Family::Width => size * size + (layer + 2 + classes) * size + classes,
            Family::Depth => size * layer * (layer + 1) + (layer + 1) * classes,
            Family::Cnn => size * size * (CHANNELS[0] + CHANNELS[1]) as u64,
            Family::Tokens => size * (BLOCK.1 as u64 * size + BLOCK.2 as u64),
            Family::Channels => {
                let pixels = (SIDE * SIDE) as u64;
                pixels * 9 * (3 * size + 2 * size * size) + classes * size
            }
            Family::Rows => ROWS as u64 * 2 * size * size + classes * size,
            Family::Block => {
                let tokens = ROWS as u64;
                12 * tokens * size * size + 2 * tokens * tokens * size + classes * size
            }
        }
    }

    /// Sizes are multiples of this.
    fn step(self) -> u64 {
        match self {
            Family::Mlp => 4,
            Family::Block => HEAD as u64,
            _ => 1,
        }
    }

    /// The size at which the thing that grows is nearest to a target, in its logarithm.
    fn size_near(self, target: f64) -> u64 {
        let step = self.step();
        let mut size = step;
        while (self.grown(size + step) as f64) <= target {
            size += step;
        }
        let off = |size: u64| (self.grown(size) as f64 / target).ln().abs();
        if off(size + step) < off(size) {
            size + step
        } else {
            size
        }
    }

    /// The model of a size.
    pub fn model(self, size: u64) -> Generated {
        let n = size as usize;
        let (name, onnx) = match self {
            Family::Mlp => {
                let widths = [n, n / 2, n / 4, CLASSES];
                (format!("mlp {}", shape(&widths)), dense(&widths))
            }
            Family::Width => {
                let widths = [LAYER, n, n, CLASSES];
                (format!("mlp {}", shape(&widths)), dense(&widths))
            }
            Family::Depth => {
                let mut widths = vec![LAYER; n + 1];
                widths.push(CLASSES);
                (format!("mlp, {n} x {LAYER}"), dense(&widths))
            }
            Family::Cnn => (format!("cnn, {n} x {n}"), convolutional(n)),
            Family::Tokens => {
                let name = format!("transformer block, {n} tokens");
                (name, transformer(n, BLOCK))
            }
            Family::Channels => {
                let name = format!("residual cnn, {SIDE} x {SIDE}, {n} channels");
                (name, residual(n))
            }
            Family::Rows => (format!("{ROWS} rows, mlp {n}-{n}-{n}"), dense_rows(n)),
            Family::Block => {
                let name = format!("transformer block, {ROWS} tokens of {n}");
                (name, transformer(ROWS, (n, (n / HEAD).max(1), 4 * n)))
            }
        };
        Generated { size, name, onnx }
    }
}

fn shape(widths: &[usize]) -> String {
    let texts: Vec<String> = widths.iter().map(ToString::to_string).collect();
    texts.join("-")
}

/// Builder with random weights.
struct Net {
    builder: Builder,
    random: Sequence,
}

impl Net {
    fn new(seed: u64, input: &[usize]) -> Net {
        Net {
            builder: Builder::new(input),
            random: Sequence::new(seed),
        }
    }

    /// Weights that keep the variance of `inputs` values; behind a ReLU half of it is lost, which `gain` 2 makes up for.
    fn weights(&mut self, name: &str, shape: &[usize], inputs: usize, gain: f32) -> String {
        let spread = (3.0 * gain / inputs as f32).sqrt();
        let values = self.random.around_zero(shape.iter().product(), spread);
        self.builder.tensor(name, shape, &values)
    }

    fn bias(&mut self, name: &str, len: usize) -> String {
        let values = self.random.around_zero(len, 0.1);
        self.builder.tensor(name, &[len], &values)
    }

    /// `x · W + b`, rows of `from` to rows of `to`.
    fn linear(&mut self, name: &str, x: &str, from: usize, to: usize, gain: f32) -> String {
        let weight = self.weights(&format!("{name}.weight"), &[from, to], from, gain);
        let bias = self.bias(&format!("{name}.bias"), to);
        let product = self
            .builder
            .node("MatMul", &format!("{name}.matmul"), &[x, &weight], vec![]);
        self.builder.node("Add", name, &[&product, &bias], vec![])
    }

    /// A 3×3 convolution with padding.
    fn convolution(&mut self, name: &str, x: &str, from: usize, to: usize, gain: f32) -> String {
        let weight = self.weights(&format!("{name}.weight"), &[to, from, 3, 3], from * 9, gain);
        let bias = self.bias(&format!("{name}.bias"), to);
        let attributes = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])];
        self.builder
            .node("Conv", name, &[x, &weight, &bias], attributes)
    }

    fn relu(&mut self, name: &str, x: &str) -> String {
        self.builder.node("Relu", name, &[x], vec![])
    }

    /// Averages over the rows, as one row.
    fn average(&mut self, x: &str) -> String {
        let axes = self.builder.whole("average.axes", &[0]);
        let keep = vec![int("keepdims", 1)];
        self.builder
            .node("ReduceMean", "average", &[x, &axes], keep)
    }

    /// Averages of an image's channels, a dense layer, and the model's end.
    fn classified(mut self, x: &str, channels: usize) -> Vec<u8> {
        let average = self
            .builder
            .node("GlobalAveragePool", "average", &[x], vec![]);
        let average = self.reshape("features", &average, &[1, channels]);
        let head = self.linear("head", &average, channels, CLASSES, 1.0);
        self.builder.finish(&head, &[1, CLASSES])
    }

    fn norm(&mut self, name: &str, x: &str, width: usize) -> String {
        let scale = self
            .builder
            .tensor(&format!("{name}.scale"), &[width], &vec![1.0; width]);
        let bias = self.bias(&format!("{name}.bias"), width);
        let axis = vec![int("axis", -1)];
        self.builder
            .node("LayerNormalization", name, &[x, &scale, &bias], axis)
    }

    fn reshape(&mut self, name: &str, x: &str, shape: &[usize]) -> String {
        let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let shape = self.builder.whole(&format!("{name}.shape"), &shape);
        self.builder.node("Reshape", name, &[x, &shape], vec![])
    }

    fn transpose(&mut self, name: &str, x: &str, order: &[i64]) -> String {
        self.builder
            .node("Transpose", name, &[x], vec![ints("perm", order)])
    }
}

/// Dense layers of these widths with ReLU between them.
fn dense(widths: &[usize]) -> Vec<u8> {
    let mut net = Net::new(1, &[1, widths[0]]);
    let mut last = "x".to_owned();
    for (i, pair) in widths.windows(2).enumerate() {
        let gain = if i == 0 { 1.0 } else { 2.0 };
        last = net.linear(&format!("layer{}", i + 1), &last, pair[0], pair[1], gain);
        if i + 2 < widths.len() {
            last = net.relu(&format!("relu{}", i + 1), &last);
        }
    }
    net.builder.finish(&last, &[1, widths[widths.len() - 1]])
}

/// Two dense layers with ReLU over rows, the rows' averages, a dense layer.
fn dense_rows(width: usize) -> Vec<u8> {
    let mut net = Net::new(4, &[ROWS, width]);
    let mut last = "x".to_owned();
    for (name, gain) in [("layer1", 1.0), ("layer2", 2.0)] {
        last = net.linear(name, &last, width, width, gain);
        last = net.relu(&format!("{name}.relu"), &last);
    }
    let average = net.average(&last);
    let head = net.linear("head", &average, width, CLASSES, 1.0);
    net.builder.finish(&head, &[1, CLASSES])
}

/// Two 3×3 convolutions with padding and ReLU, averages of the channels, a dense layer.
fn convolutional(side: usize) -> Vec<u8> {
    let mut net = Net::new(2, &[1, 1, side, side]);
    let (mut last, mut from) = ("x".to_owned(), 1);
    for (i, to) in CHANNELS.into_iter().enumerate() {
        let gain = if i == 0 { 1.0 } else { 2.0 };
        last = net.convolution(&format!("conv{}", i + 1), &last, from, to, gain);
        last = net.relu(&format!("relu{}", i + 1), &last);
        from = to;
    }
    net.classified(&last, from)
}

/// A 3×3 convolution of three channels and a residual block of two, all with padding and ReLU; averages of the channels, a
/// dense layer.
fn residual(channels: usize) -> Vec<u8> {
    let mut net = Net::new(5, &[1, 3, SIDE, SIDE]);
    let stem = net.convolution("stem", "x", 3, channels, 1.0);
    let stem = net.relu("stem.relu", &stem);
    let inner = net.convolution("conv1", &stem, channels, channels, 2.0);
    let inner = net.relu("relu1", &inner);
    let outer = net.convolution("conv2", &inner, channels, channels, 1.0);
    let sum = net
        .builder
        .node("Add", "residual", &[&stem, &outer], vec![]);
    let sum = net.relu("relu2", &sum);
    net.classified(&sum, channels)
}

/// A transformer block: self-attention and two dense layers with GELU, each behind a normalisation and beside a residual
/// connection; averages over the tokens, a dense layer.
fn transformer(tokens: usize, (width, heads, hidden): (usize, usize, usize)) -> Vec<u8> {
    let each = width / heads;
    let mut net = Net::new(3, &[tokens, width]);
    let normal = net.norm("norm1", "x", width);
    let mut part = |name: &str, order: &[i64], gain: f32| {
        let flat = net.linear(name, &normal, width, width, gain);
        let split = net.reshape(&format!("{name}.split"), &flat, &[tokens, heads, each]);
        net.transpose(&format!("{name}.heads"), &split, order)
    };
    // Queries carry the scale 1 / √each of the scores.
    let query = part("query", &[1, 0, 2], 1.0 / each as f32);
    let key = part("key", &[1, 2, 0], 1.0);
    let value = part("value", &[1, 0, 2], 1.0);
    let scores = net
        .builder
        .node("MatMul", "scores", &[&query, &key], vec![]);
    let weights = net
        .builder
        .node("Softmax", "softmax", &[&scores], vec![int("axis", -1)]);
    let mixed = net
        .builder
        .node("MatMul", "attention", &[&weights, &value], vec![]);
    let joined = net.transpose("attention.join", &mixed, &[1, 0, 2]);
    let joined = net.reshape("attention.rows", &joined, &[tokens, width]);
    let out = net.linear("projection", &joined, width, width, 1.0);
    let middle = net.builder.node("Add", "residual1", &["x", &out], vec![]);
    let normal = net.norm("norm2", &middle, width);
    let up = net.linear("up", &normal, width, hidden, 1.0);
    let up = net.builder.node("Gelu", "gelu", &[&up], vec![]);
    let down = net.linear("down", &up, hidden, width, 1.0);
    let sum = net
        .builder
        .node("Add", "residual2", &[&middle, &down], vec![]);
    let average = net.average(&sum);
    let head = net.linear("head", &average, width, CLASSES, 1.0);
    net.builder.finish(&head, &[1, CLASSES])
}
