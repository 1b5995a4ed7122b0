//! Bounded binary encoding.
//!
//! Little-endian integers, lengths before lists. A [`Reader`] never allocates more than the bytes in front of it can
//! fill, and every decoder ends with [`Reader::finish`], so that each object has one encoding.

use crate::error::DecodeError;
use crate::parallel;
use crate::program::{Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights};
use crate::{C, F};
use ff::PrimeField;
use group::GroupEncoding;

/// Most nodes that a decoder accepts, whatever the limits on programs.
pub(crate) const MAX_NODES: usize = 1 << 20;
/// Most tables that a decoder accepts.
const MAX_TABLES: usize = 1 << 10;

/// Appends encoded values to a buffer.
#[derive(Default, Debug)]
pub struct Writer {
    /// What was written so far.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }

    /// Two bytes.
    pub fn u16(&mut self, v: u16) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, v: u32) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, v: i64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    /// A length.
    pub fn len(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// A length and bytes.
    pub fn blob(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// A scalar, 32 bytes.
    pub fn scalar(&mut self, v: &F) {
        self.bytes.extend_from_slice(v.to_repr().as_ref());
    }

    /// A compressed point, 32 bytes.
    pub fn point(&mut self, v: &C) {
        self.bytes.extend_from_slice(v.to_bytes().as_ref());
    }
}

/// Points that one thread decodes.
const CHUNK: usize = 64;

/// The points of compressed ones, in order; `None` for what is no point, or not in its one encoding. Each takes a square
/// root: on all threads, and by `zkinfer-kernels` where the machine has its instruction set.
pub(crate) fn decompress(compressed: &[[u8; 32]]) -> Vec<Option<C>> {
    let chunks: Vec<&[[u8; 32]]> = compressed.chunks(CHUNK).collect();
    let decoded: Vec<Vec<Option<C>>> = parallel::map(&chunks, |chunk| {
        #[cfg(feature = "kernels")]
        return zkinfer_kernels::native::detect().decompress(chunk);
        #[cfg(not(feature = "kernels"))]
        return chunk.iter().map(|b| C::from_bytes(b).into()).collect();
    });
    decoded.into_iter().flatten().collect()
}

/// Canonical compressed points.
pub(crate) fn decode_points(compressed: &[[u8; 32]]) -> Result<Vec<C>, DecodeError> {
    let points: Option<Vec<C>> = decompress(compressed).into_iter().collect();
    points.ok_or(DecodeError::Invalid { what: "point" })
}

/// Reads encoded values from a buffer.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        if n > self.bytes.len() {
            return Err(DecodeError::Truncated);
        }
        let (head, tail) = self.bytes.split_at(n);
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { what: "flag" }),
        }
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A length of a list whose elements take at least `element` bytes each: never more than what is left can hold.
    pub fn len(&mut self, element: usize) -> Result<usize, DecodeError> {
        let len = self.u32()? as usize;
        if len.saturating_mul(element.max(1)) > self.bytes.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(len)
    }

    /// A length and bytes.
    pub fn blob(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.len(1)?;
        self.take(len)
    }

    /// A canonical scalar.
    pub fn scalar(&mut self) -> Result<F, DecodeError> {
        Option::from(F::from_repr(self.array::<32>()?))
            .ok_or(DecodeError::Invalid { what: "scalar" })
    }

    /// A canonical compressed point.
    pub fn point(&mut self) -> Result<C, DecodeError> {
        Option::from(C::from_bytes(&self.array::<32>()?)).ok_or(DecodeError::Invalid {
            what: "curve point",
        })
    }

    /// A length and as many arrays of 32 bytes.
    pub fn arrays(&mut self) -> Result<&'a [[u8; 32]], DecodeError> {
        let len = self.len(32)?;
        Ok(self.take(32 * len)?.as_chunks().0)
    }

    /// `len` elements.
    pub fn list<T>(
        &mut self,
        len: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        (0..len).map(|_| read(self)).collect()
    }

    /// Succeeds if nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing {
                bytes: self.bytes.len(),
            })
        }
    }
}

fn write_value(w: &mut Writer, v: ValueRef) {
    w.u32(v.node);
    w.u32(v.port);
}

fn read_value(r: &mut Reader<'_>) -> Result<ValueRef, DecodeError> {
    Ok(ValueRef {
        node: r.u32()?,
        port: r.u32()?,
    })
}

/// Writes a program.
pub fn write_program(w: &mut Writer, program: &Program) {
    w.u32(program.range_bits);
    w.len(program.tables.len());
    for table in &program.tables {
        w.len(table.len());
        table.iter().for_each(|&v| w.u16(v));
    }
    w.len(program.nodes.len());
    program.nodes.iter().for_each(|n| write_node(w, n));
    w.len(program.outputs.len());
    program.outputs.iter().for_each(|&o| w.u32(o));
}

/// Reads a program; [`Program::expand`] checks it.
///
/// # Errors
/// On any byte that does not fit.
pub fn read_program(r: &mut Reader<'_>) -> Result<Program, DecodeError> {
    let range_bits = r.u32()?;
    let tables = r.len(4)?;
    if tables > MAX_TABLES {
        return Err(DecodeError::Invalid {
            what: "number of tables",
        });
    }
    let tables = r.list(tables, |r| {
        let len = r.len(2)?;
        r.list(len, Reader::u16)
    })?;
    let nodes = r.len(5)?;
    // A node takes far more room in memory than its few bytes here.
    if nodes > MAX_NODES {
        return Err(DecodeError::Invalid {
            what: "number of nodes",
        });
    }
    let nodes = r.list(nodes, read_node)?;
    let outputs = r.len(4)?;
    let outputs = r.list(outputs, Reader::u32)?;
    Ok(Program {
        range_bits,
        tables,
        nodes,
        outputs,
    })
}

fn write_node(w: &mut Writer, node: &Node) {
    match node {
        Node::Input { len } => {
            w.u8(0);
            w.u32(*len);
        }
        Node::Hint { len } => {
            w.u8(1);
            w.u32(*len);
        }
        Node::Constant { len } => {
            w.u8(2);
            w.u32(*len);
        }
        Node::View { source, view } => {
            w.u8(3);
            write_value(w, *source);
            w.len(view.loops.len());
            view.loops.iter().for_each(|&l| w.u32(l));
            w.len(view.axes.len());
            for axis in &view.axes {
                w.u32(axis.extent);
                w.i64(axis.offset);
                w.len(axis.strides.len());
                axis.strides.iter().for_each(|&s| w.i64(s));
            }
        }
        Node::Concat { sources } => {
            w.u8(4);
            w.len(sources.len());
            sources.iter().for_each(|&s| write_value(w, s));
        }
        Node::Sum { source, group } => {
            w.u8(5);
            write_value(w, *source);
            w.u32(*group);
        }
        Node::Neurons(n) => {
            w.u8(6);
            w.u32(n.groups);
            w.u32(n.outputs);
            w.u32(n.positions);
            w.u32(n.unit.window);
            w.u8(u8::from(n.unit.low) + 2 * u8::from(n.unit.deep));
            w.u8(u8::from(n.unit.high));
            w.len(n.unit.tables.len());
            n.unit.tables.iter().for_each(|&t| w.u32(t));
            w.len(n.terms.len());
            for term in &n.terms {
                write_value(w, term.patches);
                w.u32(term.inputs);
                match &term.weights {
                    Weights::Committed => w.u8(0),
                    Weights::Public(weights) => {
                        w.u8(1);
                        w.len(weights.len());
                        weights.iter().for_each(|&v| w.i64(v));
                    }
                    Weights::Shared(leader) => {
                        w.u8(2);
                        w.u32(*leader);
                    }
                    Weights::Value { value, factor } => {
                        w.u8(3);
                        write_value(w, *value);
                        w.i64(*factor);
                    }
                    Weights::Gathered => w.u8(4),
                }
            }
        }
    }
}

fn read_node(r: &mut Reader<'_>) -> Result<Node, DecodeError> {
    Ok(match r.u8()? {
        0 => Node::Input { len: r.u32()? },
        1 => Node::Hint { len: r.u32()? },
        2 => Node::Constant { len: r.u32()? },
        3 => {
            let source = read_value(r)?;
            let loops = r.len(4)?;
            let loops = r.list(loops, Reader::u32)?;
            let axes = r.len(16)?;
            let axes = r.list(axes, |r| {
                let (extent, offset) = (r.u32()?, r.i64()?);
                let strides = r.len(8)?;
                Ok(Axis {
                    extent,
                    offset,
                    strides: r.list(strides, Reader::i64)?,
                })
            })?;
            Node::View {
                source,
                view: View { loops, axes },
            }
        }
        4 => {
            let sources = r.len(8)?;
            Node::Concat {
                sources: r.list(sources, read_value)?,
            }
        }
        5 => Node::Sum {
            source: read_value(r)?,
            group: r.u32()?,
        },
        6 => {
            let (groups, outputs, positions, window) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
            let clamps = r.u8()?;
            if clamps > 3 {
                return Err(DecodeError::Invalid { what: "flag" });
            }
            let (low, deep) = (clamps & 1 == 1, clamps & 2 == 2);
            let high = r.bool()?;
            let tables = r.len(4)?;
            let tables = r.list(tables, Reader::u32)?;
            let terms = r.len(13)?;
            let terms = r.list(terms, |r| {
                let (patches, inputs) = (read_value(r)?, r.u32()?);
                let weights = match r.u8()? {
                    0 => Weights::Committed,
                    1 => {
                        let len = r.len(8)?;
                        Weights::Public(r.list(len, Reader::i64)?)
                    }
                    2 => Weights::Shared(r.u32()?),
                    3 => Weights::Value {
                        value: read_value(r)?,
                        factor: r.i64()?,
                    },
                    4 => Weights::Gathered,
                    _ => {
                        return Err(DecodeError::Invalid {
                            what: "kind of weights",
                        });
                    }
                };
                Ok(Term {
                    patches,
                    inputs,
                    weights,
                })
            })?;
            Node::Neurons(Neurons {
                groups,
                outputs,
                positions,
                unit: Unit {
                    window,
                    low,
                    high,
                    tables,
                    deep,
                },
                terms,
            })
        }
        _ => {
            return Err(DecodeError::Invalid {
                what: "kind of node",
            });
        }
    })
}
