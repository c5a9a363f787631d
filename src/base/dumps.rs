//! Keeps the memory of this process out of files when it crashes.

use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on it leaves no dump, whoever collects dumps here; nor does what it starts. With a bound of 1 the kernel also
/// leaves out a program that dumps are piped to, which it does not with 0.
pub fn keep_none() {
    let least = Rlimit { current: Some(1), maximum: Some(1) };
    // A bound that is lower already can't be raised, and is as good.
    let _ = setrlimit(Resource::Core, least);
}
