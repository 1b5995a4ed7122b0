//! The key, and the numbers and times of slips.

use crate::config::{Config, millis};
use crate::store::Last;
use std::sync::{Mutex, PoisonError};
use zkinfer::{Digest, Run, Side};
use zkinfer_slip::slip::SLIP_VERSION;
use zkinfer_slip::{
    Context, HostKey, KeyList, Promise, PromiseTerms, RunId, SecretKey, Series, Slip, SlipTerms,
    now,
};

/// What a host signs with, and signed with before.
#[derive(Debug)]
pub struct Keys {
    pub key: SecretKey,
    pub earlier: Vec<SecretKey>,
    pub list: KeyList,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Ledger {
    key: SecretKey,
    /// Keys that it signed with before.
    earlier: Vec<SecretKey>,
    keys: KeyList,
    series: Series,
    /// Number and time of the last slip: neither goes back, whatever the clock does.
    last: Mutex<(u64, u64)>,
    ask_for: u64,
    prove_within: u64,
    keep: u64,
}

impl Ledger {
    pub fn new(keys: Keys, last: &Last, config: &Config) -> Ledger {
        let Keys { key, earlier, list } = keys;
        Ledger {
            key,
            earlier,
            keys: list,
            series: last.series,
            last: Mutex::new((last.sequence, last.time)),
            ask_for: millis(config.ask_for),
            prove_within: millis(config.prove_within),
            keep: millis(config.keep_proofs),
        }
    }

    pub fn public(&self) -> HostKey {
        self.key.public()
    }

    /// The slip of a run.
    pub fn slip(&self, card: Digest, run: &Run, context: Context) -> Slip {
        let (sequence, time) = {
            // Every change is made in one step.
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = (last.0 + 1, last.1.max(now()));
            *last
        };
        let side = |values: &[u16]| Side::Public(values.to_vec()).digest();
        let terms = SlipTerms {
            slip_version: SLIP_VERSION,
            host: self.public(),
            series: self.series,
            sequence,
            time,
            run: RunId::random(&mut zkinfer::rng()),
            card,
            input: side(run.input()),
            output: side(run.output()),
            context,
            ask_until: time.saturating_add(self.ask_for),
            prove_within: self.prove_within,
        };
        terms.sign(&self.key)
    }

    /// How it came to its key.
    pub fn keys(&self) -> &KeyList {
        &self.keys
    }

    /// The promise of a run's proof, signed as its slip is; `None` without that key.
    pub fn promise(&self, slip: &Slip) -> Option<Promise> {
        let mut own = std::iter::once(&self.key).chain(&self.earlier);
        let key = own.find(|key| key.public() == slip.terms.host)?;
        Some(PromiseTerms::of(slip, now().max(slip.terms.time), self.keep).sign(key))
    }
}
