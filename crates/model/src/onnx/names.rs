//! What operators of tract mean whose types are private or carry nothing but a name.

use crate::graph::{BinaryOp, ScalarOp};

/// Operators that are linear in the operand at this place, and are [tried out](super::probe).
pub(super) const LINEAR: &[(&str, usize)] = &[
    ("Compress", 0),
    ("CumSum", 0),
    ("DynSlice", 0),
    ("DynTile", 0),
    ("Gather", 0),
    ("GatherElements", 0),
    ("GatherNd", 0),
    ("GatherNdDyn", 0),
    ("GridSample", 0),
    ("NearestUpsample", 0),
    ("OnnxResize", 0),
    ("Resize", 0),
    ("Reverse", 0),
    ("ScatterElements", 0),
    ("ScatterElements", 2),
    ("ScatterNd", 0),
    ("ScatterNd", 2),
    ("Tile", 0),
    ("Trilu", 0),
];

/// A binary operator of tract.
#[derive(Clone, Copy)]
pub(super) enum Binary {
    Arithmetic(BinaryOp),
    /// The quotient of integers, towards zero.
    Quotient,
    /// `a − b > 0`, or with the flag its negation.
    Greater(bool),
    /// `|a − b| > 0`, or with the flag its negation.
    Differs(bool),
    /// `a + b` is more than this, for two truths.
    Truth(f64),
}

/// An operator of two numbers, and whether its operands are swapped.
pub(super) fn binary_of(name: &str) -> Option<(Binary, bool)> {
    let arithmetic = |op| Some((Binary::Arithmetic(op), false));
    match name {
        "Add" => arithmetic(BinaryOp::Add),
        "Sub" => arithmetic(BinaryOp::Sub),
        "SubF" => Some((Binary::Arithmetic(BinaryOp::Sub), true)),
        "Mul" => arithmetic(BinaryOp::Mul),
        "Div" => arithmetic(BinaryOp::Div),
        "Min" => arithmetic(BinaryOp::Min),
        "Max" => arithmetic(BinaryOp::Max),
        "Pow" => arithmetic(BinaryOp::Pow),
        "Rem" => arithmetic(BinaryOp::Rem),
        "BitAnd" => arithmetic(BinaryOp::BitAnd),
        "BitOr" => arithmetic(BinaryOp::BitOr),
        "BitXor" => arithmetic(BinaryOp::BitXor),
        "ShiftLeft" => arithmetic(BinaryOp::ShiftLeft),
        "ShiftRight" => arithmetic(BinaryOp::ShiftRight),
        "CompGT" | "GT" => Some((Binary::Greater(false), false)),
        "CompLT" | "LT" => Some((Binary::Greater(false), true)),
        "CompGTE" | "GTE" => Some((Binary::Greater(true), true)),
        "CompLTE" | "LTE" => Some((Binary::Greater(true), false)),
        "And" => Some((Binary::Truth(1.5), false)),
        "Or" => Some((Binary::Truth(0.5), false)),
        "Xor" => Some((Binary::Differs(false), false)),
        "CompNE" | "NE" => Some((Binary::Differs(false), false)),
        "CompEq" | "Eq" => Some((Binary::Differs(true), false)),
        _ => None,
    }
}

/// An operator of one number.
pub(super) fn unary_of(name: &str) -> Option<ScalarOp> {
    Some(match name {
        "Sigmoid" => ScalarOp::Sigmoid,
        "Tanh" => ScalarOp::Tanh,
        "Exp" => ScalarOp::Exp,
        "Ln" => ScalarOp::Ln,
        "Sqrt" => ScalarOp::Sqrt,
        "Rsqrt" => ScalarOp::Rsqrt,
        "Recip" => ScalarOp::Recip,
        "Erf" => ScalarOp::Erf,
        "Abs" => ScalarOp::Abs,
        "Neg" => ScalarOp::Neg,
        "Square" => ScalarOp::Square,
        "Floor" => ScalarOp::Floor,
        "Ceil" => ScalarOp::Ceil,
        "RoundHalfToEven" => ScalarOp::Round,
        "Sign" => ScalarOp::Sign,
        "Sin" => ScalarOp::Sin,
        "Cos" => ScalarOp::Cos,
        "Tan" => ScalarOp::Tan,
        "Asin" => ScalarOp::Asin,
        "Acos" => ScalarOp::Acos,
        "Atan" => ScalarOp::Atan,
        "Sinh" => ScalarOp::Sinh,
        "Cosh" => ScalarOp::Cosh,
        "Asinh" => ScalarOp::Asinh,
        "Acosh" => ScalarOp::Acosh,
        "Atanh" => ScalarOp::Atanh,
        "HardSwish" => ScalarOp::HardSwish,
        "Silu" => ScalarOp::Silu,
        "GeluExact" => ScalarOp::Gelu,
        _ => return None,
    })
}
