//! Committing to a model.

use super::{Secret, Segment};
use crate::error::CommitError;
use crate::plan::{self, PlanOptions, Preference};
use crate::prove::engine::{Engine, generators};
use crate::prove::fold::{Folder, Matrix, commit_fixed};
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use rand_core::CryptoRng;
use std::sync::Arc;
use zkinfer_circuits::card::{self, Card};
use zkinfer_circuits::statement::segment_digest;
use zkinfer_circuits::support::{self, SupportProof};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_circuits::{C, F};
use zkinfer_engine::AnyGenerators;
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::progress::{self, Progress, Stage, Stopped, tell};

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
    /// How many segments the model is cut into, each proven by itself; 0 for as few as the [memory](PlanOptions::memory) that is
    /// allowed needs, one if it is not limited.
    pub segments: usize,
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

    /// Sets the number of [`segments`](Self::segments).
    #[must_use]
    pub fn with_segments(mut self, segments: usize) -> Self {
        self.segments = segments;
        self
    }

    /// Bounds the [memory](PlanOptions::memory) of a proof, in bytes, as it is predicted.
    #[must_use]
    pub fn with_memory(mut self, memory: u64) -> Self {
        self.plan.memory = Some(memory);
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
        let choice = plan::choose_segments(model, options.segments, &options.plan)?;
        Secret::commit_planned(choice.segments, options, rng, progress)
    }

    /// [`Secret::commit_with_progress`] for a model whose plan was [chosen](plan::choose) before, or for its segments with
    /// theirs, in order.
    ///
    /// # Errors
    /// As [`Secret::commit_with_progress`], and [`CommitError::Mismatch`] for the plan of another program, or segments that do
    /// not follow each other.
    pub fn commit_planned(
        segments: Vec<(QuantizedModel, Plan)>,
        options: &CommitOptions,
        rng: &mut impl CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Secret, CommitError> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Err(CommitError::Mismatch);
        };
        let programs = segments.iter().all(|(m, plan)| plan.program == m.program);
        let follow = segments.windows(2).all(|s| s[0].1.feeds(&s[1].1));
        if !programs || !follow {
            return Err(CommitError::Mismatch);
        }
        let k = first.1.layout.k;
        let params = zkinfer_verifier::params::load(k).map_err(|_| CommitError::Params)?;
        let mut interface = first.0.interface(options.name.clone());
        interface.outputs = last.0.outputs.clone();
        let info = interface.to_info().map_err(|_| CommitError::Interface)?;
        // Nobody would verify with a card that describes more.
        Limits::default().allow_info(info.len())?;
        Secret::commit_parts(segments, info, params, options.weights, rng, progress)
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
        Secret::commit_parts(vec![(model, plan)], info, params, weights, rng, progress)
    }

    /// Commits to models that were laid out.
    pub(crate) fn commit_parts(
        segments: Vec<(QuantizedModel, Plan)>,
        info: Vec<u8>,
        params: Arc<Params<C>>,
        weights: WeightVisibility,
        rng: &mut dyn CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Secret, CommitError> {
        // The digest is not known before everything was committed to.
        let segments = segments.into_iter();
        let unknown = Digest([0; 32]);
        let segments =
            segments.map(|(model, plan)| Segment::new(model, plan, unknown, params.clone()));
        let mut segments = segments.collect::<Result<Vec<Segment>, CommitError>>()?;
        let generators = generators(Engine::Auto, &params).map_err(|_| CommitError::Params)?;
        let total: usize = segments.iter().map(|s| s.plan.points()).sum();
        let mut committed = 0;
        let mut card = Card {
            k: params.k(),
            info,
            segments: Vec::with_capacity(segments.len()),
        };
        for segment in &mut segments {
            segment.draw_blinds(weights, rng);
            let of_all = &mut |points| {
                let done = (committed + points) as f64 / total.max(1) as f64;
                tell(progress, Stage::Commit, COMMIT_SHARE * done)
            };
            let published = segment.commit(&generators, of_all)?;
            committed += published.points.len();
            card.segments.push(published);
        }
        let digest = card.digest();
        tell(progress, Stage::Support, COMMIT_SHARE)?;
        let parts = segments.iter_mut().zip(&mut card.segments);
        for (index, (segment, published)) in parts.enumerate() {
            segment.digest = segment_digest(&digest, index);
            published.support = segment.support(card.k, &generators, rng)?;
        }
        tell(progress, Stage::Done, 1.0)?;
        Ok(Secret {
            segments,
            params,
            card,
            digest,
            engine: Engine::default(),
        })
    }
}

impl Segment {
    fn draw_blinds(&mut self, weights: WeightVisibility, rng: &mut dyn CryptoRng) {
        let mut blind = || match weights {
            WeightVisibility::Hidden => F::random(&mut *rng),
            WeightVisibility::Public => F::ZERO,
        };
        let groups = self.plan.groups.iter();
        let of_group = groups.map(|g| (0..g.points).map(|_| blind()).collect());
        self.blinds = of_group.collect();
    }

    /// What is published but for the support proof; `tell` is told how many points there are.
    fn commit(
        &self,
        generators: &AnyGenerators,
        tell: &mut dyn FnMut(usize) -> Result<(), Stopped>,
    ) -> Result<card::Segment, CommitError> {
        let groups = self.plan.groups.iter().zip(&self.matrices);
        let mut points: Vec<C> = Vec::with_capacity(self.plan.points());
        for ((group, matrix), blinds) in groups.zip(&self.blinds) {
            tell(points.len())?;
            points.extend(matrix.commit(generators, group, blinds));
        }
        Ok(card::Segment {
            program: self.model.program.clone(),
            points,
            fixed: commit_fixed(&self.plan, generators),
            support: SupportProof::default(),
        })
    }

    fn support(
        &self,
        k: u32,
        generators: &AnyGenerators,
        rng: &mut dyn CryptoRng,
    ) -> Result<SupportProof, CommitError> {
        let groups = &self.plan.groups;
        let folder = Folder {
            groups,
            generators,
            matrices: &self.matrices,
            blinds: &self.blinds,
        };
        let proof = support::prove(k, &self.digest, groups, &folder, &mut &mut *rng);
        proof.map_err(|_| CommitError::Unlucky)
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
