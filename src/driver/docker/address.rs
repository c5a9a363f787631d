//! Which Docker engine: found as the docker command line finds it, and read from its address.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::env::Environment;
use crate::base::{
    fault::{Fault, Outcome},
    limits::{ENGINE_CONTEXTS_MAX, ENGINE_FILE_BYTES_MAX},
    text,
};

const SYSTEM_SOCKET: &str = "/var/run/docker.sock";
const HINT: &str = "start Docker, or name an engine by DOCKER_HOST or `docker context use`";

/// An engine, as it is written down for whoever has to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// As DOCKER_HOST has it.
    pub url: String,
    /// Set = `tcp` by TLS.
    pub tls: Option<Certificates>,
}

/// Where `ca.pem`, `cert.pem` and `key.pem` lie, each of them optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    pub directory: PathBuf,
}

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
    },
    /// By the system's `ssh`, and `docker` on the other side.
    Ssh {
        user: Option<String>,
        host: String,
        port: Option<u16>,
        /// The socket over there; `None` = what its docker command line uses.
        socket: Option<String>,
    },
}

impl Address {
    pub fn unix(socket: &Path) -> Self {
        Self { url: format!("unix://{}", socket.display()), tls: None }
    }

    /// The engine runs on this machine and sees its files.
    pub fn is_here(&self) -> bool {
        self.url.starts_with("unix://")
    }

    /// For people.
    pub fn shown(&self) -> String {
        text::visible(&self.url)
    }

    pub fn way(&self) -> Outcome<Way> {
        let wrong = || {
            Fault::invalid(format!("not the address of a docker engine: {}", self.shown()))
                .hint("DOCKER_HOST is unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT]")
        };
        let (scheme, rest) = self.url.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Way::Unix(PathBuf::from(rest))),
            "https" if self.tls.is_none() => Err(no_tls(&self.shown())),
            "tcp" | "http" | "https" => {
                let rest = rest.trim_end_matches('/');
                let usual = if self.tls.is_some() { 2376 } else { 2375 };
                let (host, port) = host_and_port(rest).ok_or_else(wrong)?;
                Ok(Way::Tcp { host, port: port.unwrap_or(usual) })
            }
            "ssh" => {
                let (place, socket) = match rest.split_once('/') {
                    Some((place, "")) => (place, None),
                    Some((place, socket)) => (place, Some(format!("/{socket}"))),
                    None => (rest, None),
                };
                let (user, place) = match place.rsplit_once('@') {
                    Some((user, place)) => (Some(user.to_owned()), place),
                    None => (None, place),
                };
                let (host, port) = host_and_port(place).ok_or_else(wrong)?;
                // It becomes an argument of a program: it must not look like an option.
                let plain = |it: &str| !it.starts_with('-') && !it.is_empty();
                if !plain(&host) || user.as_deref().is_some_and(|it| !plain(it)) {
                    return Err(wrong());
                }
                Ok(Way::Ssh { user, host, port, socket })
            }
            _ => Err(wrong()),
        }
    }
}

/// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let fits = !host.is_empty() && !host.chars().any(|it| it.is_whitespace() || it == '/');
    fits.then(|| (host.to_owned(), port))
}

/// Finds the engine: what the environment names, else the docker command line's context, else the socket
/// of the system's engine, else that of the operator's own.
pub fn find(environment: &Environment) -> Outcome<Address> {
    let named =
        [("DOCKER_CONFIG", &environment.config), ("DOCKER_CERT_PATH", &environment.certificates)];
    for (name, path) in named {
        // A hub has its own working directory, and shims have theirs.
        if let Some(path) = path.as_ref().filter(|it| !it.is_absolute()) {
            return Err(Fault::invalid(format!("{name} is no absolute path: {}", path.display())));
        }
    }
    let own = environment.own();
    if let Some(url) = &environment.host {
        let over_tcp = !url.starts_with("unix://") && !url.starts_with("ssh://");
        let by_tls = over_tcp && (environment.tls || url.starts_with("https://"));
        let tls = if by_tls {
            let directory = environment.certificates.clone().or(own);
            Some(certificates(directory, &text::visible(url))?)
        } else {
            None
        };
        return Ok(Address { url: url.clone(), tls });
    }
    if let Some(own) = own {
        let named = environment.context.clone();
        let context = match named {
            Some(name) => Some(name),
            None => current_context(&own)?,
        };
        if let Some(name) = context.filter(|it| it != "default") {
            return context_address(&own, &name);
        }
    }
    usual_socket(environment).map(|it| Address::unix(&it)).ok_or_else(|| {
        Fault::lost(format!("no docker engine: there is no {SYSTEM_SOCKET}")).hint(HINT)
    })
}

fn no_tls(shown: &str) -> Fault {
    Fault::invalid(format!("TLS to the docker engine: no ca.pem by which to know it: {shown}"))
        .hint("put ca.pem, cert.pem and key.pem into DOCKER_CERT_PATH, or create the docker context with them")
}

/// Never without: who the engine is would not be known, and keys be typed to anybody.
fn certificates(directory: Option<PathBuf>, shown: &str) -> Outcome<Certificates> {
    let directory = directory.ok_or_else(|| no_tls(shown))?;
    let ca = directory.join("ca.pem");
    match fs::metadata(&ca) {
        Ok(_) => Ok(Certificates { directory }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(no_tls(&format!("{shown}, {}", ca.display())))
        }
        Err(error) => Err(Fault::io(format!("looking at {}", ca.display()), &error)),
    }
}

fn usual_socket(environment: &Environment) -> Option<PathBuf> {
    let system = PathBuf::from(SYSTEM_SOCKET);
    let own = [
        environment.runtime.as_ref().map(|it| it.join("docker.sock")),
        environment.home.as_ref().map(|it| it.join(".docker/run/docker.sock")),
    ];
    let may = |it: &PathBuf| access(it, Access::WRITE_OK).is_ok();
    let all = || [Some(system.clone())].into_iter().chain(own.clone()).flatten();
    // One that may not be used is better named than none: the fault says why.
    all().find(may).or_else(|| all().find(|it| it.exists()))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Configuration {
    current_context: String,
}

/// The name that `docker context use` left; none is usual.
fn current_context(own: &Path) -> Outcome<Option<String>> {
    let path = own.join("config.json");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let read: Configuration = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::invalid(format!("reading {}: {error}", path.display()))
            .hint("mend it, or set DOCKER_HOST")
    })?;
    Ok(Some(read.current_context).filter(|it| !it.is_empty()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    name: String,
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    unchecked: bool,
}

/// Looks a context up; its directory has a name made from its own.
fn context_address(own: &Path, name: &str) -> Outcome<Address> {
    let shown = text::visible(name);
    let all = own.join("contexts/meta");
    let found = fs::read_dir(&all).into_iter().flatten().flatten().take(ENGINE_CONTEXTS_MAX);
    for entry in found {
        let Ok(Some(bytes)) = read(&entry.path().join("meta.json")) else { continue };
        let Ok(context) = serde_json::from_slice::<Context>(&bytes) else { continue };
        if context.name == name {
            let directory = own.join("contexts/tls").join(entry.file_name()).join("docker");
            let Endpoint { host: url, unchecked } = context.endpoints.docker;
            let over_tcp = !url.starts_with("unix://") && !url.starts_with("ssh://");
            let by_tls =
                over_tcp && (unchecked || url.starts_with("https://") || is_there(&directory)?);
            let at = format!("docker context {shown}");
            let tls = by_tls.then(|| certificates(Some(directory), &at)).transpose()?;
            return Ok(Address { url, tls });
        }
    }
    Err(Fault::absent(format!("no such docker context: {shown}"))
        .hint("see `docker context ls`, or set DOCKER_HOST"))
}

/// One that can't be looked at is there.
fn is_there(directory: &Path) -> Outcome<bool> {
    let seen = directory.try_exists();
    seen.map_err(|error| Fault::io(format!("looking at {}", directory.display()), &error))
}

/// A file of the docker command line; `None` when it is not there.
fn read(path: &Path) -> Outcome<Option<Vec<u8>>> {
    use std::io::Read;
    let fault = |error: &std::io::Error| Fault::io(format!("reading {}", path.display()), error);
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(&error)),
    };
    let mut bytes = Vec::new();
    file.take(ENGINE_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|it| fault(&it))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Kind;

    #[test]
    fn an_address_is_read_as_the_docker_command_line_reads_it() {
        let way = |url: &str| Address { url: url.to_owned(), tls: None }.way().ok();
        let tcp = |host: &str, port| Some(Way::Tcp { host: host.to_owned(), port });
        let ssh = |user: Option<&str>, port, socket: Option<&str>| {
            Some(Way::Ssh {
                user: user.map(str::to_owned),
                host: "h".to_owned(),
                port,
                socket: socket.map(str::to_owned),
            })
        };
        let cases = [
            ("unix:///run/d.sock", Some(Way::Unix(PathBuf::from("/run/d.sock")))),
            ("unix://relative", None),
            ("tcp://h", tcp("h", 2375)),
            ("tcp://h:1/", tcp("h", 1)),
            ("tcp://[::1]:7", tcp("::1", 7)),
            ("tcp://:1", None),
            ("tcp://h:70000", None),
            ("ssh://h", ssh(None, None, None)),
            ("ssh://me@h:2222", ssh(Some("me"), Some(2222), None)),
            ("ssh://me@h/run/d.sock", ssh(Some("me"), None, Some("/run/d.sock"))),
            ("ssh://-oProxyCommand=x", None),
            ("ssh://-x@h", None),
            ("https://h", None),
            ("npipe:////./pipe/x", None),
            ("", None),
        ];
        for (url, expected) in cases {
            assert_eq!(way(url), expected, "{url}");
        }
    }

    #[test]
    fn the_environment_goes_before_the_context_and_that_before_a_socket() {
        let temp = tempfile::tempdir().unwrap();
        let own = temp.path().join(".docker");
        let meta = own.join("contexts/meta/abc");
        fs::create_dir_all(&meta).unwrap();
        let keys = own.join("contexts/tls/abc/docker");
        fs::create_dir_all(&keys).unwrap();
        fs::write(keys.join("ca.pem"), "").unwrap();
        let written =
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:2376"}}}"#;
        fs::write(meta.join("meta.json"), written).unwrap();
        fs::write(own.join("config.json"), r#"{"auths":{},"currentContext":"far"}"#).unwrap();
        let mut environment =
            Environment { home: Some(temp.path().to_owned()), ..Environment::default() };
        let found = find(&environment).unwrap();
        assert_eq!(found.url, "tcp://far:2376");
        assert!(found.tls.is_some());
        environment.context = Some("nowhere".to_owned());
        assert!(find(&environment).unwrap_err().message().contains("nowhere"));
        environment.host = Some("unix:///x".to_owned());
        assert_eq!(find(&environment).unwrap(), Address::unix(Path::new("/x")));
        fs::write(own.join("config.json"), "{").unwrap();
        (environment.host, environment.context) = (None, None);
        assert!(find(&environment).unwrap_err().message().contains("config.json"));
    }

    #[test]
    fn an_engine_to_be_reached_by_tls_is_reached_by_nothing_less() {
        let temp = tempfile::tempdir().unwrap();
        let (home, keys) = (temp.path().join("home"), temp.path().join("keys"));
        for dir in [&home, &keys] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(keys.join("ca.pem"), "").unwrap();
        let base = Environment { home: Some(home), ..Environment::default() };
        let at = |url: &str, tls, certificates: Option<&str>| {
            let certificates = certificates.map(|it| temp.path().join(it));
            find(&Environment { host: Some(url.to_owned()), tls, certificates, ..base.clone() })
        };
        assert_eq!(at("tcp://h", false, None).unwrap().tls, None);
        assert_eq!(at("unix:///x", true, None).unwrap().tls, None);
        assert_eq!(at("tcp://h", true, Some("keys")).unwrap().tls.unwrap().directory, keys);
        assert!(at("https://h", false, Some("keys")).unwrap().way().is_ok());
        for (url, tls, keys) in [
            ("https://h", false, None),
            ("tcp://h", true, None),
            ("tcp://h", true, Some("home")),
            ("tcp://h", true, Some("none")),
        ] {
            let fault = at(url, tls, keys).expect_err(url);
            assert!(fault.kind() == Kind::Invalid && fault.message().contains("ca.pem"), "{fault}");
        }
        let relative = Environment {
            host: Some("tcp://h".to_owned()),
            tls: true,
            certificates: Some(PathBuf::from("keys")),
            ..base.clone()
        };
        assert!(find(&relative).unwrap_err().message().contains("DOCKER_CERT_PATH"));
        let relative = Environment { config: Some(PathBuf::from("own")), ..base };
        assert!(find(&relative).unwrap_err().message().contains("DOCKER_CONFIG"));
    }
}
