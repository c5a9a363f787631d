//! What a driver can do with a sandbox; what is missing is `Unsupported`, never a surprise.

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $field:ident = $word:literal;)*) => {
        /// One flag per ability; `false` = the verb answers `unsupported`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Capabilities { $($(#[doc = $doc])+ pub $field: bool,)* }

        impl Capabilities {
            /// Every word with its meaning, for the reference.
            pub const MEANINGS: &[(&str, &str)] = &[$(($word, concat!($($doc),+)),)*];

            /// Every flag with its word, in a fixed order.
            pub fn words(&self) -> Vec<(&'static str, bool)> {
                vec![$(($word, self.$field),)*]
            }

            /// Sets the flag of a word; words of a newer version change nothing.
            pub fn set(&mut self, word: &str, on: bool) {
                match word { $($word => self.$field = on,)* _ => {} }
            }
        }
    };
}

capabilities! {
    /// Interactive programs on a PTY.
    pty = "pty";
    /// Programs without a PTY, with their three streams.
    exec = "exec";
    /// Freezing every process, and letting them go on.
    pause = "pause";
    /// Ending every process while the files stay.
    stop = "stop";
    /// Starting again what was stopped, by the verb that lets paused ones go on.
    start = "start";
    /// Sessions live on while the hub is down and are adopted by the next.
    reattach = "reattach";
    /// Choosing the image that a sandbox's files begin as.
    image = "image";
    /// Changes in the workspace stay apart from the real directory.
    workspace_cow = "workspace.cow";
    /// Showing what was changed in a copy-on-write workspace.
    workspace_diff = "workspace.diff";
    /// Writing those changes to the real directory, and taking that back.
    workspace_apply = "workspace.apply";
    /// The real workspace, writable.
    workspace_rw = "workspace.rw";
    /// Keeping a moment of the files, going back to it and branching from it.
    snapshot = "snapshot";
    /// The same with running programs, which go on where they were.
    snapshot_memory = "snapshot.memory";
    /// No network but loopback.
    egress_deny = "egress.deny";
    /// Each new destination asks a person.
    egress_ask = "egress.ask";
    /// A bound on processor time.
    limits_cpu = "limits.cpu";
    /// A bound on memory.
    limits_memory = "limits.memory";
    /// A bound on processes and threads.
    limits_pids = "limits.pids";
    /// Graphics processors of the machine.
    gpu = "gpu";
}
