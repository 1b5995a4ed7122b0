//! Matrix products, convolutions and transposed convolutions with constant weights.

use tract_onnx::prelude::Tensor;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::ImportError;
use super::guard::guarded;
use super::lower::Call;
use super::tensor::{Lazy, Lowering};
use crate::graph::view::Builder;
use crate::graph::{Linear, MatMul, Op};
use zkinfer_circuits::program::View;

/// An index of an Einsum: its length, the operand's dimensions it runs along, its stride in the weights, its place in the
/// result.
struct Label {
    len: usize,
    x_dims: Vec<usize>,
    w_stride: usize,
    output: Option<usize>,
}

/// Weight offsets for all combinations of some labels, row-major.
fn offsets(labels: &[&Label]) -> Vec<usize> {
    let extend = |all: Vec<usize>, l: &&Label| {
        all.iter()
            .flat_map(|o| (0..l.len).map(move |i| o + i * l.w_stride))
            .collect()
    };
    labels.iter().fold(vec![0], extend)
}

/// Row-major strides.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Geometry of a convolution or a pooling: sizes are per spatial axis.
pub(super) struct Windows {
    pub(super) n_axis: Option<usize>,
    pub(super) c_axis: usize,
    pub(super) h_axis: usize,
    pub(super) input: Vec<usize>,
    pub(super) kernel: Vec<usize>,
    pub(super) stride: Vec<usize>,
    pub(super) dilation: Vec<usize>,
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
    pub(super) output: Vec<usize>,
}

impl Lowering<'_> {
    /// The geometry of a pooling operator over a tensor of this shape.
    pub(super) fn windows(&self, spec: &PoolSpec, shape: &[usize]) -> Result<Windows, ImportError> {
        let result = guarded(|| {
            let data = spec.data_format.shape(shape.to_vec())?;
            let padding = spec.computed_padding(data.hw_dims());
            Ok(Windows {
                n_axis: data.n_axis(),
                c_axis: data.c_axis(),
                h_axis: data.h_axis(),
                input: data.hw_dims().to_vec(),
                kernel: spec.kernel_shape.to_vec(),
                stride: spec.strides().to_vec(),
                dilation: spec.dilations().to_vec(),
                before: padding.iter().map(|p| p.pad_before).collect(),
                after: padding.iter().map(|p| p.pad_after).collect(),
                output: padding.iter().map(|p| p.convoluted).collect(),
            })
        });
        let w: Windows = result.map_err(|e| self.unsupported(e))?;
        let rank = w.input.len();
        let same = [&w.kernel, &w.stride, &w.dilation, &w.before, &w.output]
            .iter()
            .all(|v| v.len() == rank);
        // Far below what would overflow an index.
        let small = [&w.kernel, &w.stride, &w.dilation, &w.before, &w.after]
            .iter()
            .all(|v| v.iter().all(|&x| x < 1 << 24));
        if !same || !small || rank == 0 || w.stride.contains(&0) || w.dilation.contains(&0) {
            return Err(self.unsupported("the window's geometry is not valid"));
        }
        self.bound("the number of elements in a window", &w.kernel)?;
        Ok(w)
    }

    /// Emits a linear layer; the result has the shape `[groups·outputs][positions]` as `shape` splits it.
    fn linear(&mut self, x: &Lazy, layer: Linear, shape: Vec<usize>) -> Result<Lazy, ImportError> {
        self.bound(
            "the number of patch elements",
            &[layer.groups, layer.positions, layer.inputs],
        )?;
        let (node, patches) = self.read(x, &layer.patches, false)?;
        self.emit_lazy(Op::Linear(Linear { patches, ..layer }), vec![node], shape)
    }

    pub(super) fn einsum(&mut self, op: &EinSum, call: &Call) -> Result<Lazy, ImportError> {
        if op.q_params.is_some() || call.inputs.len() != 2 {
            return Err(self.unsupported("an Einsum of other than two float operands"));
        }
        let (xs, w) = match (call.constant(0), call.constant(1)) {
            (Some(w), None) => (1, w),
            (None, Some(w)) => (0, w),
            _ => return self.einsum_tensors(op, call),
        };
        let x = call
            .tensor(xs)
            .cloned()
            .ok_or_else(|| self.unsupported("has no operand"))?;
        let weights = self.floats(w)?;
        let w_strides = strides(w.shape());
        let mut labels = Vec::new();
        for axis in op.axes.iter_all_axes() {
            let (Some(in_x), Some(in_w), Some(out)) = (
                axis.inputs.get(xs),
                axis.inputs.get(1 - xs),
                axis.outputs.first(),
            ) else {
                return Err(self.unsupported("an Einsum with other than one result"));
            };
            if in_w.len() > 1 || out.len() > 1 {
                return Err(self.unsupported("an Einsum that reads a diagonal"));
            }
            let x_len = in_x
                .iter()
                .map(|&d| x.shape.get(d).copied().unwrap_or(1))
                .max()
                .unwrap_or(1);
            let w_len = in_w
                .first()
                .and_then(|&d| w.shape().get(d))
                .copied()
                .unwrap_or(1);
            let fits = |&d: &usize| x.shape.get(d).is_none_or(|&l| l == 1 || l == x_len);
            if !in_x.iter().all(fits) || (x_len > 1 && w_len > 1 && x_len != w_len) {
                return Err(self.unsupported("an Einsum of operands whose dimensions differ"));
            }
            // A length of 1 broadcasts.
            let x_dims = if x_len > 1 { in_x.to_vec() } else { Vec::new() };
            let w_stride = if w_len > 1 {
                in_w.first().map_or(0, |&d| w_strides[d])
            } else {
                0
            };
            labels.push(Label {
                len: x_len.max(w_len),
                x_dims,
                w_stride,
                output: out.first().copied(),
            });
        }
        labels.retain(|l| l.len > 1);
        let pick = |f: fn(&Label) -> bool| labels.iter().filter(|l| f(l)).collect::<Vec<_>>();
        let groups = pick(|l| l.output.is_some() && l.w_stride > 0 && !l.x_dims.is_empty());
        let outputs = pick(|l| l.output.is_some() && l.w_stride > 0 && l.x_dims.is_empty());
        let positions = pick(|l| l.output.is_some() && l.w_stride == 0);
        let inputs = pick(|l| l.output.is_none());
        let count = |labels: &[&Label]| labels.iter().fold(1usize, |p, l| p.saturating_mul(l.len));
        self.bound(
            "the number of weights",
            &[count(&groups), count(&outputs), count(&inputs)],
        )?;
        let mut patches = Builder::new(&x.dims());
        for part in [&groups, &positions, &inputs] {
            for l in part {
                patches =
                    patches.walk(l.len, &l.x_dims.iter().map(|&d| (d, 1)).collect::<Vec<_>>());
            }
            if part.is_empty() {
                patches = patches.walk(1, &[]);
            }
        }
        let (og, oo, oi) = (offsets(&groups), offsets(&outputs), offsets(&inputs));
        let mut matrix = Vec::with_capacity(og.len() * oo.len() * oi.len());
        for g in &og {
            for o in &oo {
                matrix.extend(oi.iter().map(|i| weights[g + o + i]));
            }
        }
        let layer = Linear {
            groups: og.len(),
            outputs: oo.len(),
            positions: count(&positions),
            inputs: oi.len(),
            patches: patches.build(),
            weights: matrix,
            bias: Vec::new(),
        };
        let result: Vec<&Label> = groups
            .iter()
            .chain(&outputs)
            .chain(&positions)
            .copied()
            .collect();
        let shape: Vec<usize> = if result.is_empty() {
            vec![1]
        } else {
            result.iter().map(|l| l.len).collect()
        };
        let y = self.linear(&x, layer, shape)?;
        let mut order: Vec<usize> = (0..result.len()).collect();
        order.sort_by_key(|&i| result[i].output);
        let y = if order.is_empty() {
            y
        } else {
            self.permuted(&y, &order)?
        };
        Ok(y.reshaped(&call.shape))
    }

    /// Operand, kernel as `[groups][outputs][inputs · kernel]` and bias of a convolution.
    fn conv_operands(&self, call: &Call) -> Result<(Lazy, Vec<f32>, Vec<f32>), ImportError> {
        let (Some(x), Some(kernel)) = (call.tensor(0), call.constant(1)) else {
            return Err(self.unsupported("weights that are not constant are not supported"));
        };
        let bias = match (call.constant(2), call.inputs.len()) {
            (Some(bias), _) => self.floats(bias)?,
            (None, 2) => Vec::new(),
            _ => return Err(self.unsupported("a bias that is not constant is not supported")),
        };
        Ok((x.clone(), self.floats(kernel)?, bias))
    }

    /// A bias per output channel, empty if it is zero.
    fn channel_bias(&self, bias: Vec<f32>, channels: usize) -> Result<Vec<f32>, ImportError> {
        let bias = if bias.len() == 1 {
            vec![bias[0]; channels]
        } else {
            bias
        };
        if bias.iter().all(|&b| b == 0.0) {
            return Ok(Vec::new());
        }
        if bias.len() == channels {
            Ok(bias)
        } else {
            Err(self.unsupported("the bias does not fit the channels"))
        }
    }

    pub(super) fn conv(&mut self, op: &Conv, call: &Call) -> Result<Lazy, ImportError> {
        self.reals(call)?;
        if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
            return Err(self.unsupported("a quantized convolution"));
        }
        if call.constant(1).is_none() {
            return self.computed_conv(op, call);
        }
        let (x, weights, bias) = self.conv_operands(call)?;
        let w = self.windows(&op.pool_spec, &x.shape)?;
        let (channels, groups) = (op.pool_spec.output_channels, op.group);
        if groups == 0 || x.shape[w.c_axis] % groups != 0 || channels % groups != 0 {
            return Err(self.unsupported("groups do not divide the channels"));
        }
        let per_group = x.shape[w.c_axis] / groups;
        let batch = w.n_axis.map_or(1, |n| x.shape[n]);
        let patches = conv_patches(&x.dims(), &w, (groups, per_group, batch));
        let inputs = per_group * w.kernel.iter().product::<usize>();
        if weights.len() as u64 != (channels as u64).saturating_mul(inputs as u64) {
            return Err(self.unsupported("the kernel does not fit the channels"));
        }
        let positions = w.output.iter().product::<usize>() * batch;
        let bias = self.channel_bias(bias, channels)?;
        let layer = Linear {
            groups,
            outputs: channels / groups,
            positions,
            inputs,
            patches,
            weights,
            bias,
        };
        let mut shape = vec![channels, batch];
        shape.extend(&w.output);
        let y = self.linear(&x, layer, shape)?;
        self.channels_first_to(&y, &w, call)
    }

    /// A convolution by weights that are activations: a matrix product with the patches.
    fn computed_conv(&mut self, op: &Conv, call: &Call) -> Result<Lazy, ImportError> {
        let (Some(x), Some(kernel)) = (call.inputs.first(), call.tensor(1).cloned()) else {
            return Err(self.unsupported("has no operand"));
        };
        let x = self.tensor(x)?;
        let w = self.windows(&op.pool_spec, &x.shape)?;
        let (channels, groups) = (op.pool_spec.output_channels, op.group);
        let dims = kernel.dims();
        let fits = groups > 0
            && channels % groups == 0
            && dims.len() == 2 + w.kernel.len()
            && dims[0] == channels
            && dims[1].checked_mul(groups) == Some(x.shape[w.c_axis])
            && dims[2..] == w.kernel;
        if !fits {
            return Err(self.unsupported("the kernel does not fit the channels"));
        }
        let batch = w.n_axis.map_or(1, |n| x.shape[n]);
        let positions = w.output.iter().product::<usize>() * batch;
        let (outputs, inputs) = (channels / groups, dims[1..].iter().product::<usize>());
        self.few_products(channels.saturating_mul(positions))?;
        self.bound("the number of patch elements", &[groups, positions, inputs])?;
        let mut left = Builder::new(&dims)
            .walk(groups, &[(0, outputs as i64)])
            .walk(outputs, &[(0, 1)]);
        for (d, &len) in dims.iter().enumerate().skip(1) {
            left = left.walk(len, &[(d, 1)]);
        }
        let (first, left) = self.read(&kernel, &left.build(), false)?;
        let right = conv_patches(&x.dims(), &w, (groups, dims[1], batch));
        let (second, right) = self.read(&x, &right, true)?;
        let product = Op::MatMul(MatMul {
            groups,
            outputs,
            positions,
            inputs,
            left,
            right,
        });
        let mut shape = vec![channels, batch];
        shape.extend(&w.output);
        let mut y = self.emit_lazy(product, vec![first, second], shape.clone())?;
        if let Some(bias) = call.inputs.get(2) {
            let bias = self.tensor(bias)?;
            let len = bias.len();
            let mut column = vec![1; shape.len()];
            column[0] = len;
            let bias = self.broadcast(&bias.reshaped(&column), &shape)?;
            y = self.sum(&y, &bias)?;
        }
        self.channels_first_to(&y, &w, call)
    }

    /// From `[channels][batch][space…]` to the operator's layout.
    fn channels_first_to(
        &mut self,
        y: &Lazy,
        w: &Windows,
        call: &Call,
    ) -> Result<Lazy, ImportError> {
        let space = 2..2 + w.input.len();
        let order: Vec<usize> = if w.c_axis < w.h_axis {
            [1, 0].into_iter().chain(space).collect()
        } else {
            std::iter::once(1).chain(space).chain([0]).collect()
        };
        Ok(self.permuted(y, &order)?.reshaped(&call.shape))
    }

    /// Transposed convolution, as a convolution whose outputs are all phases of the stride at once.
    ///
    /// Output `q = s·p + r` receives input `j` through kernel tap `u` where `s·j + d·u = q + before`, that is
    /// `j = p + (r + before − d·u)/s` if `s` divides. So each phase `r` is a convolution with the taps of its residue class;
    /// all phases read the same few inputs around `p` (with zero weights where a tap is not theirs).
    pub(super) fn deconv(&mut self, op: &Deconv, call: &Call) -> Result<Lazy, ImportError> {
        self.reals(call)?;
        if op.kernel_format != KernelFormat::OIHW {
            return Err(self.unsupported("the kernel's layout"));
        }
        let (x, kernel, bias) = self.conv_operands(call)?;
        let w = self.windows(&op.pool_spec, &x.shape)?;
        let padding = guarded(|| {
            op.pool_spec.padding.compute_for_deconv(
                &w.input,
                &w.kernel,
                &w.dilation,
                &w.stride,
                &op.adjustments,
            )
        });
        let padding = padding.map_err(|e| self.unsupported(e))?;
        let space = w.h_axis..w.h_axis + w.input.len();
        let target = call
            .shape
            .get(space)
            .map(<[usize]>::to_vec)
            .unwrap_or_default();
        let (channels, groups) = (op.pool_spec.output_channels, op.group);
        if groups == 0
            || channels % groups != 0
            || x.shape[w.c_axis] % groups != 0
            || target.len() != padding.len()
        {
            return Err(self.unsupported("groups do not divide the channels"));
        }
        let (outputs, per_group) = (channels / groups, x.shape[w.c_axis] / groups);
        if kernel.len() != channels * per_group * w.kernel.iter().product::<usize>() {
            return Err(self.unsupported("the kernel does not fit the channels"));
        }
        for d in 0..target.len() {
            self.bound("the number of kernel phases", &[w.stride[d], w.kernel[d]])?;
        }
        let axes: Vec<Phases> = (0..target.len())
            .map(|d| {
                Phases::new(
                    w.stride[d],
                    w.dilation[d],
                    w.kernel[d],
                    padding[d].pad_before,
                    target[d],
                )
            })
            .collect();
        let count =
            |f: fn(&Phases) -> usize| axes.iter().fold(1usize, |p, a| p.saturating_mul(f(a)));
        let (phases, taps, places) = (count(|a| a.stride), count(|a| a.taps), count(|a| a.places));
        self.bound(
            "the number of weights",
            &[channels, phases, per_group, taps],
        )?;
        let weights = phase_weights(&kernel, channels, per_group, &axes);
        let batch = w.n_axis.map_or(1, |n| x.shape[n]);
        let mut patches = Builder::new(&x.dims()).walk(groups, &[(w.c_axis, per_group as i64)]);
        if let Some(n) = w.n_axis.filter(|_| batch > 1) {
            patches = patches.walk(batch, &[(n, 1)]);
        }
        for (d, a) in axes.iter().enumerate() {
            patches = patches
                .offset(w.h_axis + d, a.first)
                .walk(a.places, &[(w.h_axis + d, 1)]);
        }
        patches = patches.walk(per_group, &[(w.c_axis, 1)]);
        for (d, a) in axes.iter().enumerate() {
            patches = patches.walk(a.taps, &[(w.h_axis + d, 1)]);
        }
        let bias = self.channel_bias(bias, channels)?;
        let bias = bias
            .iter()
            .flat_map(|&b| std::iter::repeat_n(b, phases))
            .collect();
        let layer = Linear {
            groups,
            outputs: outputs * phases,
            positions: batch * places,
            inputs: per_group * taps,
            patches: patches.build(),
            weights,
            bias,
        };
        // [channels][phases…][batch][places…] to [channels][batch][place, phase]…, then cut to the size.
        let rank = axes.len();
        let mut shape = vec![channels];
        shape.extend(axes.iter().map(|a| a.stride));
        shape.push(batch);
        shape.extend(axes.iter().map(|a| a.places));
        let y = self.linear(&x, layer, shape)?;
        let mut order = vec![0, rank + 1];
        order.extend((0..rank).flat_map(|d| [rank + 2 + d, 1 + d]));
        let mut shape = vec![channels, batch];
        shape.extend(axes.iter().map(|a| a.places * a.stride));
        let mut y = self.permuted(&y, &order)?.reshaped(&shape);
        for (d, &len) in target.iter().enumerate() {
            if y.shape[2 + d] != len {
                y = self.window(&y, 2 + d, 0, 1, len)?;
            }
        }
        self.channels_first_to(&y, &w, call)
    }
}

/// One spatial axis of a transposed convolution.
struct Phases {
    stride: usize,
    /// Positions per phase.
    places: usize,
    /// Input index of the first tap relative to the position.
    first: i64,
    /// Input indices that some phase reads.
    taps: usize,
    /// (phase, kernel index, tap).
    links: Vec<(usize, usize, usize)>,
}

impl Phases {
    fn new(stride: usize, dilation: usize, kernel: usize, before: usize, target: usize) -> Phases {
        let (s, mut links) = (stride as i64, Vec::new());
        for r in 0..stride {
            for u in 0..kernel {
                let at = (r + before) as i64 - (u * dilation) as i64;
                if at.rem_euclid(s) == 0 {
                    links.push((r, u, at.div_euclid(s)));
                }
            }
        }
        let first = links.iter().map(|l| l.2).min().unwrap_or(0);
        let last = links.iter().map(|l| l.2).max().unwrap_or(0);
        Phases {
            stride,
            places: target.div_ceil(stride),
            first,
            taps: (last - first) as usize + 1,
            links: links
                .into_iter()
                .map(|(r, u, at)| (r, u, (at - first) as usize))
                .collect(),
        }
    }
}

/// `[channels][phases…][inputs][taps…]` from a kernel `[channels][inputs][kernel…]`.
fn phase_weights(kernel: &[f32], channels: usize, inputs: usize, axes: &[Phases]) -> Vec<f32> {
    let size = kernel.len() / (channels * inputs);
    let phases: usize = axes.iter().map(|a| a.stride).product();
    let taps: usize = axes.iter().map(|a| a.taps).product();
    // All combinations of links over the axes: (phase, kernel index, tap), flattened row-major.
    let mut links = vec![(0, 0, 0)];
    let mut rest = size;
    for a in axes {
        let kernel_len = a.links.iter().map(|l| l.1 + 1).max().unwrap_or(1);
        rest /= kernel_len;
        let extend = |&(r, u, t): &(usize, usize, usize)| {
            let each = a
                .links
                .iter()
                .map(move |l| (r * a.stride + l.0, u * kernel_len + l.1, t * a.taps + l.2));
            each.collect::<Vec<_>>()
        };
        links = links.iter().flat_map(extend).collect();
    }
    debug_assert_eq!(rest, 1);
    let mut weights = vec![0.0; channels * phases * inputs * taps];
    for c in 0..channels {
        for i in 0..inputs {
            for &(r, u, t) in &links {
                weights[((c * phases + r) * inputs + i) * taps + t] =
                    kernel[(c * inputs + i) * size + u];
            }
        }
    }
    weights
}

/// What a convolution reads, `[groups][batch · positions][inputs]`.
fn conv_patches(
    dims: &[usize],
    w: &Windows,
    (groups, per_group, batch): (usize, usize, usize),
) -> View {
    let mut patches = Builder::new(dims).walk(groups, &[(w.c_axis, per_group as i64)]);
    if let Some(n) = w.n_axis.filter(|_| batch > 1) {
        patches = patches.walk(batch, &[(n, 1)]);
    }
    for (d, &len) in w.output.iter().enumerate() {
        patches = patches
            .offset(w.h_axis + d, -(w.before[d] as i64))
            .walk(len, &[(w.h_axis + d, w.stride[d] as i64)]);
    }
    patches = patches.walk(per_group, &[(w.c_axis, 1)]);
    for (d, &len) in w.kernel.iter().enumerate() {
        patches = patches.walk(len, &[(w.h_axis + d, w.dilation[d] as i64)]);
    }
    patches.build()
}

/// Elements of a constant.
pub(super) fn volume(tensor: &Tensor) -> usize {
    tensor.shape().iter().product()
}
