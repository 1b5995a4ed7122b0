//! The checks on which soundness rests, by name, so that tests can show that none can be left out.
//!
//! Code asks `holds` whether a condition holds, and takes challenges through `drawn`. Both are the identity. With the
//! feature `mutations`, which only `cargo xtask mutations` turns on, `without` switches one check off while a closure
//! runs, and a lie that this check alone catches must then be accepted (`src/prove/tests/mutations.rs`). Two things have to
//! come together before a check is off, the feature and a call, so a build that has the feature by accident verifies as
//! any other.

/// Names of checks.
macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A check that can be switched off in tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &'static [Check] = &[$(Check::$name,)*];
        }
    };
}

checks! {
    /// A program: a maximum has neither an upper clamp nor a table.
    MaximumAlone,
    /// A program: tables map `[0, 2^T)` to itself.
    TableRange,
    /// A program: an output is listed once.
    OutputOnce,
    /// A program: an output has no table.
    OutputPlain,
    /// A program: members of a family have one shape and the same public weights.
    FamilyShape,
    /// A program: neither leader nor member of a family is an output.
    FamilyOutput,
    /// Hints: `f` does not increase.
    HintFalls,
    /// Hints: `g(x) ≥ f(x + 1)`, and `g(top) ≥ f(top)`.
    HintFollows,
    /// Hints: coefficients of the steps are earlier activations.
    HintOperands,
    /// Hints: everything else that a step reads is earlier, and the digits are hints.
    HintReads,
    /// Hints: both sums have the same steps, as often.
    HintRepeats,
    /// Hints: all steps of a sum use one normaliser.
    HintOne,
    /// Hints: `a + b < 0`.
    HintGap,
    /// A card: the support proof.
    Support,
    /// The support proof: `γ` combines the points of a group.
    SupportGamma,
    /// The support proof: `σ` combines the rows.
    SupportSigma,
    /// The support proof: `τ` combines the groups.
    SupportTau,
    /// The support proof: challenges of the halvings of the groups.
    SupportHalvings,
    /// The support proof: `ξ` weighs the mask.
    SupportMask,
    /// The support proof: `z` weighs inner products.
    SupportValue,
    /// The support proof: challenges of the rounds.
    SupportRounds,
    /// A card's commitments to fixed columns: that they are those of the program.
    Key,
    /// The same: one for every column.
    KeyLength,
    /// The same: a power of the challenge for every column.
    KeyPowers,
    /// The same: the challenge depends on the commitments and on the support proof.
    KeyBound,
    /// Generators and parameters: the pinned digest.
    ParamsDigest,
    /// A proof: made for this card.
    CardDigest,
    /// A proof: the expected context.
    Context,
    /// A proof of several runs: the expected context of later runs.
    LaterContexts,
    /// A proof of several runs: as many as expected.
    RunCount,
    /// A side: as many values or points as the model has.
    SideLength,
    /// A segment's digest: the card.
    BoundCard,
    /// A segment's digest: which of the card's segments it is.
    BoundSegment,
    /// A card: what a segment puts out is what the next one reads.
    SegmentFits,
    /// A proof: as many segments as the card has.
    SegmentCount,
    /// A statement's digest: the context.
    BoundContext,
    /// Proof bytes: as many as the card's proofs have, all of them read.
    ProofLength,
    /// Later runs: the first run's folded weights.
    LaterWeights,
    /// Later runs: the first run's free coefficients.
    LaterCoefficients,
    /// Later runs: the first run's public columns.
    LaterPublic,
    /// The transcript: phase 1 before the first challenges.
    BoundPhase1,
    /// The transcript: folded activations before `η`.
    BoundFolded,
    /// The transcript: free coefficients before the `z`.
    BoundFree,
    /// The transcript: public columns before `μ`.
    BoundPublic,
    /// The fold: a power of `η` for every cell of `U`.
    EtaPowers,
    /// The link: its equation.
    Link,
    /// The link: `μ` combines the columns.
    LinkMu,
    /// The halo2 proof's equation.
    Circuit,
    /// The weight between the two sums of a proof.
    Weight,
    /// That weight: the link's bytes.
    WeightLink,
    /// That weight: the halo2 proof's bytes.
    WeightProof,
    /// A batch: its seed is a hash of all proofs.
    BatchSeed,
    /// A batch: two weights for the two sums of a proof.
    BatchWeights,
    /// A chain: the same number of bits on both sides of a boundary.
    ChainBits,
    /// A chain: the same number of rows.
    ChainRows,
    /// A chain: every element in the same place.
    ChainPlaces,
    /// A chain: the output of one proof is the input of the next.
    ChainSides,
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Check;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    /// One more than the number of the check that is off.
    static OFF: AtomicUsize = AtomicUsize::new(0);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    pub fn is_off(check: Check) -> bool {
        OFF.load(Ordering::SeqCst) == check as usize + 1
    }

    /// Runs `f` without a check, on all threads of the process. For tests; one call at a time.
    pub fn without<T>(check: Check, f: impl FnOnce() -> T) -> T {
        struct On;
        impl Drop for On {
            fn drop(&mut self) {
                OFF.store(0, Ordering::SeqCst);
            }
        }
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let _on = On;
        OFF.store(check as usize + 1, Ordering::SeqCst);
        f()
    }
}

#[cfg(feature = "mutations")]
pub use switch::without;

/// Whether a test has switched a check off.
#[cfg(feature = "mutations")]
pub(crate) fn is_off(check: Check) -> bool {
    switch::is_off(check)
}

#[cfg(not(feature = "mutations"))]
/// Whether a test has switched a check off: never.
#[inline(always)]
pub(crate) const fn is_off(_: Check) -> bool {
    false
}

/// Whether a check is passed.
#[inline(always)]
pub(crate) fn holds(check: Check, condition: bool) -> bool {
    condition || is_off(check)
}

/// The value that a check relies on; `weak` without it.
#[inline(always)]
pub(crate) fn drawn<T>(check: Check, value: T, weak: T) -> T {
    if is_off(check) { weak } else { value }
}
