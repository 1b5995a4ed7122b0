//! Evaluation and recognition of [`ScalarFn`] expressions.

use super::{Activation, BinaryOp, ScalarFn, ScalarOp};

/// What an expression amounts to, for choosing the cheapest [`Op`](super::Op)s.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// `scale · x + shift`.
    Affine(f64, f64),
    /// A piecewise-linear activation between two affine maps: `outer(activation(inner(x)))`, maps as (scale, shift).
    Piecewise {
        /// Applied first.
        inner: (f64, f64),
        /// Applied second.
        activation: Piece,
        /// Applied last.
        outer: (f64, f64),
    },
    /// Anything else.
    Table,
}

/// A piecewise-linear function that has an [`Activation`] of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece {
    Relu,
    Leaky(f64),
    Clip(f64, f64),
}

impl Piece {
    pub(crate) fn activation(self) -> Activation {
        match self {
            Piece::Relu => Activation::Relu,
            Piece::Leaky(slope) => Activation::LeakyRelu(vec![slope as f32]),
            Piece::Clip(low, high) => Activation::Clip {
                low: low as f32,
                high: high as f32,
            },
        }
    }
}

impl ScalarFn {
    /// Whether it is the square.
    pub(crate) fn is_square(&self) -> bool {
        match self {
            ScalarFn::Apply(ScalarOp::Square, x) => **x == ScalarFn::X,
            ScalarFn::Combine(BinaryOp::Mul, a, b) => (&**a, &**b) == (&ScalarFn::X, &ScalarFn::X),
            ScalarFn::Combine(BinaryOp::Pow, a, b) => {
                (&**a, &**b) == (&ScalarFn::X, &ScalarFn::Const(2.0))
            }
            _ => false,
        }
    }

    /// The expression's value at `x`, to about 1e-12 relative to its largest intermediate. Not finite where the function
    /// is not defined (`ln` of a negative number).
    pub fn eval(&self, x: f64) -> f64 {
        match self {
            ScalarFn::X => x,
            ScalarFn::Const(c) => *c,
            ScalarFn::Apply(op, f) => op.eval(f.eval(x)),
            ScalarFn::Combine(op, f, g) => op.eval(f.eval(x), g.eval(x)),
            ScalarFn::Select(c, f, g) => {
                if c.eval(x) > 0.0 {
                    f.eval(x)
                } else {
                    g.eval(x)
                }
            }
        }
    }

    /// Arguments that the expression tells from all others: `c` of `|x − c| > 0`, and of the sign of `x − c`.
    pub(crate) fn points(&self) -> Vec<f64> {
        let zero = |f: &ScalarFn| {
            let (slope, shift) = f.affine()?;
            (slope != 0.0).then_some(-shift / slope)
        };
        match self {
            ScalarFn::X | ScalarFn::Const(_) => Vec::new(),
            ScalarFn::Apply(op, f) => {
                let own = zero(f).filter(|_| *op == ScalarOp::Sign);
                own.into_iter().chain(f.points()).collect()
            }
            ScalarFn::Combine(_, f, g) => [f.points(), g.points()].concat(),
            ScalarFn::Select(c, f, g) => {
                let own = match &**c {
                    ScalarFn::Apply(ScalarOp::Abs, distance) => zero(distance),
                    _ => None,
                };
                let parts = [c.points(), f.points(), g.points()].concat();
                own.into_iter().chain(parts).collect()
            }
        }
    }

    /// Where choices by comparisons with a constant change sides; the value there is that of one side.
    pub(crate) fn thresholds(&self) -> Vec<f64> {
        match self {
            ScalarFn::X | ScalarFn::Const(_) => Vec::new(),
            ScalarFn::Apply(_, f) => f.thresholds(),
            ScalarFn::Combine(_, f, g) => [f.thresholds(), g.thresholds()].concat(),
            ScalarFn::Select(c, f, g) => {
                let own = c.affine().filter(|(slope, _)| *slope != 0.0);
                let own = own.map(|(slope, shift)| -shift / slope);
                let parts = [c.thresholds(), f.thresholds(), g.thresholds()].concat();
                own.into_iter().chain(parts).collect()
            }
        }
    }

    /// Number of symbols in the expression.
    pub fn size(&self) -> usize {
        match self {
            ScalarFn::X | ScalarFn::Const(_) => 1,
            ScalarFn::Apply(_, f) => 1 + f.size(),
            ScalarFn::Combine(_, f, g) => 1 + f.size() + g.size(),
            ScalarFn::Select(c, f, g) => 1 + c.size() + f.size() + g.size(),
        }
    }

    pub(crate) fn apply(self, op: ScalarOp) -> ScalarFn {
        ScalarFn::Apply(op, Box::new(self))
    }

    pub(crate) fn combine(self, op: BinaryOp, other: ScalarFn) -> ScalarFn {
        ScalarFn::Combine(op, Box::new(self), Box::new(other))
    }

    pub(crate) fn select(condition: ScalarFn, then: ScalarFn, otherwise: ScalarFn) -> ScalarFn {
        ScalarFn::Select(Box::new(condition), Box::new(then), Box::new(otherwise))
    }

    /// The value if the expression does not depend on its argument.
    pub(crate) fn constant(&self) -> Option<f64> {
        match self.affine() {
            Some((0.0, shift)) => Some(shift),
            _ => None,
        }
    }

    /// `(scale, shift)` if the expression is affine in its argument, as written.
    pub(crate) fn affine(&self) -> Option<(f64, f64)> {
        match self {
            ScalarFn::X => Some((1.0, 0.0)),
            ScalarFn::Const(c) => Some((0.0, *c)),
            ScalarFn::Apply(op, f) => match (op, f.affine()?) {
                (ScalarOp::Neg, (s, t)) => Some((-s, -t)),
                (op, (0.0, t)) => Some((0.0, op.eval(t))),
                _ => None,
            },
            ScalarFn::Combine(op, f, g) => affine_combine(*op, f.affine()?, g.affine()?),
            ScalarFn::Select(..) => None,
        }
    }

    /// Classifies the expression.
    pub(crate) fn shape(&self) -> Shape {
        if let Some((scale, shift)) = self.affine() {
            return Shape::Affine(scale, shift);
        }
        self.piecewise().unwrap_or(Shape::Table)
    }

    fn piecewise(&self) -> Option<Shape> {
        match self {
            ScalarFn::Apply(ScalarOp::Neg, f) => rescale(f.piecewise()?, -1.0, 0.0),
            ScalarFn::Apply(ScalarOp::Relu, f) => max_with(f, 0.0),
            ScalarFn::Select(c, f, g) => leaky(c, f, g),
            ScalarFn::Combine(op, f, g) => {
                let ((variable, other), swapped) = match (f.constant(), g.constant()) {
                    (None, Some(c)) => ((f, c), false),
                    (Some(c), None) => ((g, c), true),
                    _ => return None,
                };
                match (op, swapped) {
                    (BinaryOp::Max, _) => max_with(variable, other),
                    (BinaryOp::Min, _) => min_with(variable, other),
                    (BinaryOp::Add, _) => rescale(variable.piecewise()?, 1.0, other),
                    (BinaryOp::Sub, false) => rescale(variable.piecewise()?, 1.0, -other),
                    (BinaryOp::Sub, true) => rescale(variable.piecewise()?, -1.0, other),
                    (BinaryOp::Mul, _) => rescale(variable.piecewise()?, other, 0.0),
                    (BinaryOp::Div, false) if other != 0.0 => {
                        rescale(variable.piecewise()?, 1.0 / other, 0.0)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn affine_combine(op: BinaryOp, f: (f64, f64), g: (f64, f64)) -> Option<(f64, f64)> {
    match op {
        BinaryOp::Add => Some((f.0 + g.0, f.1 + g.1)),
        BinaryOp::Sub => Some((f.0 - g.0, f.1 - g.1)),
        BinaryOp::Mul if g.0 == 0.0 => Some((f.0 * g.1, f.1 * g.1)),
        BinaryOp::Mul if f.0 == 0.0 => Some((g.0 * f.1, g.1 * f.1)),
        BinaryOp::Div if g.0 == 0.0 && g.1 != 0.0 => Some((f.0 / g.1, f.1 / g.1)),
        BinaryOp::Pow if g == (0.0, 1.0) => Some(f),
        _ if f.0 == 0.0 && g.0 == 0.0 => Some((0.0, op.eval(f.1, g.1))),
        _ => None,
    }
}

fn rescale(shape: Shape, scale: f64, shift: f64) -> Option<Shape> {
    match shape {
        Shape::Piecewise {
            inner,
            activation,
            outer,
        } => Some(Shape::Piecewise {
            inner,
            activation,
            outer: (outer.0 * scale, outer.1 * scale + shift),
        }),
        _ => None,
    }
}

/// `max(f, low)` with `f` affine or already clipped from above.
fn max_with(f: &ScalarFn, low: f64) -> Option<Shape> {
    if let Some(inner) = f.affine() {
        let activation = if low == 0.0 {
            Piece::Relu
        } else {
            Piece::Clip(low, f64::INFINITY)
        };
        return Some(Shape::Piecewise {
            inner,
            activation,
            outer: (1.0, 0.0),
        });
    }
    match f.piecewise()? {
        Shape::Piecewise {
            inner,
            activation: Piece::Clip(a, b),
            outer: (1.0, 0.0),
        } => {
            let (low, high) = (a.max(low), b.max(low));
            Some(Shape::Piecewise {
                inner,
                activation: Piece::Clip(low, high),
                outer: (1.0, 0.0),
            })
        }
        s @ Shape::Piecewise {
            activation: Piece::Relu,
            outer: (1.0, 0.0),
            ..
        } if low <= 0.0 => Some(s),
        _ => None,
    }
}

/// `min(f, high)` with `f` affine or already clipped from below.
fn min_with(f: &ScalarFn, high: f64) -> Option<Shape> {
    if let Some(inner) = f.affine() {
        return Some(Shape::Piecewise {
            inner,
            activation: Piece::Clip(f64::NEG_INFINITY, high),
            outer: (1.0, 0.0),
        });
    }
    let Shape::Piecewise {
        inner,
        activation,
        outer: (1.0, 0.0),
    } = f.piecewise()?
    else {
        return None;
    };
    let (a, b) = match activation {
        Piece::Relu => (0.0, f64::INFINITY),
        Piece::Clip(a, b) => (a, b),
        Piece::Leaky(_) => return None,
    };
    Some(Shape::Piecewise {
        inner,
        activation: Piece::Clip(a.min(high), b.min(high)),
        outer: (1.0, 0.0),
    })
}

/// `f` where `c > 0`, else `g`: a leaky ReLU if all three are proportional to the argument.
fn leaky(c: &ScalarFn, f: &ScalarFn, g: &ScalarFn) -> Option<Shape> {
    let (c, f, g) = (c.affine()?, f.affine()?, g.affine()?);
    if c.0 == 0.0 || c.1 != 0.0 || f.1 != 0.0 || g.1 != 0.0 {
        return None;
    }
    let (positive, negative) = if c.0 > 0.0 { (f.0, g.0) } else { (g.0, f.0) };
    if positive == 0.0 {
        return None;
    }
    let slope = negative / positive;
    let activation = if slope == 0.0 {
        Piece::Relu
    } else {
        Piece::Leaky(slope)
    };
    Some(Shape::Piecewise {
        inner: (1.0, 0.0),
        activation,
        outer: (positive, 0.0),
    })
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

impl ScalarOp {
    /// The function's value.
    pub fn eval(self, x: f64) -> f64 {
        match self {
            ScalarOp::Sigmoid => sigmoid(x),
            ScalarOp::Tanh => libm::tanh(x),
            ScalarOp::Exp => libm::exp(x),
            ScalarOp::Ln => libm::log(x),
            ScalarOp::Sqrt => x.sqrt(),
            ScalarOp::Rsqrt => 1.0 / x.sqrt(),
            ScalarOp::Recip => 1.0 / x,
            ScalarOp::Erf => libm::erf(x),
            ScalarOp::Abs => x.abs(),
            ScalarOp::Neg => -x,
            ScalarOp::Square => x * x,
            ScalarOp::Floor => x.floor(),
            ScalarOp::Ceil => x.ceil(),
            ScalarOp::Round => x.round_ties_even(),
            ScalarOp::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
            ScalarOp::Sin => libm::sin(x),
            ScalarOp::Cos => libm::cos(x),
            ScalarOp::Tan => libm::tan(x),
            ScalarOp::Asin => libm::asin(x),
            ScalarOp::Acos => libm::acos(x),
            ScalarOp::Atan => libm::atan(x),
            ScalarOp::Sinh => libm::sinh(x),
            ScalarOp::Cosh => libm::cosh(x),
            ScalarOp::Asinh => libm::asinh(x),
            ScalarOp::Acosh => libm::acosh(x),
            ScalarOp::Atanh => libm::atanh(x),
            ScalarOp::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            ScalarOp::Silu => x * sigmoid(x),
            ScalarOp::Softplus => softplus(x),
            ScalarOp::Softsign => x / (1.0 + x.abs()),
            ScalarOp::Mish => x * libm::tanh(softplus(x)),
            // erfc keeps the digits of the left tail.
            ScalarOp::Gelu => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
            ScalarOp::Relu => x.max(0.0),
        }
    }
}

/// The nearest whole number, of 31 bits at most.
fn whole(x: f64) -> i64 {
    x.round().clamp(-2_147_483_648.0, 2_147_483_647.0) as i64
}

impl BinaryOp {
    /// The operation's value.
    pub fn eval(self, a: f64, b: f64) -> f64 {
        match self {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Min => a.min(b),
            BinaryOp::Max => a.max(b),
            BinaryOp::Pow => libm::pow(a, b),
            BinaryOp::Rem => a % b,
            BinaryOp::BitAnd => (whole(a) & whole(b)) as f64,
            BinaryOp::BitOr => (whole(a) | whole(b)) as f64,
            BinaryOp::BitXor => (whole(a) ^ whole(b)) as f64,
            BinaryOp::ShiftLeft => (whole(a) << whole(b).clamp(0, 32)) as f64,
            BinaryOp::ShiftRight => (whole(a) >> whole(b).clamp(0, 63)) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BinaryOp::*;

    fn c(v: f64) -> ScalarFn {
        ScalarFn::Const(v)
    }

    #[test]
    fn values_match_tables() {
        // Abramowitz & Stegun 7.1, 4.5 (digits as printed there and by mpmath).
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(ScalarOp::Erf.eval(0.5), 0.520_499_877_813_046_5);
        close(ScalarOp::Erf.eval(1.0), 0.842_700_792_949_714_9);
        close(ScalarOp::Gelu.eval(1.0), 0.841_344_746_068_542_9);
        close(ScalarOp::Gelu.eval(-1.0), -0.158_655_253_931_457_05);
        close(ScalarOp::Sigmoid.eval(-1.0), 0.268_941_421_369_995_1);
        close(ScalarOp::Softplus.eval(800.0), 800.0);
        close(ScalarOp::Mish.eval(1.0), 0.865_098_388_267_310_4);
        close(ScalarOp::Round.eval(2.5), 2.0);
    }

    #[test]
    fn recognises_piecewise_linear_chains() {
        // clip(x + 3, 0, 6) and its hard-sigmoid cousin, in both orders of min and max.
        let clip = ScalarFn::X
            .combine(Add, c(3.0))
            .combine(Max, c(0.0))
            .combine(Min, c(6.0));
        let want = Shape::Piecewise {
            inner: (1.0, 3.0),
            activation: Piece::Clip(0.0, 6.0),
            outer: (1.0, 0.0),
        };
        assert_eq!(clip.shape(), want);
        let clip = ScalarFn::X
            .combine(Add, c(3.0))
            .combine(Min, c(6.0))
            .combine(Max, c(0.0));
        assert_eq!(clip.shape(), want);
        let third = clip.combine(Div, c(2.0));
        assert!(matches!(
            third.shape(),
            Shape::Piecewise {
                outer: (0.5, 0.0),
                ..
            }
        ));
        let leaky = ScalarFn::select(ScalarFn::X, ScalarFn::X, ScalarFn::X.combine(Mul, c(0.1)));
        assert!(
            matches!(leaky.shape(), Shape::Piecewise { activation: Piece::Leaky(s), .. } if s == 0.1)
        );
        let swish = ScalarFn::X.combine(Mul, ScalarFn::X.apply(ScalarOp::Sigmoid));
        assert_eq!(swish.shape(), Shape::Table);
        assert_eq!(
            ScalarFn::X.combine(Add, ScalarFn::X).shape(),
            Shape::Affine(2.0, 0.0)
        );
    }
}
