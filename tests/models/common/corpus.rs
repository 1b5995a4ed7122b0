//! The models and ONNX's single-operator cases that are not in the repository: `docs/corpus.md`.

use std::path::{Path, PathBuf};

use tract_onnx::prelude::DatumType;

/// A folder of the corpus that `ZKINFER_CORPUS` names; nothing if that is `none`. Tests that ask for one are ignored by
/// default, and fail if they are run without it.
pub fn corpus(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ZKINFER_CORPUS")
        .expect("ZKINFER_CORPUS has to name the corpus, or be `none`: docs/corpus.md");
    if root == "none" {
        eprintln!("NOT CHECKED: {part} of the corpus, which ZKINFER_CORPUS waives");
        return None;
    }
    let path = Path::new(&root).join(part);
    assert!(
        path.is_dir(),
        "ZKINFER_CORPUS: {} is no folder",
        path.display()
    );
    Some(path)
}

/// A tensor of a conformance case; `None` for element types other than numbers and booleans.
pub fn tensor(path: &Path) -> Option<(Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).expect("a file of the corpus");
    let proto = tract_onnx::tensor::proto_from_reader(bytes.as_slice()).expect("a tensor");
    let loaded = tract_onnx::tensor::load_tensor(
        &tract_onnx::data_resolver::FopenDataResolver,
        &proto,
        None,
    )
    .ok()?;
    if loaded.datum_type() == DatumType::String {
        return None;
    }
    let floats = loaded.cast_to::<f32>().ok()?;
    let values = floats
        .try_as_plain_ram()
        .ok()?
        .as_slice::<f32>()
        .ok()?
        .to_vec();
    Some((loaded.shape().to_vec(), values))
}

/// The tensors `input_0.pb, input_1.pb, …` (or `output_K.pb`) of a case.
pub fn tensors(case: &Path, kind: &str) -> Option<Vec<(Vec<usize>, Vec<f32>)>> {
    let files = (0..)
        .map(|k| case.join(format!("test_data_set_0/{kind}_{k}.pb")))
        .take_while(|p| p.is_file());
    files.map(|p| tensor(&p)).collect()
}

/// Largest absolute difference over the range of all wanted values together.
pub fn relative_error<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let (mut low, mut high, mut worst) = (f64::INFINITY, f64::NEG_INFINITY, 0f64);
    for (got, want) in pairs {
        assert_eq!(got.len(), want.len(), "lengths differ");
        for (g, w) in got.iter().zip(want) {
            low = low.min(f64::from(*w));
            high = high.max(f64::from(*w));
            worst = worst.max(if g == w {
                0.0
            } else {
                f64::from((g - w).abs())
            });
        }
    }
    // A constant output has no range: its magnitude then.
    worst / (high - low).max(1e-3 * high.abs()).max(1e-9)
}
