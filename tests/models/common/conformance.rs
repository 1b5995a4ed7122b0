//! ONNX's single-operator cases: index, models, stored tensors.

use std::path::{Path, PathBuf};

use prost::Message;
use tract_onnx::pb::{ModelProto, TensorProto};
use zkinfer::graph::Graph;
use zkinfer::onnx::ImportError;

use super::corpus::tensors;

/// One line of the index.
pub struct Case {
    pub name: String,
    pub op: String,
    /// All operators of the model.
    #[allow(dead_code)]
    pub ops: Vec<String>,
    pub folder: PathBuf,
}

/// A case that can be run.
pub struct Loaded {
    pub graph: Graph,
    /// `[input][element]`, for the inputs that the graph has.
    pub inputs: Vec<Vec<f32>>,
    /// Stored outputs, `[output][element]`.
    pub outputs: Vec<Vec<f32>>,
}

/// Why a case cannot be run.
pub enum NotLoaded {
    /// Tensors that are neither numbers nor booleans.
    Tensors,
    /// Inputs that no proof can have: infinite, or not a number.
    NotFinite,
    /// The importer refuses the model.
    Import(ImportError),
}

/// All cases, in the order of the index.
pub fn cases(root: &Path) -> Vec<Case> {
    let index = std::fs::read_to_string(root.join("INDEX.csv")).expect("an index");
    let case = |line: &str| {
        // A comma inside quotes is part of a column.
        let mut quoted = false;
        let mut columns = line.split(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (name, op) = (columns.next()?.to_string(), columns.next()?.to_string());
        let all = columns.nth(4)?.split_whitespace();
        // `domain:name` in the index, `domain.name` in errors and in the list of operators.
        let ops = all.map(|o| o.replace(':', ".")).collect();
        let folder = root.join(&name);
        Some(Case {
            name,
            op,
            ops,
            folder,
        })
    };
    index.lines().skip(1).filter_map(case).collect()
}

/// A case with all inputs but one as initialisers.
fn with_constants(bytes: &[u8], case: &Path, free: usize) -> Option<Vec<u8>> {
    let mut model = ModelProto::decode(bytes).ok()?;
    let graph = model.graph.as_mut()?;
    let names: Vec<String> = graph.input.iter().map(|i| i.name.clone()).collect();
    for (k, name) in names.iter().enumerate().filter(|(k, _)| *k != free) {
        let tensor = std::fs::read(case.join(format!("test_data_set_0/input_{k}.pb"))).ok()?;
        graph.initializer.push(TensorProto {
            name: name.clone(),
            ..TensorProto::decode(tensor.as_slice()).ok()?
        });
    }
    Some(model.encode_to_vec())
}

/// Imports a case. ONNX's cases have weights, axes and shapes as inputs: if that is not supported, all inputs but one are
/// fixed.
pub fn load(folder: &Path) -> Result<Loaded, NotLoaded> {
    let bytes = std::fs::read(folder.join("model.onnx")).expect("a model");
    let inputs = tensors(folder, "input").ok_or(NotLoaded::Tensors)?;
    let outputs = tensors(folder, "output").ok_or(NotLoaded::Tensors)?;
    let mut only = None;
    let imported = Graph::from_onnx(&bytes).or_else(|error| {
        let fixed = (0..inputs.len()).filter(|_| inputs.len() > 1);
        let mut graphs = fixed.filter_map(|free| {
            let graph = Graph::from_onnx(&with_constants(&bytes, folder, free)?);
            graph.ok().map(|graph| (free, graph))
        });
        let (free, graph) = graphs.next().ok_or(error)?;
        only = Some(free);
        Ok(graph)
    });
    let graph = imported.map_err(NotLoaded::Import)?;
    let fed = inputs
        .into_iter()
        .enumerate()
        .filter(|(i, _)| only.is_none_or(|o| o == *i));
    let inputs: Vec<Vec<f32>> = fed
        .map(|(_, (_, values))| values)
        .take(graph.inputs.len())
        .collect();
    if inputs.iter().flatten().any(|v| !v.is_finite()) {
        return Err(NotLoaded::NotFinite);
    }
    let outputs = outputs.into_iter().map(|(_, values)| values).collect();
    Ok(Loaded {
        graph,
        inputs,
        outputs,
    })
}
