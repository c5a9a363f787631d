//! Arguments of `explain`.

use clap::Args;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name, id or unique prefix of an id
    #[arg(value_name = "SESSION")]
    pub session: String,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}
