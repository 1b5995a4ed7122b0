//! The slips that were seen last, which new ones are compared with.

use super::answer::Unbound;
use std::collections::{BTreeMap, HashMap};
use zkinfer_slip::evidence::Claim;
use zkinfer_slip::{Series, Slip};

/// How many slips of a numbering are remembered.
const KEPT: usize = 1024;

/// Slips of each of a host's numberings, by number. Several questions may be open at once, so that slips arrive in
/// another order than they were signed in.
#[derive(Debug, Default)]
pub struct Seen(HashMap<Series, BTreeMap<u64, Slip>>);

impl Seen {
    /// Remembers a slip that contradicts none before. Times do not go back along those that are remembered, so that it
    /// is enough to compare it with its neighbours.
    pub fn add(&mut self, slip: &Slip) -> Result<(), Unbound> {
        let known = self.0.entry(slip.terms.series).or_default();
        let number = slip.terms.sequence;
        let before = known.range(..=number).next_back();
        let after = known.range(number..).next();
        for (_, other) in before.into_iter().chain(after) {
            if slip.contradicts(other) {
                let claim = Claim::Contradiction {
                    slip: other.clone(),
                    other: slip.clone(),
                };
                let reason =
                    "the slip contradicts an earlier one: its number or its time goes back";
                return Err((reason.to_owned(), Some(Box::new(claim.into()))));
            }
            if other.terms == slip.terms {
                return Err(("the slip is an earlier one again".to_owned(), None));
            }
        }
        known.insert(number, slip.clone());
        if known.len() > KEPT {
            known.pop_first();
        }
        Ok(())
    }
}
