//! Families of models of growing size, measured.

use crate::error::BenchError;
use crate::families::Extent;
use crate::report::{Family, Samples, Sweep, SweepPoint};
use crate::stages::{self, Options, Subject};
use zkinfer::ImportOptions;

/// Measures the models of a family, smallest first: import to warm verification of each, and what else the options ask for.
/// `watch` is told what is done.
///
/// A model that does not fit (no supported number of rows holds its proof) ends the sweep; [`Sweep::stopped`] says so.
///
/// # Errors
/// What has nothing to do with a model's size.
pub fn sweep(
    family: Family,
    extent: &Extent,
    options: &Options,
    watch: &mut dyn FnMut(&str),
) -> Result<Sweep, BenchError> {
    let mut sweep = Sweep {
        family,
        axis: family.axis().to_owned(),
        points: Vec::new(),
        stopped: None,
    };
    for size in family.sizes(extent) {
        let model = family.model(size);
        watch(&model.name);
        match measure(model.name.clone(), model.onnx, options, watch) {
            Ok(measurement) => sweep.points.push(SweepPoint { size, measurement }),
            Err(
                error @ (BenchError::Import(_) | BenchError::Quantize(_) | BenchError::Commit(_)),
            ) => {
                sweep.stopped = Some(format!("{}: {error}", model.name));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sweep)
}

fn measure(
    name: String,
    onnx: Vec<u8>,
    options: &Options,
    watch: &mut dyn FnMut(&str),
) -> Result<crate::report::Measurement, BenchError> {
    let subject = Subject::new(name, onnx, ImportOptions::default())?;
    let mut measurement = stages::measure(&subject, options, watch)?;
    // Every model of a sweep is random: nothing to note at each.
    measurement.notes.clear();
    debug_assert_eq!(measurement.samples, Samples::Random);
    Ok(measurement)
}
