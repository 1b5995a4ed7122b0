//! What a card with hidden weights reveals besides the architecture.
//!
//! Weights are behind commitments, but a program is quantized to the numbers that calibration saw, and some of that is public:
//! the scales of its borders, the tables of its functions, a few choices. This is the list, and section 7 of `docs/protocol.md`
//! says the same (a test compares them). Everything else in a program is a function of the architecture and of the options: two
//! models of one architecture have programs that differ in nothing else (`crates/model/tests/disclosure`).

use std::collections::BTreeSet;

use serde::Serialize;
use zkinfer_circuits::program::{MAX_RANGE_BITS, MIN_RANGE_BITS, Neurons, Node, Program, Weights};

use crate::model::QuantizedModel;

/// A kind of information about weights, or about hidden activations in calibration, that a card may have in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disclosed {
    /// The number of bits, where it was chosen automatically.
    Bits,
    /// The interface: scales and zero points.
    Scales,
    /// Function tables.
    Tables,
    /// The size of softmax logits.
    Logits,
    /// Logits that are left out.
    Masks,
    /// Factors of products of activations.
    Products,
    /// Nodes of the program that depend on numbers.
    Choices,
    /// Factors of activations, in cards made by earlier versions.
    Factors,
}

impl Disclosed {
    /// Everything that there is.
    pub const ALL: [Disclosed; 8] = [
        Disclosed::Bits,
        Disclosed::Scales,
        Disclosed::Tables,
        Disclosed::Logits,
        Disclosed::Masks,
        Disclosed::Products,
        Disclosed::Choices,
        Disclosed::Factors,
    ];

    /// A name that stays.
    pub fn code(self) -> &'static str {
        match self {
            Disclosed::Bits => "bits",
            Disclosed::Scales => "scales",
            Disclosed::Tables => "tables",
            Disclosed::Logits => "logits",
            Disclosed::Masks => "masks",
            Disclosed::Products => "products",
            Disclosed::Choices => "choices",
            Disclosed::Factors => "factors",
        }
    }

    /// What it tells, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Disclosed::Bits => {
                "the number of bits, and which operations have twice as many, unless an option fixes the number: how large the quantized model's errors are on the calibration samples, and where they arise"
            }
            Disclosed::Scales => {
                "steps and zero points of inputs and outputs: their ranges on the calibration samples or, for an output that is only rescaled or sums up many values, the step or the sizes of the weights that it is computed with"
            }
            Disclosed::Tables => {
                "every function's table, its clamps, whether it is one table or several, and which layers have the same: the ranges of argument and result on the calibration samples and the numbers in the function (a learned slope beside the activation), as far as the table's shape shows them"
            }
            Disclosed::Logits => {
                "the step of a softmax's tables: by how much the range of its logits exceeds 24, if it does, in steps of 19 %"
            }
            Disclosed::Masks => {
                "which logits of a softmax are left out, those that every calibration sample has 24 or more below another one; whether what lies far below the largest is cut off, because of the range of the logits, and in one step or two; whether a constant of 10⁴ or more is added to what a maximum or an index of the largest chooses from; and whether some calibration sample has a row of which everything is masked"
            }
            Disclosed::Products => {
                "by how much the results of a product of activations stay below what their operands could make of them, if it is four times or more, in powers of four"
            }
            Disclosed::Choices => {
                "choices by number: whether a clip is one unit or two, and which of its bounds is reached; which steps of a loop use the same weights; learned numbers that are equal to each other, zero, whole, negative behind a maximum, or a hundred times the range that they are added to; columns of rows that are normalised, and channels, that are eight times as large as half of the others; whether numbers of rows are negative; with values clamped to their ranges (an option), in which layers calibration saw some that are further out than a clamp reaches"
            }
            Disclosed::Factors => {
                "factors and zero points of products of activations and the scale of softmax logits: only in cards made before these were hidden"
            }
        }
    }
}

/// Something that a card reveals about hidden weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disclosure {
    /// What kind of information.
    pub kind: Disclosed,
    /// Where in this card.
    pub place: String,
}

impl std::fmt::Display for Disclosure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.kind.meaning(), self.place)
    }
}

impl QuantizedModel {
    /// What a card of this model reveals besides the architecture, if its weights are hidden; see [`Disclosed`].
    pub fn disclosures(&self) -> Vec<Disclosure> {
        disclosures(&self.program)
    }
}

/// What a card with this program reveals besides the architecture, if its weights are hidden.
pub fn disclosures(program: &Program) -> Vec<Disclosure> {
    let mut found = Vec::new();
    let mut tell = |kind, place: String| found.push(Disclosure { kind, place });
    tell(Disclosed::Bits, format!("{} bits", program.range_bits));
    let inputs = program.nodes.iter();
    let inputs = inputs.filter(|n| matches!(n, Node::Input { .. })).count();
    let outputs = program.outputs.len();
    let borders = format!("{}, {}", count(inputs, "input"), count(outputs, "output"));
    tell(Disclosed::Scales, borders);
    let functions = calibrated_tables(program);
    if !functions.is_empty() {
        tell(Disclosed::Tables, count(functions.len(), "table"));
    }
    let softmaxes = neurons(program).filter(|n| is_softmax(n)).count();
    if softmaxes > 0 {
        tell(Disclosed::Logits, format!("softmax, {softmaxes} times"));
        tell(Disclosed::Masks, format!("softmax, {softmaxes} times"));
    }
    let products = neurons(program).filter(|n| n.operands().next().is_some());
    let products = products.count();
    if products > 0 {
        tell(Disclosed::Products, count(products, "node"));
    }
    tell(Disclosed::Choices, count(program.nodes.len(), "node"));
    let factors = neurons(program).filter(|n| has_factors(program, n)).count();
    if factors > 0 {
        tell(Disclosed::Factors, count(factors, "node"));
    }
    found
}

fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

fn neurons(program: &Program) -> impl Iterator<Item = &Neurons> {
    program.nodes.iter().filter_map(|n| match n {
        Node::Neurons(n) => Some(n),
        _ => None,
    })
}

/// Whether a node is the argument of a softmax's exponentials: an upper clamp without a lower one and two tables, which no function
/// has.
pub fn is_softmax(n: &Neurons) -> bool {
    n.unit.tables.len() == 2 && n.unit.high && !n.unit.low
}

/// Tables whose entries depend on calibration: all but those of softmax, of squares and of comparisons.
pub fn calibrated_tables(program: &Program) -> BTreeSet<u32> {
    // Of a card that was only decoded: no other table has that length.
    if !(MIN_RANGE_BITS..=MAX_RANGE_BITS).contains(&program.range_bits) {
        return BTreeSet::new();
    }
    let public = [squares(program.range_bits), comparison(program.range_bits)];
    let used = neurons(program).filter(|n| !is_softmax(n));
    let used = used.flat_map(|n| n.unit.tables.iter().copied());
    let calibrated = |t: &u32| {
        let table = program.tables.get(*t as usize);
        table.is_some_and(|entries| !public.contains(entries))
    };
    used.filter(calibrated).collect()
}

/// The table of squares: of `2q/top − 1`, in steps of `1/top`.
pub(crate) fn squares(bits: u32) -> Vec<u16> {
    let top = f64::from((1u32 << bits) - 1);
    let entry = |q: u32| ((2.0 * f64::from(q) / top - 1.0).powi(2) * top).round() as u16;
    (0..1u32 << bits).map(entry).collect()
}

/// The table of comparisons: zero for zero, the largest integer for all others.
pub(crate) fn comparison(bits: u32) -> Vec<u16> {
    let mut entries = vec![((1u32 << bits) - 1) as u16; 1 << bits];
    entries[0] = 0;
    entries
}

/// Whether a node has factors of activations that follow from calibration, as nodes of earlier versions had: a product of
/// activations with a public weight on something else than the constant one, or softmax with a public factor.
fn has_factors(program: &Program, n: &Neurons) -> bool {
    let one = 1i64 << program.range_bits.min(MAX_RANGE_BITS);
    let public = |w: &Weights| match w {
        Weights::Public(w) => w.first().copied(),
        _ => None,
    };
    if is_softmax(n) {
        return n
            .terms
            .iter()
            .any(|t| t.inputs == 1 && public(&t.weights).is_some_and(|w| w < 0));
    }
    let known = |w: i64| w == one || w == one / 2;
    n.operands().next().is_some()
        && n.terms
            .iter()
            .any(|t| public(&t.weights).is_some_and(|w| !known(w)))
}
