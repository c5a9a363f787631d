//! The environment: every variable the program reads, and nothing else reads one. Empty counts as
//! not set. (Where things lie also depends on the XDG variables, which `directories` reads.)

use std::ffi::OsString;

use crate::model::secret;

/// Whether a text can be the name of a variable that a shell knows.
pub fn is_name(text: &str) -> bool {
    secret::is_name(text)
}

/// A variable that the operator names to be passed on to a sandbox; set and empty is set.
pub fn named(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a hub and the hosts of sandboxes are started with of the operator's environment, by name or by how names begin:
/// what is read here or by the programs that they call. Whatever else is in there, keys above all, is nothing that they
/// need, and would lie in their memory.
const OF_SERVERS: [&str; 17] = [
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
];
const OF_SERVERS_BEGIN: [&str; 6] = ["SANDWATCH_", "XDG_", "LC_", "SSH_", "RUST_", "LLVM_PROFILE_"];

/// The environment for a server that is started.
pub fn for_servers() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            let begins = OF_SERVERS_BEGIN.iter().any(|it| name.starts_with(it));
            OF_SERVERS.contains(&name) || begins
        })
    })
}

/// A variable that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Keeps config, state and sockets under one directory.
    Home,
    /// How much goes to the log files.
    Log,
    /// The image of a container when none is named.
    Image,
    /// In a sandbox: the socket on which its programs ask a person.
    Ask,
    /// How programs of local sandboxes get out.
    WayOut,
    /// Any value turns colour off.
    NoColour,
    /// What the terminal says of its colours.
    ColourTerm,
    /// What the terminal is.
    Term,
    /// Where programs are.
    Path,
    /// Who is at the keyboard.
    User,
    /// The same, by its older name.
    LogName,
}

impl Variable {
    fn name(self) -> &'static str {
        match self {
            Self::Home => "SANDWATCH_HOME",
            Self::Log => "SANDWATCH_LOG",
            Self::Image => "SANDWATCH_IMAGE",
            Self::Ask => "SANDWATCH_ASK",
            Self::WayOut => "SANDWATCH_WAY_OUT",
            Self::NoColour => "NO_COLOR",
            Self::ColourTerm => "COLORTERM",
            Self::Term => "TERM",
            Self::Path => "PATH",
            Self::User => "USER",
            Self::LogName => "LOGNAME",
        }
    }

    pub fn raw(self) -> Option<OsString> {
        std::env::var_os(self.name()).filter(|it| !it.is_empty())
    }

    /// `None` also when it is not UTF-8.
    pub fn text(self) -> Option<String> {
        self.raw()?.into_string().ok()
    }
}
