//! Element-wise operators.

use tract_onnx::prelude::{DatumType, Tensor};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::PowConst;
use tract_onnx::tract_core::ops::nn::{GeluApproximate, LeakyRelu};

use super::ImportError;
use super::lower::Call;
use super::names::{Binary, binary_of, unary_of};
use super::tensor::{Lazy, Lowering, MAX_EXPRESSION, Value};
use crate::graph::view::Builder;
use crate::graph::{BinaryOp, Op, ScalarFn, ScalarOp};

/// Most different exponents that are computed for all elements.
const MAX_EXPONENTS: usize = 4;

/// What infinities in masks become, and what is meant as such.
const LARGE: f32 = 1e9;
const ENDLESS: f32 = 1e18;

/// A constant of a mask or of a choice.
pub(super) fn saturated(v: f32) -> f32 {
    if v.abs() >= ENDLESS {
        LARGE.copysign(v)
    } else {
        v
    }
}

impl Binary {
    /// The expression for two expressions; comparisons yield 0 or 1.
    fn combine(self, a: ScalarFn, b: ScalarFn, whole: bool) -> ScalarFn {
        // Whole numbers that differ do so by one: half of that leaves room for rounding.
        let room = |f: ScalarFn| {
            if whole {
                f.combine(BinaryOp::Sub, ScalarFn::Const(0.5))
            } else {
                f
            }
        };
        let truth = |condition, negated| {
            let (one, zero) = (ScalarFn::Const(1.0), ScalarFn::Const(0.0));
            if negated {
                ScalarFn::select(condition, zero, one)
            } else {
                ScalarFn::select(condition, one, zero)
            }
        };
        match self {
            Binary::Arithmetic(BinaryOp::Pow) if b == ScalarFn::Const(2.0) => {
                a.apply(ScalarOp::Square)
            }
            // Whole numbers are so up to the rounding of their step.
            Binary::Quotient => quotient(a, b),
            Binary::Arithmetic(op @ BinaryOp::Rem) if whole => {
                a.apply(ScalarOp::Round).combine(op, b)
            }
            Binary::Arithmetic(op) => a.combine(op, b),
            Binary::Greater(negated) => truth(room(a.combine(BinaryOp::Sub, b)), negated),
            Binary::Differs(negated) => {
                let distance = a.combine(BinaryOp::Sub, b).apply(ScalarOp::Abs);
                truth(room(distance), negated)
            }
            Binary::Truth(least) => truth(
                a.combine(BinaryOp::Add, b)
                    .combine(BinaryOp::Sub, ScalarFn::Const(least)),
                false,
            ),
        }
    }
}

/// The whole quotient, towards zero.
fn quotient(a: ScalarFn, b: ScalarFn) -> ScalarFn {
    let (sign, size) = (a.clone().apply(ScalarOp::Sign), a.apply(ScalarOp::Abs));
    let (other, by) = (b.clone().apply(ScalarOp::Sign), b.apply(ScalarOp::Abs));
    let room = size.combine(BinaryOp::Add, ScalarFn::Const(0.25));
    room.combine(BinaryOp::Div, by)
        .apply(ScalarOp::Floor)
        .combine(BinaryOp::Mul, sign)
        .combine(BinaryOp::Mul, other)
}

/// Least and largest number of a type that models may leave: narrow ones, and negative numbers of those without a sign.
fn bounds(t: DatumType) -> Option<(f64, f64)> {
    Some(match t {
        DatumType::U8 => (0.0, 255.0),
        DatumType::U16 => (0.0, 65_535.0),
        DatumType::U32 | DatumType::U64 => (0.0, f64::INFINITY),
        DatumType::I8 => (-128.0, 127.0),
        DatumType::I16 => (-32_768.0, 32_767.0),
        _ => return None,
    })
}

/// `x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2`
fn tanh_gelu(x: ScalarFn) -> ScalarFn {
    let times = |f: ScalarFn, c: f64| f.combine(BinaryOp::Mul, ScalarFn::Const(c));
    let cube = x
        .clone()
        .combine(BinaryOp::Mul, x.clone().apply(ScalarOp::Square));
    let inner = times(
        x.clone().combine(BinaryOp::Add, times(cube, 0.044_715)),
        (2.0 / std::f64::consts::PI).sqrt(),
    );
    let gate = inner
        .apply(ScalarOp::Tanh)
        .combine(BinaryOp::Add, ScalarFn::Const(1.0));
    times(x.combine(BinaryOp::Mul, gate), 0.5)
}

/// A constant spread over the result's shape.
pub(super) fn spread(values: &[f32], from: &[usize], to: &[usize]) -> Option<Vec<f32>> {
    if from.len() != to.len() {
        return None;
    }
    let from_dims = if from.is_empty() {
        vec![1]
    } else {
        from.to_vec()
    };
    let mut view = Builder::new(&from_dims);
    for (d, &len) in to.iter().enumerate() {
        if from[d] != 1 && from[d] != len {
            return None;
        }
        view = view.walk(len, &[(d, i64::from(from[d] != 1))]);
    }
    let indices = view.build().indices(values.len()).ok()?;
    indices.iter().map(|i| i.map(|i| values[i])).collect()
}

impl Lowering<'_> {
    /// The tensor with an expression that is not too large to grow.
    fn modest(&mut self, x: &Lazy) -> Result<Lazy, ImportError> {
        if x.f.size() > MAX_EXPRESSION {
            self.resolve(x)
        } else {
            Ok(x.clone())
        }
    }

    pub(super) fn unary(&mut self, op: &ElementWiseOp, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        if op.0.name() == "Ln"
            && let Some(y) = self.log_of_softmax(&x)?
        {
            return Ok(y);
        }
        let x = self.modest(&x)?;
        let f = x.f.clone();
        if op.0.name() == "Not" {
            return Ok(self.mapped(&x, -1.0, 1.0));
        }
        if op.0.name() == "BitNot" {
            // The largest number minus this one, or −1 minus it where there are negative ones.
            let largest = match call.types.first() {
                Some(DatumType::U8) => 255.0,
                Some(DatumType::U16) => 65_535.0,
                Some(t) if t.is_signed() => -1.0,
                _ => return Err(self.origin.refused()),
            };
            return Ok(self.mapped(&x, -1.0, largest));
        }
        let f = if let Some(leaky) = op.0.downcast_ref::<LeakyRelu>() {
            let scaled = f
                .clone()
                .combine(BinaryOp::Mul, ScalarFn::Const(f64::from(leaky.alpha)));
            ScalarFn::select(f.clone(), f, scaled)
        } else if op
            .0
            .downcast_ref::<GeluApproximate>()
            .is_some_and(|g| !g.fast_impl)
        {
            tanh_gelu(f)
        } else if let Some(pow) = op.0.downcast_ref::<PowConst>() {
            let exponent = ScalarFn::Const(f64::from(pow.exponent));
            Binary::Arithmetic(BinaryOp::Pow).combine(f, exponent, false)
        } else {
            let name = op.0.name();
            f.apply(unary_of(&name).ok_or_else(|| self.origin.refused())?)
        };
        Ok(x.with(f))
    }

    pub(super) fn binary(&mut self, op: &TypedBinOp, call: &Call) -> Result<Lazy, ImportError> {
        let name = op.0.name();
        let Some((op, swapped)) = binary_of(name) else {
            return Err(self.origin.refused());
        };
        let (Some(a), Some(b)) = (call.inputs.first(), call.inputs.get(1)) else {
            return Err(self.unsupported("needs two operands"));
        };
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        // tract makes dimensions of sizes.
        let integer = |t: &DatumType| t.is_integer() || *t == DatumType::TDim;
        let whole = call.types.iter().all(integer);
        if let Binary::Arithmetic(op) = op {
            self.wraps(op, a, b, call)?;
        }
        if let (true, Binary::Arithmetic(op @ (BinaryOp::Div | BinaryOp::Pow))) = (whole, op) {
            let uniform = |v: &Value| match v {
                Value::Constant(t) => t.len() == 1,
                _ => false,
            };
            if !uniform(a) && !uniform(b) {
                let what = if op == BinaryOp::Div {
                    "division"
                } else {
                    "power"
                };
                return Err(self.unsupported(format!(
                    "a {what} of integers by other than one constant; cast to floats before"
                )));
            }
            let negative = |v: &Value| match v {
                Value::Constant(t) => self.any_floats(t).is_ok_and(|v| v.iter().any(|v| *v < 0.0)),
                _ => false,
            };
            if op == BinaryOp::Pow && matches!(b, Value::Tensor(_)) {
                return Err(
                    self.unsupported("a power of integers by an activation; cast to floats before")
                );
            }
            if op == BinaryOp::Pow && negative(b) {
                return Err(self.unsupported("a negative power of integers; cast to floats before"));
            }
        }
        // By type: floats that happen to be whole numbers are divided as floats.
        let op = match op {
            Binary::Arithmetic(BinaryOp::Div) if whole => Binary::Quotient,
            op => op,
        };
        let y = match (a, b) {
            (Value::Tensor(a), Value::Tensor(b)) => self.two_tensors(op, a, b, &call.shape),
            (Value::Tensor(a), Value::Constant(c)) => self.with_constant(op, a, c, false, call),
            (Value::Constant(c), Value::Tensor(a)) => self.with_constant(op, a, c, true, call),
            _ => Err(self.unsupported("constants that were not folded")),
        }?;
        // Bits that are shifted out are gone.
        match (op, call.types.first().and_then(|t| bounds(*t))) {
            (Binary::Arithmetic(BinaryOp::ShiftLeft), Some((_, largest)))
                if largest.is_finite() =>
            {
                let kept =
                    y.f.clone()
                        .combine(BinaryOp::BitAnd, ScalarFn::Const(largest));
                Ok(y.with(kept))
            }
            _ => Ok(y),
        }
    }

    /// Refuses sums and products of types that are so narrow that they may wrap around.
    fn wraps(&self, op: BinaryOp, a: &Value, b: &Value, call: &Call) -> Result<(), ImportError> {
        let Some((least, largest)) = call.types.first().and_then(|t| bounds(*t)) else {
            return Ok(());
        };
        // What tract writes out itself stays in range.
        if !matches!(self.origin.op.as_str(), "Add" | "Sub" | "Mul") {
            return Ok(());
        }
        let range = |v: &Value| match v {
            Value::Constant(t) => {
                let values = self.any_floats(t)?;
                let fold = |(a, b): (f64, f64), v: &f32| (a.min((*v).into()), b.max((*v).into()));
                Ok(values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), fold))
            }
            Value::Tensor(x) if self.is_truth(x) => Ok((0.0, 1.0)),
            _ => Ok((least, largest.min(1e300))),
        };
        let ((a, b), (c, d)) = (range(a)?, range(b)?);
        let (low, high) = match op {
            BinaryOp::Add => (a + c, b + d),
            BinaryOp::Sub => (a - d, b - c),
            BinaryOp::Mul => {
                let corners = [a * c, a * d, b * c, b * d];
                let low = corners.iter().fold(f64::INFINITY, |m, v| m.min(*v));
                (
                    low,
                    corners.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)),
                )
            }
            _ => return Ok(()),
        };
        if low < least || high > largest {
            return Err(self.unsupported(
                "arithmetic of a type that may wrap around; cast to 32-bit integers or floats before",
            ));
        }
        Ok(())
    }

    /// `x op c`, or `c op x` with `constant_first`.
    fn with_constant(
        &mut self,
        op: Binary,
        x: &Lazy,
        c: &Tensor,
        constant_first: bool,
        call: &Call,
    ) -> Result<Lazy, ImportError> {
        let mut values = self.any_floats(c)?;
        if let Binary::Arithmetic(BinaryOp::Add) = op {
            // Masks.
            values.iter_mut().for_each(|v| *v = saturated(*v));
        }
        let x = self.broadcast(x, &call.shape)?;
        let x = self.modest(&x)?;
        let whole = self.is_whole(&x) && values.iter().all(|v| v.fract() == 0.0);
        let extremum = matches!(op, Binary::Arithmetic(BinaryOp::Min | BinaryOp::Max));
        if let Some(bad) = values
            .iter()
            .find(|v| v.is_nan() || (v.is_infinite() && !extremum))
        {
            return Err(self.unsupported(format!("a constant holds {bad}")));
        }
        let uniform = values.first().filter(|f| values.iter().all(|v| v == *f));
        if let Some(&value) = uniform {
            let (f, c) = (x.f.clone(), ScalarFn::Const(f64::from(value)));
            let f = if constant_first {
                op.combine(c, f, whole)
            } else {
                op.combine(f, c, whole)
            };
            return Ok(x.with(f));
        }
        let c = spread(&values, c.shape(), &call.shape)
            .ok_or_else(|| self.unsupported("a constant that does not fit"))?;
        if c.iter().any(|v| v.is_infinite()) {
            return Err(self.unsupported("a constant holds an infinity"));
        }
        let negated = || c.iter().map(|v| -v).collect::<Vec<_>>();
        match (op, constant_first) {
            (Binary::Quotient, _) => Err(self.unsupported(
                "a division of integers by other than one constant; cast to floats before",
            )),
            (Binary::Arithmetic(BinaryOp::Add), _) => self.affine_elements(&x, vec![1.0], c),
            (Binary::Arithmetic(BinaryOp::Sub), true) => self.affine_elements(&x, vec![-1.0], c),
            (Binary::Arithmetic(BinaryOp::Sub), false) => {
                self.affine_elements(&x, vec![1.0], negated())
            }
            (Binary::Arithmetic(BinaryOp::Mul), _) => self.affine_elements(&x, c, vec![0.0]),
            (Binary::Arithmetic(BinaryOp::Div), true) => {
                let f = x.f.clone().apply(ScalarOp::Recip);
                self.affine_elements(&x.with(f), c, vec![0.0])
            }
            (Binary::Arithmetic(BinaryOp::Div), false) => {
                let inverse: Vec<f32> = c.iter().map(|v| (1.0 / f64::from(*v)) as f32).collect();
                if inverse.iter().any(|v| !v.is_finite()) {
                    return Err(self.unsupported("a division by zero"));
                }
                self.affine_elements(&x, inverse, vec![0.0])
            }
            (Binary::Arithmetic(BinaryOp::Max), _) => {
                // max(x, c) = relu(x − c) + c
                let y = self.affine_elements(&x, vec![1.0], negated())?;
                let y = y.with(ScalarFn::X.apply(ScalarOp::Relu));
                self.affine_elements(&y, vec![1.0], c)
            }
            (Binary::Arithmetic(BinaryOp::Min), _) => {
                // min(x, c) = c − relu(c − x)
                let y = self.affine_elements(&x, vec![-1.0], c.clone())?;
                let y = y.with(ScalarFn::X.apply(ScalarOp::Relu));
                self.affine_elements(&y, vec![-1.0], c)
            }
            (Binary::Arithmetic(BinaryOp::Pow), first) => self.powers(&x, &c, first),
            (Binary::Arithmetic(op), _) => Err(self.unsupported(format!(
                "{op:?} with a different constant for every element"
            ))),
            (Binary::Greater(_) | Binary::Differs(_), _) => {
                let y = self.affine_elements(&x, vec![1.0], negated())?;
                let (a, b) = (ScalarFn::X, ScalarFn::Const(0.0));
                Ok(y.with(if constant_first {
                    op.combine(b, a, whole)
                } else {
                    op.combine(a, b, whole)
                }))
            }
            (Binary::Truth(_), _) => {
                let y = self.affine_elements(&x, vec![1.0], c)?;
                Ok(y.with(op.combine(ScalarFn::X, ScalarFn::Const(0.0), true)))
            }
        }
    }

    /// `x^c`, or with `first` `c^x`, with a constant per element.
    fn powers(&mut self, x: &Lazy, c: &[f32], first: bool) -> Result<Lazy, ImportError> {
        if first {
            // exp(x · ln c)
            let logs: Vec<f32> = c.iter().map(|c| c.ln()).collect();
            if logs.iter().any(|l| !l.is_finite()) {
                return Err(self.unsupported("powers of constants that are not positive"));
            }
            let y = self.affine_elements(x, logs, vec![0.0])?;
            let f = y.f.clone().apply(ScalarOp::Exp);
            return Ok(y.with(f));
        }
        let mut exponents = c.to_vec();
        exponents.sort_by(f32::total_cmp);
        exponents.dedup();
        if exponents.len() > MAX_EXPONENTS {
            // exp(c · ln x), where calibration shows that x is positive.
            let log = x.f.clone().apply(ScalarOp::Ln);
            let y = self.affine_elements(&x.clone().with(log), c.to_vec(), vec![0.0])?;
            let f = y.f.clone().apply(ScalarOp::Exp);
            return Ok(y.with(f));
        }
        // Each power for all elements, times where it is wanted.
        let mut total: Option<Lazy> = None;
        for e in exponents {
            let wanted = c.iter().map(|v| f32::from(u8::from(*v == e))).collect();
            let op = Binary::Arithmetic(BinaryOp::Pow);
            let f = op.combine(x.f.clone(), ScalarFn::Const(f64::from(e)), false);
            let part = self.affine_elements(&x.clone().with(f), wanted, vec![0.0])?;
            total = Some(match total {
                None => part,
                Some(sum) => self.sum(&sum, &part)?,
            });
        }
        total.ok_or_else(|| self.unsupported("a power without exponents"))
    }

    /// `scale · x + shift` with constants per element of `x` (or one for all).
    pub(super) fn affine_elements(
        &mut self,
        x: &Lazy,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<Lazy, ImportError> {
        let mut x = self.resolve(x)?;
        // A constant that is the same everywhere is stored once.
        let compact = |v: Vec<f32>| {
            if v.iter().all(|e| Some(e) == v.first()) {
                v[..1].to_vec()
            } else {
                v
            }
        };
        let (mut scale, mut shift) = (compact(scale), compact(shift));
        match x.view.clone() {
            Some(view) if self.permutes(x.node, &view) => {
                // Below the view: constants move to the node's order.
                let indices = view
                    .indices(x.len())
                    .map_err(|e| self.unsupported(e.to_string()))?;
                for values in [&mut scale, &mut shift].into_iter().filter(|v| v.len() > 1) {
                    let mut moved = vec![0.0; values.len()];
                    indices.iter().zip(values.iter()).for_each(|(i, v)| {
                        if let Some(i) = *i {
                            moved[i] = *v;
                        }
                    });
                    *values = moved;
                }
            }
            Some(_) => {
                x = Lazy {
                    node: self.plain(&x)?,
                    view: None,
                    ..x
                }
            }
            None => {}
        }
        let shape = self.graph.nodes[x.node].shape.clone();
        let node = self.emit(Op::Affine { scale, shift }, vec![x.node], shape)?;
        Ok(Lazy { node, ..x })
    }

    fn two_tensors(
        &mut self,
        op: Binary,
        a: &Lazy,
        b: &Lazy,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        let (a, b) = (self.broadcast(a, shape)?, self.broadcast(b, shape)?);
        let whole = self.is_whole(&a) && self.is_whole(&b);
        let (a, b) = if a.f.size() + b.f.size() > MAX_EXPRESSION {
            (self.resolve(&a)?, self.resolve(&b)?)
        } else {
            (a, b)
        };
        if a.same_source(&b) {
            let f = op.combine(a.f.clone(), b.f, whole);
            return Ok(a.with(f));
        }
        let negative = |x: Lazy| {
            let f = x.f.clone().apply(ScalarOp::Neg);
            x.with(f)
        };
        match op {
            Binary::Quotient => Err(self.unsupported(
                "a division of integers by other than one constant; cast to floats before",
            )),
            Binary::Arithmetic(BinaryOp::Add) => self.sum(&a, &b),
            Binary::Arithmetic(BinaryOp::Sub) => self.sum(&a, &negative(b)),
            Binary::Arithmetic(BinaryOp::Max) => self.maximum(&a, &b),
            Binary::Arithmetic(BinaryOp::Min) => {
                Ok(negative(self.maximum(&negative(a), &negative(b))?))
            }
            Binary::Arithmetic(BinaryOp::Mul) if self.is_truth(&a) => self.gated(&a, &b),
            Binary::Arithmetic(BinaryOp::Mul) if self.is_truth(&b) => self.gated(&b, &a),
            Binary::Arithmetic(BinaryOp::Mul) => self.times(&a, &b, shape),
            Binary::Arithmetic(BinaryOp::Div) => self.divided(&a, &b, shape),
            Binary::Arithmetic(BinaryOp::Pow) => {
                // exp(b · ln a), where calibration shows that a is positive.
                let log = a.f.clone().apply(ScalarOp::Ln);
                let product = self.times(&a.with(log), &b, shape)?;
                let power = product.f.clone().apply(ScalarOp::Exp);
                Ok(product.with(power))
            }
            Binary::Arithmetic(op) => Err(self.unsupported(format!(
                "{op:?} of two activations; one of the operands has to be constant"
            ))),
            Binary::Greater(_) | Binary::Differs(_) => {
                let difference = self.sum(&a, &negative(b))?;
                let f = op.combine(difference.f.clone(), ScalarFn::Const(0.0), whole);
                Ok(difference.with(f))
            }
            Binary::Truth(_) => {
                let both = self.sum(&a, &b)?;
                let f = op.combine(both.f.clone(), ScalarFn::Const(0.0), true);
                Ok(both.with(f))
            }
        }
    }

    pub(super) fn sum(&mut self, a: &Lazy, b: &Lazy) -> Result<Lazy, ImportError> {
        let (a, b) = (self.resolve(a)?, self.resolve(b)?);
        // The same permutation of both: add below it.
        let aligned = a.view == b.view
            && a.view
                .as_ref()
                .is_none_or(|v| self.permutes(a.node, v) && self.permutes(b.node, v));
        if aligned {
            let shape = self.graph.nodes[a.node].shape.clone();
            let node = self.emit(Op::Add, vec![a.node, b.node], shape)?;
            return Ok(Lazy { node, ..a });
        }
        let operands = vec![self.plain(&a)?, self.plain(&b)?];
        self.emit_lazy(Op::Add, operands, a.shape)
    }

    fn maximum(&mut self, a: &Lazy, b: &Lazy) -> Result<Lazy, ImportError> {
        let len = a.len();
        let operands = vec![self.plain(a)?, self.plain(b)?];
        let both = self.emit(Op::Concat, operands, vec![2, len])?;
        let windows = Builder::new(&[2, len])
            .walk(len, &[(1, 1)])
            .walk(2, &[(0, 1)])
            .build();
        self.emit_lazy(Op::Max { windows, window: 2 }, vec![both], a.shape.clone())
    }
}
