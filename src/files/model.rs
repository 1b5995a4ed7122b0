//! The owner's file: quantized model, blinds and card.
//!
//! ```text
//! card      length, bytes of a card file
//! then for each of the card's segments
//! notes     length, JSON of `Notes`: interface, hints, layers, decodings
//! blinds    number of groups; per group number of points, then a scalar for each
//! weights   number of tensors; per tensor node, term, number of entries, then entries as i32
//! ```
//!
//! The programs are the card's.
//!
//! The file of one segment, for workers:
//!
//! ```text
//! digest    of the segment
//! k, program
//! notes, blinds, weights as above
//! ```
//!
//! The file of a quantized model: program, notes, no blinds, weights.

use serde::{Deserialize, Serialize};
use zkinfer_circuits::F;
use zkinfer_circuits::card::{Card, FileKind, open, seal};
use zkinfer_circuits::codec::{Reader, Writer, read_program, write_program};
use zkinfer_circuits::error::DecodeError;
use zkinfer_circuits::program::{Program, ValueRef};
use zkinfer_circuits::statement::read_digest;
use zkinfer_circuits::verify::Limits;

use super::ModelFileError;
use crate::error::CommitError;
use crate::secret::{Secret, Segment};
use zkinfer_interface::Interface;
use zkinfer_model::model::{Decoding, Layer, QuantizedModel, TensorInterface, WeightTensor};
use zkinfer_model::run::HintSolver;
use zkinfer_verifier::params;

/// A value of the program: node and port.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Value(u32, u32);

impl From<ValueRef> for Value {
    fn from(v: ValueRef) -> Self {
        Value(v.node, v.port)
    }
}

impl From<Value> for ValueRef {
    fn from(v: Value) -> Self {
        ValueRef {
            node: v.0,
            port: v.1,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Hint {
    Softmax {
        node: u32,
        logits: Value,
        lens: Vec<u32>,
        factor: i64,
        constant: i64,
        table: u32,
        target: i64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planes {
    layer: usize,
    planes: Vec<(Value, Vec<f64>)>,
    offset: Vec<f64>,
}

/// Everything about the model that is neither architecture nor long.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    inputs: Vec<TensorInterface>,
    outputs: Vec<TensorInterface>,
    hints: Vec<Hint>,
    layers: Vec<Layer>,
    decodings: Vec<Planes>,
}

impl Notes {
    fn of(model: &QuantizedModel) -> Notes {
        let hint = |h: &HintSolver| match h.clone() {
            HintSolver::Softmax {
                node,
                logits,
                lens,
                factor,
                constant,
                table,
                target,
            } => Hint::Softmax {
                node,
                logits: logits.into(),
                lens,
                factor,
                constant,
                table,
                target,
            },
        };
        let planes = |(layer, d): &(usize, Decoding)| Planes {
            layer: *layer,
            planes: d
                .planes
                .iter()
                .map(|(v, scale)| ((*v).into(), scale.clone()))
                .collect(),
            offset: d.offset.clone(),
        };
        Notes {
            inputs: model.inputs.clone(),
            outputs: model.outputs.clone(),
            hints: model.hints.iter().map(hint).collect(),
            layers: model.layers.clone(),
            decodings: model.decodings.iter().map(planes).collect(),
        }
    }

    fn into_model(self, program: &Program, weights: Vec<WeightTensor>) -> QuantizedModel {
        let hint = |h| match h {
            Hint::Softmax {
                node,
                logits,
                lens,
                factor,
                constant,
                table,
                target,
            } => HintSolver::Softmax {
                node,
                logits: logits.into(),
                lens,
                factor,
                constant,
                table,
                target,
            },
        };
        let decoding = |p: Planes| {
            let planes = p
                .planes
                .into_iter()
                .map(|(v, scale)| (v.into(), scale))
                .collect();
            (
                p.layer,
                Decoding {
                    planes,
                    offset: p.offset,
                },
            )
        };
        QuantizedModel {
            program: program.clone(),
            weights,
            hints: self.hints.into_iter().map(hint).collect(),
            inputs: self.inputs,
            outputs: self.outputs,
            layers: self.layers,
            decodings: self.decodings.into_iter().map(decoding).collect(),
        }
    }
}

fn write_weights(w: &mut Writer, tensors: &[WeightTensor]) {
    w.len(tensors.len());
    for tensor in tensors {
        w.u32(tensor.node);
        w.u32(tensor.term);
        w.len(tensor.data.len());
        tensor
            .data
            .iter()
            .for_each(|v| w.bytes.extend_from_slice(&v.to_le_bytes()));
    }
}

fn read_weights(r: &mut Reader<'_>) -> Result<Vec<WeightTensor>, DecodeError> {
    let tensors = r.len(12)?;
    r.list(tensors, |r| {
        let (node, term) = (r.u32()?, r.u32()?);
        let len = r.len(4)?;
        let data = r
            .take(4 * len)?
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Ok(WeightTensor { node, term, data })
    })
}

/// What a file has of a segment besides its program. Without blinds, of a model that nobody is committed to.
fn write_part(
    w: &mut Writer,
    model: &QuantizedModel,
    blinds: &[Vec<F>],
) -> Result<(), ModelFileError> {
    w.blob(&serde_json::to_vec(&Notes::of(model))?);
    w.len(blinds.len());
    for blinds in blinds {
        w.len(blinds.len());
        blinds.iter().for_each(|b| w.scalar(b));
    }
    write_weights(w, &model.weights);
    Ok(())
}

/// A file of a quantized model that nobody is committed to yet, for whoever commits to it. It holds the weights: keep it.
///
/// # Errors
/// If a scale or range of the model is not a number, which none that was quantized has.
pub fn quantized_to_bytes(model: &QuantizedModel) -> Result<Vec<u8>, ModelFileError> {
    let mut w = Writer::default();
    write_program(&mut w, &model.program);
    write_part(&mut w, model, &[])?;
    Ok(seal(FileKind::Quantized, &w.bytes))
}

/// Reads a file of a quantized model, of at most `limit` bytes.
///
/// # Errors
/// A file that is damaged, or of another kind or version; never panics.
pub fn quantized_from_bytes(bytes: &[u8], limit: usize) -> Result<QuantizedModel, ModelFileError> {
    let mut r = Reader::new(open(FileKind::Quantized, bytes, limit)?);
    let program = read_program(&mut r)?;
    let (model, blinds) = read_part(&mut r, &program)?;
    r.finish()?;
    let expanded = program.expand(&Limits::owner().program);
    expanded.map_err(|e| CommitError::Plan(e.into()))?;
    if !blinds.is_empty() {
        return Err(CommitError::Mismatch.into());
    }
    Ok(model)
}

/// A quantized model and the blinds of its commitment.
type Committed = (QuantizedModel, Vec<Vec<F>>);

fn read_part(r: &mut Reader<'_>, program: &Program) -> Result<Committed, ModelFileError> {
    let notes: Notes = serde_json::from_slice(r.blob()?)?;
    let groups = r.len(4)?;
    let blinds: Vec<Vec<F>> = r.list(groups, |r| {
        let points = r.len(32)?;
        r.list(points, Reader::scalar)
    })?;
    let weights = read_weights(r)?;
    Ok((notes.into_model(program, weights), blinds))
}

impl Segment {
    /// A file of this segment alone, for a worker that proves it and knows nothing of the others. It holds its weights and
    /// what opens the commitment to them: as secret as the model's.
    ///
    /// # Errors
    /// As [`Secret::to_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelFileError> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(&self.digest().0);
        w.u32(self.plan().layout.k);
        write_program(&mut w, &self.model().program);
        write_part(&mut w, self.model(), self.blinds())?;
        Ok(seal(FileKind::Segment, &w.bytes))
    }

    /// Reads the file of a segment, of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Secret::from_bytes`]. That the weights are those of the digest's card is not checked: a file that was edited
    /// proves nothing.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<Segment, ModelFileError> {
        let mut r = Reader::new(open(FileKind::Segment, bytes, limit)?);
        let (digest, k) = (read_digest(&mut r)?, r.u32()?);
        let program = read_program(&mut r)?;
        let (model, blinds) = read_part(&mut r, &program)?;
        r.finish()?;
        // Before parameters of that size are made.
        Limits::owner().allow_k(k).map_err(CommitError::Plan)?;
        let params = params::load(k)?;
        Ok(Segment::from_parts(model, blinds, digest, params)?)
    }
}

impl Secret {
    /// The owner's file. It holds the weights and what opens the commitment to them: keep it.
    ///
    /// # Errors
    /// If a scale or range of the model is not a number, which none that was quantized has.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelFileError> {
        let mut w = Writer::default();
        w.blob(&self.card().to_bytes());
        for segment in self.segments() {
            write_part(&mut w, segment.model(), segment.blinds())?;
        }
        Ok(seal(FileKind::Model, &w.bytes))
    }

    /// Reads an owner's file of at most `limit` bytes.
    ///
    /// # Errors
    /// A file that is damaged, of another kind or version, or whose parts do not belong together; never panics. That the
    /// weights are those of the card's commitment is not computed again: a file that was edited proves nothing.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<Secret, ModelFileError> {
        let mut r = Reader::new(open(FileKind::Model, bytes, limit)?);
        let card = Card::from_bytes(r.blob()?, limit)?;
        let mut parts = Vec::with_capacity(card.segments.len());
        for program in card.programs() {
            parts.push(read_part(&mut r, program)?);
        }
        r.finish()?;

        // Before parameters of that size are made.
        Limits::owner().allow_k(card.k).map_err(CommitError::Plan)?;
        let interface = Interface::from_card(&card)?;
        let inputs = parts
            .first()
            .is_some_and(|p| p.0.inputs == interface.inputs);
        let outputs = parts
            .last()
            .is_some_and(|p| p.0.outputs == interface.outputs);
        if !inputs || !outputs {
            return Err(CommitError::Mismatch.into());
        }
        let params = params::load(card.k)?;
        Ok(Secret::from_parts(parts, card, params)?)
    }
}
