//! An operator, and what the importer does with it as far as its name decides.

use tract_onnx::pb::NodeProto;

use super::construction::Construction;
use crate::onnx::rewrite::writer::{Facts, Writer};

/// An operator.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Operator {
    /// The operator set: empty for ONNX's own, `ai.onnx.ml`, `com.microsoft`.
    pub domain: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The version of the operator set that introduced it.
    pub since: u32,
    /// Whether it can be imported.
    pub support: Support,
    /// How it comes to what the importer lowers.
    pub(in crate::onnx) route: Route,
    /// What stands for uses of it that tract computes differently from ONNX, also where tract runs the model.
    pub(in crate::onnx) repair: Option<Write>,
    /// What tract takes on trust when it reads the node.
    pub(in crate::onnx) needs: Needs,
    /// The first operand whose value is the size of the result.
    pub(in crate::onnx) sized_by: Option<usize>,
    /// Whether tract looks for it by its Rust type, so that it cannot be wrapped in a guard.
    pub(in crate::onnx) bare: bool,
}

/// Whether an operator can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// Yes.
    Built {
        /// How it is built.
        by: Construction,
        /// What is left out; empty where nothing is.
        limits: &'static str,
    },
    /// No.
    Refused {
        /// What would have to be done instead.
        instead: &'static str,
    },
}

/// Writes a node out in plainer ones; `None` for a use of it that it does not cover.
pub(in crate::onnx) type Write = fn(&NodeProto, &mut Writer, &mut Facts) -> Option<()>;

/// How an operator comes to what the importer lowers.
#[derive(Clone, Copy, Debug)]
pub(in crate::onnx) enum Route {
    /// tract reads it, and what tract makes of it is lowered.
    Tract,
    /// Written out before tract sees it; what is left is refused.
    Rewrite(Write),
    /// Written out where that can be; what is left is tract's.
    Prefer(Write),
    /// Written out by a [pass](crate::onnx) that looks at more than the node; what is left is refused.
    Inlined,
    /// Refused wherever it stands, also where it would follow from constants: it depends on chance.
    Never,
}

impl Route {
    /// What writes the operator out.
    pub(in crate::onnx) fn write(self) -> Option<Write> {
        match self {
            Route::Rewrite(write) | Route::Prefer(write) => Some(write),
            Route::Tract | Route::Inlined | Route::Never => None,
        }
    }

    /// Whether nodes that no pass wrote out are tract's to read.
    pub(in crate::onnx) fn is_left_to_tract(self) -> bool {
        matches!(self, Route::Tract | Route::Prefer(_))
    }
}

/// What tract takes on trust when it reads a node of this operator.
#[derive(Clone, Copy, Debug)]
pub(in crate::onnx) enum Needs {
    /// Nothing.
    Nothing,
    /// The first operand has this many dimensions or more.
    Dimensions(i64),
    /// The first operand has the axis that the attribute names.
    Axis,
    /// The result, which has one dimension more, has the axis that the attribute names.
    NewAxis,
    /// The second operand has a dimension.
    Indices,
    /// The attribute `perm` is a permutation.
    Permutation,
}

/// What entries of the list add.
impl Operator {
    pub(super) const NONE: Operator = Operator {
        domain: "",
        name: "",
        since: 1,
        support: Support::Refused { instead: "" },
        route: Route::Tract,
        repair: None,
        needs: Needs::Nothing,
        sized_by: None,
        bare: false,
    };

    pub(super) const fn rewrite(mut self, write: Write) -> Operator {
        self.route = Route::Rewrite(write);
        self
    }

    pub(super) const fn prefer(mut self, write: Write) -> Operator {
        self.route = Route::Prefer(write);
        self
    }

    pub(super) const fn inlined(mut self) -> Operator {
        self.route = Route::Inlined;
        self
    }

    pub(super) const fn never(mut self) -> Operator {
        self.route = Route::Never;
        self
    }

    pub(super) const fn repair(mut self, write: Write) -> Operator {
        self.repair = Some(write);
        self
    }

    pub(super) const fn needs(mut self, needs: Needs) -> Operator {
        self.needs = needs;
        self
    }

    pub(super) const fn sized_by(mut self, first: usize) -> Operator {
        self.sized_by = Some(first);
        self
    }

    pub(super) const fn bare(mut self) -> Operator {
        self.bare = true;
        self
    }

    /// Whether it can be imported.
    pub fn is_built(&self) -> bool {
        matches!(self.support, Support::Built { .. })
    }
}
