//! `GridSample` of cubic kernels over an edge that goes on: tract clamps the point, ONNX Runtime and PyTorch clamp what is read
//! around it.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Whether a node is what tract samples differently.
pub(super) fn is_border_cubic(node: &NodeProto) -> bool {
    let text = |name: &str| {
        let found = node.attribute.iter().find(|a| a.name == name);
        found.map_or(&[][..], |a| &a.s)
    };
    node.op_type == "GridSample"
        && matches!(text("mode"), b"cubic" | b"bicubic")
        && text("padding_mode") == b"border"
}

pub(super) fn border_cubic(node: &NodeProto) -> Box<dyn InferenceOp> {
    let corners = node.attribute.iter().find(|a| a.name == "align_corners");
    expand(BorderCubic {
        align_corners: corners.is_some_and(|a| a.i != 0),
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BorderCubic {
    align_corners: bool,
}

impl Expansion for BorderCubic {
    fn name(&self) -> StaticName {
        "GridSample".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].rank, 4)?;
        s.equals(&inputs[1].rank, 4)?;
        s.equals(&outputs[0].rank, 4)?;
        s.equals(&inputs[1].shape[3], 2.to_dim())?;
        s.equals(&inputs[0].shape[0], &inputs[1].shape[0])?;
        for (output, (input, axis)) in [(0, 0), (0, 1), (1, 1), (1, 2)].into_iter().enumerate() {
            s.equals(&outputs[0].shape[output], &inputs[input].shape[axis])?;
        }
        Ok(())
    }

    fn wire(
        &self,
        name: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(name, self.clone(), inputs)
    }
}

/// The cubic convolution kernel with a = −0.75, for the four elements around a point `t` behind the second.
fn weights(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

impl BorderCubic {
    /// The elements that are read along an axis of this length, and with which weights.
    fn read(&self, at: f32, len: usize) -> [(usize, f32); 4] {
        let size = len as f32;
        let at = if self.align_corners {
            (at + 1.0) / 2.0 * (size - 1.0)
        } else {
            ((at + 1.0) * size - 1.0) / 2.0
        };
        let first = at.floor();
        let weights = weights(at - first);
        let place = |i: usize| (first + i as f32 - 1.0).clamp(0.0, size - 1.0) as usize;
        std::array::from_fn(|i| (place(i), weights[i]))
    }
}

impl Op for BorderCubic {
    fn name(&self) -> StaticName {
        "GridSample".into()
    }

    op_as_typed_op!();
}

impl EvalOp for BorderCubic {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, grid) = args_2!(inputs);
        let (x, grid) = (x.cast_to::<f32>()?, grid.cast_to::<f32>()?);
        let (&[n, c, h, w], &[m, oh, ow, 2]) = (x.shape(), grid.shape()) else {
            bail!("an image and a grid of points in it");
        };
        ensure!(n == m && h > 0 && w > 0, "a grid for every image");
        let (image, points) = (x.try_as_plain_ram()?, grid.try_as_plain_ram()?);
        let (image, points) = (image.as_slice::<f32>()?, points.as_slice::<f32>()?);
        let mut out: Vec<f32> = Vec::with_capacity(n * c * oh * ow);
        for plane in 0..n * c {
            let points = &points[plane / c * oh * ow * 2..][..oh * ow * 2];
            let image = &image[plane * h * w..][..h * w];
            for point in points.chunks_exact(2) {
                let (across, down) = (self.read(point[0], w), self.read(point[1], h));
                let row =
                    |y: usize| -> f32 { across.iter().map(|(x, f)| f * image[y * w + x]).sum() };
                out.push(down.iter().map(|(y, f)| f * row(*y)).sum::<f32>());
            }
        }
        Ok(tvec!(
            Tensor::from_shape(&[n, c, oh, ow], &out)?.into_tvalue()
        ))
    }
}

impl TypedOp for BorderCubic {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (x, grid) = (&inputs[0].shape, &inputs[1].shape);
        ensure!(x.rank() == 4 && grid.rank() == 4, "four dimensions");
        let shape: TVec<TDim> = tvec!(x[0].clone(), x[1].clone(), grid[1].clone(), grid[2].clone());
        Ok(tvec!(f32::fact(shape)))
    }
}
