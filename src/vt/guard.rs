//! Runs what may panic and must not take the program along: vt100, fed by hostile programs. A panic
//! hook asks here whether a panic is one of those.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught right now.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// `None` when it panicked; what it worked on is to be thrown away then.
pub fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(before);
    result.ok()
}
