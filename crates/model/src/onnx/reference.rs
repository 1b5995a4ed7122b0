//! The original model, run by tract in floats.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, IntoRunnable, Tensor, TypedRunnableModel, tvec};

use super::guard::guarded;
use super::passes::{self, Purpose};
use super::{ImportError, ImportOptions};

/// The ONNX model as tract runs it: the float reference of tests and reports, independent of the lowering.
pub struct ReferenceModel {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<(Vec<usize>, DatumType)>,
}

impl ReferenceModel {
    /// Loads a model; free dimensions are fixed as for an import.
    ///
    /// # Errors
    /// As [`Graph::from_onnx_with`](crate::graph::Graph::from_onnx_with), except that operators the importer cannot lower
    /// are fine as long as tract has them.
    pub fn from_onnx(bytes: &[u8], options: &ImportOptions) -> Result<ReferenceModel, ImportError> {
        let typed = passes::read(bytes, None, options, Purpose::Run)?.typed()?;
        let failed = |reason| ImportError::Inference { reason };
        let facts = guarded(|| {
            let facts = typed.input_outlets()?.iter().map(|&o| {
                let fact = typed.outlet_fact(o)?;
                Ok((
                    fact.shape.as_concrete().map(<[usize]>::to_vec),
                    fact.datum_type,
                ))
            });
            facts.collect::<tract_onnx::prelude::TractResult<Vec<_>>>()
        });
        let mut inputs = Vec::new();
        for (shape, datum_type) in facts.map_err(failed)? {
            inputs.push((
                shape.ok_or_else(|| failed("an input has no fixed shape".into()))?,
                datum_type,
            ));
        }
        let plan = guarded(|| typed.into_optimized()?.into_runnable()).map_err(failed)?;
        Ok(ReferenceModel { plan, inputs })
    }

    /// Number of elements of every input.
    pub fn input_lens(&self) -> Vec<usize> {
        self.inputs
            .iter()
            .map(|(shape, _)| shape.iter().product())
            .collect()
    }

    /// The model's outputs for one sample (flat, row-major, in the model's order; integers are converted to floats).
    ///
    /// # Errors
    /// If an input has the wrong length, or tract fails.
    pub fn run<T: AsRef<[f32]>>(&self, inputs: &[T]) -> Result<Vec<Vec<f32>>, ImportError> {
        let failed = |reason| ImportError::Inference { reason };
        let mut tensors = tvec!();
        for (index, (shape, datum_type)) in self.inputs.iter().enumerate() {
            let expected = shape.iter().product();
            let values = inputs.get(index).map(AsRef::as_ref).unwrap_or_default();
            if values.len() != expected {
                return Err(ImportError::InputLength {
                    index,
                    expected,
                    found: values.len(),
                });
            }
            let tensor = guarded(|| {
                Ok(Tensor::from_shape(shape, values)?
                    .cast_to_dt(*datum_type)?
                    .into_owned())
            });
            tensors.push(tensor.map_err(failed)?.into());
        }
        let outputs = guarded(|| {
            let results = self.plan.run(tensors)?;
            results
                .iter()
                .map(|t| {
                    Ok(t.cast_to::<f32>()?
                        .try_as_plain_ram()?
                        .as_slice::<f32>()?
                        .to_vec())
                })
                .collect()
        });
        outputs.map_err(failed)
    }
}
