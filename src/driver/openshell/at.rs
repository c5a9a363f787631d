//! Where a gateway is, and what shows it who asks: files of the operator's, read when they are needed.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::base::{
    fault::{Fault, Outcome},
    limits::GATEWAY_TOKEN_BYTES_MAX,
    secret::Secret,
};

const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const TOKEN: &str = "token";

/// A gateway, and the directories in which its credentials may lie: the first that has one is taken.
#[derive(Clone, Debug)]
pub struct At {
    /// What the operator calls it.
    pub name: String,
    pub tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    pub credentials: Vec<PathBuf>,
}

/// Where its certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// `None` = whom the system trusts.
    pub authority: Option<PathBuf>,
    /// Our own, and the key to it.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl At {
    /// For people, and as the address of a context.
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("openshell+{scheme}://{}", self.authority())
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Refuses to speak in the clear to another machine: whoever is in between would read all that agents print, and
    /// answer their asks.
    pub fn check(&self) -> Outcome<()> {
        let loopback = self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback());
        if self.tls || loopback {
            return Ok(());
        }
        Err(Fault::denied(format!(
            "a gateway on another machine is not spoken to without TLS: {}",
            self.shown()
        ))
        .hint(format!(
            "use its TLS port, or: ssh -N -L {0}:127.0.0.1:{0} {1}, and openshell+http://127.0.0.1:{0}",
            self.port, self.host
        )))
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        self.credentials.iter().map(|it| it.join(name)).find(|it| it.exists())
    }

    pub fn certificates(&self) -> Outcome<Certificates> {
        let own = match (self.find(CERTIFICATE), self.find(KEY)) {
            (Some(own), Some(key)) => {
                private(&key)?;
                Some((own, key))
            }
            (None, None) => None,
            (one, _) => {
                let (there, missing) = match one {
                    Some(_) => (CERTIFICATE, KEY),
                    None => (KEY, CERTIFICATE),
                };
                return Err(Fault::failed(format!(
                    "there is {there} for the gateway {} and no {missing}",
                    self.name
                ))
                .hint(self.hint()));
            }
        };
        Ok(Certificates { authority: self.find(AUTHORITY), own })
    }

    /// What is said with every call; `None` where there is none.
    pub fn token(&self) -> Outcome<Option<Secret>> {
        let Some(path) = self.find(TOKEN) else { return Ok(None) };
        private(&path)?;
        let fault = |error| Fault::io(format_args!("reading {}", path.display()), &error);
        if std::fs::metadata(&path).map_err(fault)?.len() > GATEWAY_TOKEN_BYTES_MAX {
            return Err(Fault::invalid(format!("no token is that long: {}", path.display())));
        }
        let text = Secret::new(std::fs::read_to_string(&path).map_err(fault)?);
        let token = Secret::new(text.expose().trim().to_owned());
        let plain = |it: u8| (0x21..=0x7e).contains(&it);
        if token.expose().is_empty() || !token.expose().bytes().all(plain) {
            return Err(Fault::invalid(format!("not a token: {}", path.display()))
                .hint("the file has the token in one line, and nothing else"));
        }
        Ok(Some(token))
    }

    /// What to do about credentials.
    pub fn hint(&self) -> String {
        let place = self.credentials.first().map(|it| it.display().to_string());
        format!(
            "put {AUTHORITY}, {CERTIFICATE} and {KEY}, or {TOKEN}, into {}",
            place.unwrap_or_default()
        )
    }
}

/// Others must not be able to read it.
fn private(path: &Path) -> Outcome<()> {
    let seen = std::fs::metadata(path)
        .map_err(|error| Fault::io(format_args!("looking at {}", path.display()), &error))?;
    if seen.permissions().mode() & 0o077 != 0 {
        return Err(Fault::denied(format!("other users can read {}", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, tls: bool, dir: &Path) -> At {
        let (name, host) = ("lab".to_owned(), host.to_owned());
        At { name, tls, host, port: 17670, credentials: vec![dir.to_owned()] }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        let dir = Path::new("/nowhere");
        for host in ["127.0.0.1", "::1", "localhost", "127.3.4.5"] {
            assert!(at(host, false, dir).check().is_ok(), "{host}");
        }
        for host in ["10.0.0.1", "gateway", "localhost.example.org", "0.0.0.0"] {
            assert!(at(host, false, dir).check().is_err(), "{host}");
            assert!(at(host, true, dir).check().is_ok(), "{host}");
        }
        assert_eq!(at("::1", false, dir).shown(), "openshell+http://[::1]:17670");
    }

    #[test]
    fn credentials_that_others_can_read_are_refused_and_so_is_half_a_pair() {
        let dir = tempfile::tempdir().unwrap();
        let at = at("gateway", true, dir.path());
        assert_eq!(at.token().unwrap(), None);
        assert_eq!(at.certificates().unwrap(), Certificates { authority: None, own: None });
        let token = dir.path().join(TOKEN);
        std::fs::write(&token, "abc.def\n").unwrap();
        std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(at.token().unwrap_err().hint_text().unwrap().starts_with("chmod 600"));
        std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(at.token().unwrap().unwrap().expose(), "abc.def");
        for wrong in ["", "two lines\nof it", "\u{1b}[31m"] {
            std::fs::write(&token, wrong).unwrap();
            assert!(at.token().is_err(), "{wrong:?}");
        }
        std::fs::write(dir.path().join(CERTIFICATE), "").unwrap();
        assert!(at.certificates().unwrap_err().message().contains("no tls.key"));
    }
}
