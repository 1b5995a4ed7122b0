//! What several want at the same time is made by one of them; the others wait for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// Things that are being made, by name.
#[derive(Debug)]
pub struct Turns<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns(Mutex::default())
    }
}

impl<K: Eq + Hash> Turns<K> {
    /// Waits until nobody else makes a thing of this name. Whoever comes to it then looks first whether it is there.
    pub async fn take(&self, name: K) -> OwnedMutexGuard<()> {
        self.of(name).lock_owned().await
    }

    fn of(&self, name: K) -> Arc<tokio::sync::Mutex<()>> {
        // Every change is made in one step.
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(name, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_thing_is_waited_for() {
        let turns = Turns::default();
        let first = turns.take(1).await;
        let _other = turns.take(2).await;
        assert!(turns.of(1).try_lock_owned().is_err());
        drop(first);
        assert!(turns.of(1).try_lock_owned().is_ok());
        drop(turns.take(3).await);
        assert_eq!(
            turns.0.lock().unwrap().len(),
            2,
            "what is over is forgotten"
        );
    }
}
