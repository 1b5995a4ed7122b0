//! Panics of other people's code, where they are caught and become errors: nothing of them is printed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// How many calls of [`quietly`] this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs what may panic. The message of a panic goes to the result alone; panics of other threads, and of this one outside of
/// here, go to the hook that the program had set before.
pub(super) fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if DEPTH.get() == 0 {
                before(panic);
            }
        }));
    });
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(f));
    DEPTH.set(DEPTH.get() - 1);
    result
}
