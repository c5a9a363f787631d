//! What runs where a driver is and sandwatch did not make.

use crate::base::clock::Timestamp;

/// A container of the operator's own. All texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    pub driver: String,
    /// What its driver calls it.
    pub id: String,
    /// What its operator calls it.
    pub name: String,
    pub image: String,
    /// The driver's own word.
    pub state: String,
    pub created_at: Timestamp,
}

/// What is asked for where one is to be taken over as a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    pub driver: String,
    /// Its id or name.
    pub container: String,
    /// Wanted name of the sandbox; `None` = one is made up.
    pub name: Option<String>,
}
