//! From a quantized model to a committed one: plan, parameters, commitment, card.

use rand_core::CryptoRng;

use crate::error::CommitError;
use crate::interface::Interface;
use crate::model::QuantizedModel;
use crate::params;
use crate::plan::{self, PlanOptions};
use crate::secret::{Secret, WeightVisibility};

/// Choices for [`QuantizedModel::commit`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// Name of the model in its card, for people.
    pub name: String,
    /// Whether the card hides the weights.
    pub weights: WeightVisibility,
    /// Choices of the planner.
    pub plan: PlanOptions,
}

impl QuantizedModel {
    /// Commits to the weights. The result stays with the owner; [`Secret::card`] is published.
    ///
    /// # Errors
    /// A program that fits no `k`, weights that do not fit the program.
    pub fn commit(self, options: &CommitOptions, rng: &mut impl CryptoRng) -> Result<Secret, CommitError> {
        let choice = plan::choose(&self.program, &options.plan)?;
        let info = Interface::of(&self, &options.name).to_info().map_err(|_| CommitError::Params)?;
        let params = params::load(choice.k).map_err(|_| CommitError::Params)?;
        Secret::commit(self, choice.k, info, params, options.weights, rng)
    }
}
