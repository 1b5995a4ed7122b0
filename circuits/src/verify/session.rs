//! The challenges of a proof, for prover and verifier alike.

use crate::checks::{Check, drawn};
use crate::fold::{Challenges, GatherChallenges, LateChallenges};
use crate::layout::Layout;
use crate::transcript::{Digest, IdentityPoint, Transcript};
use crate::{C, F};
use ff::Field;

/// The Fiat–Shamir side of the two phases; prover and verifier run the same code.
#[derive(Debug)]
pub struct Session {
    transcript: Transcript,
}

impl Session {
    /// Begins with the digest of the statement.
    pub fn new(statement: &Digest) -> Session {
        let mut transcript = Transcript::new("zkinfer proof v2");
        transcript.bytes(&statement.0);
        Session { transcript }
    }

    fn absorb(&mut self, points: &[C]) -> Result<(), IdentityPoint> {
        points.iter().try_for_each(|p| self.transcript.point(*p))
    }

    /// Absorbs the commitments of phase 1 and yields the first challenges.
    ///
    /// # Errors
    /// On an identity point.
    pub fn challenges(
        &mut self,
        layout: &Layout,
        phase1: &[C],
    ) -> Result<Challenges, IdentityPoint> {
        self.absorb(drawn(Check::BoundPhase1, phase1, &[]))?;
        let alpha = self.transcript.challenge();
        let theta = self.transcript.challenge();
        let y = self.transcript.challenges(layout.y_weights.constants);
        Ok(Challenges {
            alpha,
            theta: (layout.functions > 0).then_some(theta),
            y,
        })
    }

    /// Absorbs the commitments to folded weights and activations, and yields `η` if there are activations among them.
    ///
    /// # Errors
    /// On an identity point.
    pub fn eta(&mut self, layout: &Layout, folded: &[C]) -> Result<Option<F>, IdentityPoint> {
        self.absorb(drawn(Check::BoundFolded, folded, &[]))?;
        Ok((layout.columns.values > 0).then(|| self.transcript.challenge()))
    }

    /// Absorbs the commitments to the free coefficients and yields the late challenges.
    ///
    /// # Errors
    /// On an identity point.
    pub fn late(
        &mut self,
        layout: &Layout,
        eta: Option<F>,
        free: &[C],
    ) -> Result<LateChallenges, IdentityPoint> {
        self.absorb(drawn(Check::BoundFree, free, &[]))?;
        let e = self
            .transcript
            .challenges(layout.e_weights.as_ref().map_or(0, |w| w.constants));
        let mut draw = || self.transcript.challenge();
        let gather = (!layout.gathers.is_empty()).then(|| GatherChallenges {
            alpha: draw(),
            theta: draw(),
        });
        Ok(LateChallenges { eta, e, gather })
    }

    /// Absorbs the commitments to the public columns, and returns the transcript that the link proof continues.
    ///
    /// # Errors
    /// On an identity point.
    pub fn link(mut self, public: &[C]) -> Result<Transcript, IdentityPoint> {
        self.absorb(drawn(Check::BoundPublic, public, &[]))?;
        Ok(self.transcript)
    }
}

/// What a public column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Public {
    /// A challenge: the same on every row up to the one behind the active rows.
    Everywhere(F),
    /// Values of the first rows.
    Rows(Vec<F>),
}

impl Public {
    /// The column, of `rows` rows.
    pub fn column(&self, rows: usize) -> Vec<F> {
        match self {
            Public::Everywhere(value) => vec![*value; rows],
            Public::Rows(values) => {
                let mut column = values.clone();
                column.resize(rows, F::ZERO);
                column
            }
        }
    }
}

/// The public columns: challenges, `κ`, `β`.
pub fn public_columns(
    layout: &Layout,
    challenges: &Challenges,
    late: &LateChallenges,
    kappa: F,
    beta: Vec<Vec<F>>,
) -> Vec<Public> {
    let constants = [challenges.alpha].into_iter().chain(challenges.theta);
    let constants = constants
        .chain(challenges.y.iter().copied())
        .chain(late.e.iter().copied())
        .chain(late.gather.iter().flat_map(|g| [g.alpha, g.theta]));
    let mut columns: Vec<Public> = constants.map(Public::Everywhere).collect();
    if layout.columns.wiring > 0 {
        columns.push(Public::Rows(vec![kappa]));
        columns.extend(beta.into_iter().map(Public::Rows));
    }
    columns
}
