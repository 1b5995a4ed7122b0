//! What outputs may be, as far as the inputs' integers tell.

use zkinfer::QuantizedModel;
use zkinfer::graph::Graph;

/// One sample: per tensor its elements, row-major.
pub type Sample = Vec<Vec<f32>>;

/// The range of every output element while inputs move by up to a step: an integer input stands for all reals that round
/// to it, and a steep function makes much of half a step.
pub fn moved(
    graph: &Graph,
    model: &QuantizedModel,
    sample: &Sample,
    like: &Sample,
) -> (Sample, Sample) {
    let fill = |v: f32| like.iter().map(|o| vec![v; o.len()]).collect::<Sample>();
    let (mut least, mut largest) = (fill(f32::INFINITY), fill(f32::NEG_INFINITY));
    for (part, against) in (-4..=4).flat_map(|p| [(f64::from(p), 1.0), (f64::from(p), -1.0)]) {
        let shift = |(k, values): (usize, &Vec<f32>)| {
            let sign = if k % 2 == 1 { against } else { 1.0 };
            let step = |i: usize| model.inputs.get(k).map_or(0.0, |t| t.scale_at(i));
            let by = |i: usize| sign * part / 4.0 * step(i);
            let one = |(i, v): (usize, &f32)| (f64::from(*v) + by(i)) as f32;
            values.iter().enumerate().map(one).collect::<Vec<f32>>()
        };
        let inputs: Sample = sample.iter().enumerate().map(shift).collect();
        let Ok(values) = graph.run(&inputs) else {
            continue;
        };
        let outputs = graph.outputs_of(&values);
        for (k, output) in outputs.iter().enumerate().take(least.len()) {
            for (i, v) in output.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                if let (Some(a), Some(b)) = (least[k].get_mut(i), largest[k].get_mut(i)) {
                    (*a, *b) = (a.min(*v), b.max(*v));
                }
            }
        }
    }
    (least, largest)
}
