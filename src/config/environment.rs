//! The environment: every variable the program reads, and nothing else reads one. Empty counts as
//! not set. (Where things lie also depends on the XDG variables, which `directories` reads.)

use std::{ffi::OsString, net::IpAddr, time::Duration};

use crate::{
    base::{
        limits::{COLLECTED_EVERY, COLLECTED_EVERY_MIN, LINE_BYTES_MAX},
        text,
    },
    model::secret,
};

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

/// How the names of OpenTelemetry's variables begin. The library reads them; whether it is called at all is decided here.
const OF_COLLECTOR_BEGIN: &str = "OTEL_";

/// What of it the hub needs besides: where a collector is, and the keys to it.
pub fn for_hub() -> impl Iterator<Item = (OsString, OsString)> {
    let of_collector = std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|it| it.starts_with(OF_COLLECTOR_BEGIN)));
    for_servers().chain(of_collector)
}

/// What an OpenTelemetry collector is to be told. Without an address nobody is told anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How often figures are sent; `None` = never.
    pub metrics: Option<Duration>,
    pub traces: bool,
    /// What the environment says and is not followed, in words for a person.
    pub flaws: Vec<String>,
}

/// Where the collector is and how it is spoken to, in words for a person.
pub fn collector() -> String {
    let said = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let named = |of: &str| said(&format!("OTEL_EXPORTER_OTLP_{of}"));
    let at = ["ENDPOINT", "METRICS_ENDPOINT", "TRACES_ENDPOINT"].into_iter().find_map(named);
    let by = named("PROTOCOL").unwrap_or_else(|| "http/protobuf".to_owned());
    let words = format!("{} by {by}", at.unwrap_or_default());
    text::shown(&words, LINE_BYTES_MAX)
}

/// What the environment wants of it.
pub fn collected() -> Collected {
    collected_by(&|name| std::env::var(name).ok().filter(|it| !it.is_empty()))
}

fn collected_by(variable: &dyn Fn(&str) -> Option<String>) -> Collected {
    let mut collected = Collected::default();
    if variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
        return collected;
    }
    let mut wanted = |signal: &str| {
        let addresses = [
            "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"),
        ];
        if addresses.iter().all(|it| variable(it).is_none()) {
            return false;
        }
        let by = format!("OTEL_{signal}_EXPORTER");
        match variable(&by).as_deref() {
            None | Some("otlp") => true,
            Some("none") => false,
            Some(other) => {
                let words = format!(
                    "{by}={}: only otlp and none are known",
                    text::shown(other, LINE_BYTES_MAX)
                );
                collected.flaws.push(words);
                false
            }
        }
    };
    let (metrics, traces) = (wanted("METRICS"), wanted("TRACES"));
    collected.traces = traces;
    if metrics {
        const EVERY: &str = "OTEL_METRIC_EXPORT_INTERVAL";
        let every =
            variable(EVERY).map(|it| (it.parse::<u64>().ok().map(Duration::from_millis), it));
        collected.metrics = Some(match every {
            None => COLLECTED_EVERY,
            Some((Some(every), _)) if every >= COLLECTED_EVERY_MIN => every,
            Some((_, text)) => {
                let least = COLLECTED_EVERY_MIN.as_millis();
                let words = format!(
                    "{EVERY}={}: milliseconds, at least {least}",
                    text::shown(&text, LINE_BYTES_MAX)
                );
                collected.flaws.push(words);
                COLLECTED_EVERY
            }
        });
    }
    collected
}

/// In a sandbox: the id of the session that a program is of.
pub const SESSION_VARIABLE: &str = "SANDWATCH_SESSION";

/// A variable that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Keeps config, state and sockets under one directory.
    Home,
    /// How much goes to the log files.
    Log,
    /// The image of a container when none is named.
    Image,
    /// Which hub verbs speak to.
    Context,
    /// The program that is called as `ssh`.
    Ssh,
    /// Which process the sockets are for that whoever started it hands down.
    ListenPid,
    /// How many there are.
    ListenFds,
    /// Where a service manager is told that the hub serves.
    NotifySocket,
    /// From where somebody came by ssh, as its server says: address and port there, address and port here.
    SshConnection,
    /// In a sandbox: the socket on which its programs ask a person.
    Ask,
    /// In a sandbox: the session that a program is of.
    Session,
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
            Self::Context => "SANDWATCH_CONTEXT",
            Self::Ssh => "SANDWATCH_SSH",
            Self::ListenPid => "LISTEN_PID",
            Self::ListenFds => "LISTEN_FDS",
            Self::NotifySocket => "NOTIFY_SOCKET",
            Self::SshConnection => "SSH_CONNECTION",
            Self::Ask => "SANDWATCH_ASK",
            Self::Session => SESSION_VARIABLE,
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

/// The address from where this process's user came by ssh, if they did.
pub fn came_by_ssh() -> Option<IpAddr> {
    came_from(&Variable::SshConnection.text()?)
}

fn came_from(connection: &str) -> Option<IpAddr> {
    let address = connection.split(' ').next()?;
    // Of an address of one link, its zone means nothing elsewhere.
    address.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(variables: &[(&str, &str)]) -> Collected {
        collected_by(&|name| variables.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()))
    }

    #[test]
    fn a_collector_is_told_only_where_it_is_named() {
        let every = Some(COLLECTED_EVERY);
        assert_eq!(by(&[("OTEL_METRICS_EXPORTER", "otlp")]), Collected::default());
        let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        let both = Collected { metrics: every, traces: true, flaws: Vec::new() };
        assert_eq!(by(&[at]), both);
        assert_eq!(by(&[at, ("OTEL_SDK_DISABLED", "True")]), Collected::default());
        let one = by(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4317")]);
        assert_eq!(one, Collected { metrics: None, ..both.clone() });
        let none =
            by(&[at, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRIC_EXPORT_INTERVAL", "5000")]);
        assert_eq!(none.metrics, Some(Duration::from_secs(5)));
        assert!(!none.traces && none.flaws.is_empty());
    }

    #[test]
    fn who_came_by_ssh_came_from_an_address() {
        let from = |text: &str| came_from(text).map(|it| it.to_string());
        assert_eq!(from("192.0.2.7 50000 192.0.2.1 22").as_deref(), Some("192.0.2.7"));
        assert_eq!(from("fe80::1%eth0 50000 fe80::2 22").as_deref(), Some("fe80::1"));
        assert_eq!(from("\x1b[2J 1"), None);
        assert_eq!(from(""), None);
    }

    #[test]
    fn what_is_not_followed_is_said() {
        let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        let odd = by(&[
            at,
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "x"),
        ]);
        assert_eq!(odd.flaws, ["OTEL_METRICS_EXPORTER=prometheus: only otlp and none are known"]);
        assert_eq!((odd.metrics, odd.traces), (None, true));
        let often = by(&[at, ("OTEL_METRIC_EXPORT_INTERVAL", "1")]);
        assert_eq!(often.metrics, Some(COLLECTED_EVERY));
        assert_eq!(often.flaws, ["OTEL_METRIC_EXPORT_INTERVAL=1: milliseconds, at least 1000"]);
    }
}
