//! Committing to a model.

use super::Secret;
use crate::error::CommitError;
use crate::plan::{self, PlanOptions, Preference};
use crate::prove::engine::{Engine, generators};
use crate::prove::fold::{Folder, Matrix, commit_fixed};
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use rand_core::CryptoRng;
use std::sync::{Arc, OnceLock};
use zkinfer_circuits::card::Card;
use zkinfer_circuits::support::{self, SupportProof};
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_circuits::{C, F};
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::progress::{self, Progress, Stage, tell};

/// Part of a commitment's time before the support proof, about.
const COMMIT_SHARE: f64 = 0.8;

/// Whether a commitment to the model hides its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WeightVisibility {
    /// Random blinds: the card reveals nothing about the weights.
    #[default]
    Hidden,
    /// No blinds: whoever has the model file can recompute the card, and anyone may test guesses of the weights against it.
    Public,
}

/// How a model is committed to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// Name of the model, part of the card.
    pub name: String,
    /// Whether the commitment hides the weights.
    pub weights: WeightVisibility,
    /// Choice of `k`.
    pub plan: PlanOptions,
}

impl CommitOptions {
    /// Sets the [`name`](Self::name).
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the [visibility of the weights](Self::weights).
    #[must_use]
    pub fn with_weights(mut self, weights: WeightVisibility) -> Self {
        self.weights = weights;
        self
    }

    /// Chooses what proofs should be good at.
    #[must_use]
    pub fn with_preference(mut self, preference: Preference) -> Self {
        self.plan = self.plan.with_preference(preference);
        self
    }

    /// Fixes `k`; two models that are chained by a committed boundary need the same.
    #[must_use]
    pub fn with_k(mut self, k: u32) -> Self {
        self.plan.k = Some(k);
        self
    }
}

impl Secret {
    /// Commits to a model with hidden weights: plans, draws blinds, computes the model commitment.
    ///
    /// # Errors
    /// A model that fits no supported plan; see [`CommitError`].
    pub fn commit(model: QuantizedModel, rng: &mut impl CryptoRng) -> Result<Secret, CommitError> {
        Secret::commit_with(model, &CommitOptions::default(), rng)
    }

    /// Commits to a model.
    ///
    /// # Errors
    /// A model that fits no plan that `options` allow; see [`CommitError`].
    pub fn commit_with(
        model: QuantizedModel,
        options: &CommitOptions,
        rng: &mut impl CryptoRng,
    ) -> Result<Secret, CommitError> {
        Secret::commit_with_progress(model, options, rng, &mut progress::silent)
    }

    /// [`Secret::commit_with`], with [progress] after every part of the commitment.
    ///
    /// # Errors
    /// As [`Secret::commit_with`], and [`CommitError::Stopped`].
    pub fn commit_with_progress(
        model: QuantizedModel,
        options: &CommitOptions,
        rng: &mut impl CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Secret, CommitError> {
        tell(progress, Stage::Commit, 0.0)?;
        let plan = plan::choose(&model.program, &options.plan)?.plan;
        Secret::commit_planned(model, plan, options, rng, progress)
    }

    /// [`Secret::commit_with_progress`] for a model whose plan was [chosen](plan::choose) before.
    ///
    /// # Errors
    /// As [`Secret::commit_with_progress`], and [`CommitError::Mismatch`] for the plan of another program.
    pub fn commit_planned(
        model: QuantizedModel,
        plan: Plan,
        options: &CommitOptions,
        rng: &mut impl CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Secret, CommitError> {
        if plan.program != model.program {
            return Err(CommitError::Mismatch);
        }
        let params =
            zkinfer_verifier::params::load(plan.layout.k).map_err(|_| CommitError::Params)?;
        let info = model
            .interface(options.name.clone())
            .to_info()
            .map_err(|_| CommitError::Interface)?;
        // Nobody would verify with a card that describes more.
        Limits::default().allow_info(info.len())?;
        Secret::commit_parts(model, plan, info, params, options.weights, rng, progress)
    }

    /// Commits to a model at a given `k`, with given parameters.
    #[cfg(test)]
    pub(crate) fn commit_at(
        model: QuantizedModel,
        k: u32,
        info: Vec<u8>,
        params: Arc<Params<C>>,
        weights: WeightVisibility,
        rng: &mut dyn CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Secret, CommitError> {
        let plan = Plan::new(model.program.clone(), k, &Limits::owner())?;
        Secret::commit_parts(model, plan, info, params, weights, rng, progress)
    }

    /// Commits to a model that was laid out.
    fn commit_parts(
        model: QuantizedModel,
        plan: Plan,
        info: Vec<u8>,
        params: Arc<Params<C>>,
        weights: WeightVisibility,
        rng: &mut dyn CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Secret, CommitError> {
        let blind = |rng: &mut _| match weights {
            WeightVisibility::Hidden => F::random(rng),
            WeightVisibility::Public => F::ZERO,
        };
        let blinds: Vec<Vec<F>> = plan
            .groups
            .iter()
            .map(|g| (0..g.points).map(|_| blind(&mut *rng)).collect())
            .collect();
        let matrices = collect_matrices(&plan, &model)?;
        let generators = generators(Engine::Auto, &params).map_err(|_| CommitError::Params)?;
        let groups = plan.groups.iter().zip(&matrices).zip(&blinds);
        let mut points: Vec<C> = Vec::with_capacity(plan.points());
        for ((group, matrix), blinds) in groups {
            let done = points.len() as f64 / plan.points().max(1) as f64;
            tell(progress, Stage::Commit, COMMIT_SHARE * done)?;
            points.extend(matrix.commit(&generators, group, blinds));
        }
        tell(progress, Stage::Support, COMMIT_SHARE)?;
        let mut card = Card {
            program: model.program.clone(),
            k: plan.layout.k,
            info,
            points,
            fixed: commit_fixed(&plan, &generators),
            support: SupportProof::default(),
        };
        let digest = card.digest();
        let folder = Folder {
            groups: &plan.groups,
            generators: &generators,
            matrices: &matrices,
            blinds: &blinds,
        };
        card.support = support::prove(card.k, &digest, &plan.groups, &folder, &mut &mut *rng)
            .map_err(|_| CommitError::Unlucky)?;
        tell(progress, Stage::Done, 1.0)?;
        Ok(Secret {
            model,
            plan,
            params,
            matrices,
            blinds,
            card,
            digest,
            engine: Engine::default(),
            keys: OnceLock::new(),
        })
    }
}

pub(super) fn collect_matrices(
    plan: &Plan,
    model: &QuantizedModel,
) -> Result<Vec<Matrix>, CommitError> {
    let matrices = plan
        .groups
        .iter()
        .map(|g| Matrix::new(plan, g, &model.weights).ok_or(CommitError::Weights { node: g.node }));
    matrices.collect()
}
