//! Arguments of `explain`.

use std::time::Duration;

use clap::Args;

use super::values;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name, id or unique prefix of an id
    #[arg(value_name = "SESSION")]
    pub session: String,
    /// One JSON document; with --syscalls one object a line
    #[arg(long)]
    pub json: bool,
    /// Show what a process calls, as it calls it: the number that `explain` has, else the one that leads. What it waits in is interrupted once when the look begins: `epoll_wait` and a few others return EINTR
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "an option whose value may be left out")]
    pub syscalls: Option<Option<u32>>,
    /// With --syscalls: for how long, at most 10m
    #[arg(long = "for", value_name = "DURATION", requires = "syscalls", default_value = "5s", value_parser = values::duration)]
    pub look_for: Duration,
}
