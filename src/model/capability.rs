//! What a driver can do with a sandbox; what is missing is `Unsupported`, never a surprise.

macro_rules! capabilities {
    ($($(#[$doc:meta])* $field:ident = $word:literal;)*) => {
        /// One flag per ability; `false` = the verb answers `unsupported`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[expect(clippy::struct_excessive_bools, reason = "a set of named flags is the point")]
        pub struct Capabilities { $($(#[$doc])* pub $field: bool,)* }

        impl Capabilities {
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
    pause = "pause";
    stop = "stop";
    /// Sessions live on while the hub is down and are adopted by the next.
    reattach = "reattach";
    workspace_cow = "workspace.cow";
    workspace_rw = "workspace.rw";
    egress_deny = "egress.deny";
    egress_ask = "egress.ask";
    limits_cpu = "limits.cpu";
    limits_memory = "limits.memory";
    limits_pids = "limits.pids";
}
