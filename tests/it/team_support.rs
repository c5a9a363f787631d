//! An authority of a team, what it gives out, and a hub that trusts it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::program::Home;

/// One authority.
pub struct Team {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

/// A certificate with its key.
pub struct Given {
    pub der: Vec<u8>,
    pub key: Vec<u8>,
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|it| str::from_utf8(it).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

fn named(common: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

impl Team {
    pub fn new() -> Self {
        let mut params = named("Team");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// For somebody, as `adjust` has it.
    pub fn give(&self, common: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Given {
        let mut params = named(common);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Given { der, key: key.serialize_der() }
    }

    /// For a hub of that name.
    pub fn server(&self, name: &str) -> Given {
        self.give("a hub", |it| {
            it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            it.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    }
}

/// A hub on loopback that trusts a team; its files lie beside its home.
pub struct TeamHub {
    pub home: Home,
    pub address: String,
    pub files: PathBuf,
}

impl TeamHub {
    pub fn new(team: &Team, who: &[(&str, &str)]) -> Self {
        Self::configured(team, |hub| hub.lets_in(who))
    }

    /// One that begins by what is written then.
    pub fn configured(team: &Team, configure: impl FnOnce(&Self)) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let home = Home::new();
        let files = home.workspace().join("team");
        fs::create_dir_all(&files).unwrap();
        fs::create_dir_all(home.config()).unwrap();
        let hub = Self { home, address, files };
        hub.shows(&team.server("localhost"));
        hub.trusts(team);
        configure(&hub);
        hub.home.ok(&["hub", "start"]);
        hub
    }

    pub fn write(&self, name: &str, text: &str) {
        // As those do that renew certificates: another file in its place.
        let beside = self.files.join("beside");
        fs::write(&beside, text).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(beside, self.files.join(name)).unwrap();
    }

    pub fn shows(&self, given: &Given) {
        self.write("hub.key", &pem("PRIVATE KEY", &given.key));
        self.write("hub.pem", &pem("CERTIFICATE", &given.der));
    }

    /// The authority in PEM, into a file of somebody else's.
    pub fn authority(team: &Team) -> String {
        pem("CERTIFICATE", &team.der)
    }

    pub fn trusts(&self, team: &Team) {
        self.write("ca.pem", &pem("CERTIFICATE", &team.der));
    }

    pub fn lets_in(&self, who: &[(&str, &str)]) {
        let (address, files) = (&self.address, self.files.display());
        let mut text = format!(
            "[hub]\nlisten = [\"https://{address}\"]\nclient_ca = \"{files}/ca.pem\"\n\
             certificate = \"{files}/hub.pem\"\nkey = \"{files}/hub.key\"\n"
        );
        for (name, role) in who {
            text.push_str(&format!("[[hub.who]]\nname = \"{name}\"\nrole = \"{role}\"\n"));
        }
        self.configures(&text);
    }

    pub fn configures(&self, text: &str) {
        fs::write(self.home.config().join("config.toml"), text).unwrap();
    }

    /// The address by the name that its certificate is for.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.rsplit(':').next().unwrap())
    }
}

/// A home with these files, and what `context add` is told of them.
pub fn client(team: &Team, given: &Given) -> (Home, Vec<String>) {
    let home = Home::new();
    let files = home.workspace();
    fs::write(files.join("ca.pem"), pem("CERTIFICATE", &team.der)).unwrap();
    fs::write(files.join("own.pem"), pem("CERTIFICATE", &given.der)).unwrap();
    fs::write(files.join("own.key"), pem("PRIVATE KEY", &given.key)).unwrap();
    fs::set_permissions(files.join("own.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let args = ["--ca", "ca.pem", "--certificate", "own.pem", "--key", "own.key"];
    (home, args.map(str::to_owned).to_vec())
}

/// The same, with the hub as the context `team`.
pub fn member(hub: &TeamHub, team: &Team, given: &Given) -> Home {
    let (home, files) = client(team, given);
    let url = hub.url();
    let mut args = vec!["context", "add", "team", "--use", &url];
    args.extend(files.iter().map(String::as_str));
    home.ok(&args);
    home
}
