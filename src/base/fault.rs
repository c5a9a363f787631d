//! The one error type that crosses layers: what kind, what failed, and what to do next.
//!
//! A layer may have richer errors of its own; what leaves it is a `Fault`.

use std::fmt;

/// What class of failure this is; code decides on the kind, never on the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Refused by policy, by role or by a person.
    Denied,
    /// The named thing does not exist (any more).
    Absent,
    /// The driver, this machine or this version can't do it.
    Unsupported,
    /// In use, a name is taken, a queue is full, a lease is held; trying later may work.
    Busy,
    /// The other side (hub, shim, engine) can't be reached or hung up.
    Lost,
    /// A deadline passed.
    Late,
    /// The request itself is wrong.
    Invalid,
    /// It was tried and did not work (I/O, a full disk, a program that failed).
    Failed,
    /// A broken invariant of our own; please report.
    Bug,
}

/// A failure with its kind, one line of text and, where there is one, a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    message: String,
    hint: Option<String>,
    stands: bool,
}

/// The usual result of anything that can fail across layers.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// Makes a fault; `message` is one line: what failed, on what, lower case, no full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, stands: false }
    }
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Kind::Denied, message)
    }
    pub fn absent(message: impl Into<String>) -> Self {
        Self::new(Kind::Absent, message)
    }
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(Kind::Busy, message)
    }
    pub fn lost(message: impl Into<String>) -> Self {
        Self::new(Kind::Lost, message)
    }
    pub fn late(message: impl Into<String>) -> Self {
        Self::new(Kind::Late, message)
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message)
    }

    /// Wraps an I/O error with what was being done on what; a full disk gets its own hint.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        // The number that the system gives it tells nobody anything.
        let why = error.to_string();
        let why = why.split_once(" (os error ").map_or(why.as_str(), |it| it.0);
        let fault = Self::failed(format!("{doing}: {why}"));
        match error.kind() {
            std::io::ErrorKind::StorageFull => fault.hint("free some disk space, then try again"),
            _ => fault,
        }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Another try finds the same, until a person has mended something: whoever tries by itself takes its time.
    #[must_use]
    pub fn standing(mut self) -> Self {
        self.stands = true;
        self
    }

    /// Puts `what` in front of the message, so that a low-level failure names its subject.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// What failed, and what can be done about it behind that.
    pub fn with_hint(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }
    /// Whether another try would find the same: that was said, or follows from the kind.
    pub fn is_standing(&self) -> bool {
        self.stands || matches!(self.kind, Kind::Denied | Kind::Unsupported | Kind::Invalid)
    }
    pub fn message(&self) -> &str {
        &self.message
    }
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
