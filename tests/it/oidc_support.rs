//! Issuers of tokens, a hub that takes them, and whoever shows one.

use std::{fs, path::Path, process::Command, sync::Arc, time::SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper_util::rt::TokioIo;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use sandwatch::{
    base::fault::{Fault, Kind},
    wire::enrol::{BEARS, answered, say, welcome_read},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::{
    program::{Home, eventually},
    remote_support::{Manner, greet},
    team_support::{Team, TeamHub},
};

pub const ISSUER: &str = "https://login.example.org/team";
pub const AUDIENCE: &str = "sandwatch.hub";

pub fn part(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// One key of an issuer.
pub struct Signer {
    pub id: String,
    pair: Pair,
}

impl Signer {
    pub fn p256(id: &str) -> Self {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, made.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair: Pair::P256(pair) }
    }

    pub fn ed25519(id: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
        Self { id: id.to_owned(), pair: Pair::Ed25519(pair) }
    }

    /// `ring` makes no keys of RSA.
    pub fn rsa(id: &str) -> Self {
        let script = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null |
            openssl pkcs8 -topk8 -nocrypt -outform DER";
        let made = Command::new("/bin/sh").args(["-c", script]).output().unwrap();
        let pair = RsaKeyPair::from_pkcs8(&made.stdout).unwrap();
        Self { id: id.to_owned(), pair: Pair::Rsa(Box::new(pair)) }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// As it stands among the keys of its issuer.
    pub fn public(&self) -> Value {
        let mut it = match &self.pair {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (part(&point[1..33]), part(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": part(pair.public_key())})
            }
            Pair::Rsa(pair) => {
                let key = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": part(key.n), "e": part(key.e)})
            }
        };
        it["kid"] = json!(self.id);
        it["use"] = json!("sig");
        it["alg"] = json!(self.algorithm());
        it
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::P256(pair) => pair.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
                signature
            }
        }
    }

    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        let signature = part(self.sign(&text));
        format!("{text}.{signature}")
    }

    /// A token with these claims beside the usual ones, which they go before.
    pub fn token(&self, claims: Value) -> String {
        let mut all = json!({"iss": ISSUER, "aud": [AUDIENCE, "other"], "exp": now() + 600});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.signed(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), &all)
    }
}

/// A hub that takes tokens of `ISSUER`.
pub struct OidcHub {
    pub team: Team,
    pub hub: TeamHub,
}

/// A row: claim, what it is, role.
pub type Row<'a> = (&'a str, &'a str, &'a str);

impl OidcHub {
    pub fn new(signers: &[&Signer], rows: &[Row<'_>]) -> Self {
        let team = Team::new();
        let hub = TeamHub::configured(&team, |hub| {
            keys(hub, signers);
            hub.configures(&config(hub, rows));
        });
        Self { team, hub }
    }

    pub fn keys(&self, signers: &[&Signer]) {
        keys(&self.hub, signers);
    }

    pub fn lets_in(&self, rows: &[Row<'_>]) {
        self.hub.configures(&config(&self.hub, rows));
    }

    pub fn refused(&self, why: &str) -> u64 {
        self.hub.home.json(&["hub", "status", "--json"])["refused"][why].as_u64().unwrap_or(0)
    }

    /// A home with the team's authority in it and no context.
    pub fn stranger(&self) -> Home {
        let home = Home::new();
        fs::write(home.workspace().join("ca.pem"), TeamHub::authority(&self.team)).unwrap();
        home
    }

    /// A home whose context `team` is this hub, by a token in a file.
    pub fn client(&self, token: &str) -> Home {
        let home = self.stranger();
        has(&home, token);
        let url = self.hub.url();
        let files = ["--ca", "ca.pem", "--token-file", "token"];
        home.ok(&[&["context", "add", "team", "--use", &url], &files[..]].concat());
        home
    }

    /// Shows a token, or whatever it is; gives why that is not taken.
    pub async fn tries(&self, token: &[u8]) -> Option<Fault> {
        bear(&self.hub.address, token).await.err()
    }
}

/// Puts a token where the client has it from, as those do that renew it.
pub fn has(home: &Home, token: &str) {
    let beside = home.workspace().join("beside");
    fs::write(&beside, format!("{token}\n")).unwrap();
    fs::rename(beside, home.workspace().join("token")).unwrap();
}

fn keys(hub: &TeamHub, signers: &[&Signer]) {
    let keys: Vec<_> = signers.iter().map(|it| it.public()).collect();
    hub.write("keys.json", &json!({"keys": keys}).to_string());
}

fn config(hub: &TeamHub, rows: &[Row<'_>]) -> String {
    let (address, files) = (&hub.address, hub.files.display());
    let mut text = format!(
        "[hub]\nlisten = [\"https://{address}\"]\ncertificate = \"{files}/hub.pem\"\n\
         key = \"{files}/hub.key\"\n[[hub.oidc]]\nissuer = \"{ISSUER}\"\n\
         audience = \"{AUDIENCE}\"\nkeys = \"{files}/keys.json\"\n"
    );
    for (claim, is, role) in rows {
        text.push_str(&format!(
            "[[hub.oidc.who]]\nclaim = \"{claim}\"\nis = \"{is}\"\nrole = \"{role}\"\n"
        ));
    }
    text
}

/// A connection on which the token was said and taken.
pub async fn bear(address: &str, token: &[u8]) -> Result<TlsStream<TcpStream>, Fault> {
    let manner = Manner { protocols: vec![BEARS.to_vec()], ..Manner::nobody() };
    let lost = |error: std::io::Error| Fault::new(Kind::Lost, error.to_string());
    let mut stream = greet(address, &manner).await.map_err(lost)?;
    say(&mut stream, token).await.map_err(lost)?;
    // As a client does that does not wait: it is told why all the same.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.map_err(lost)?;
    welcome_read(&answered(&mut stream).await.map_err(lost)?)?;
    Ok(stream)
}

/// A channel of gRPC by a token.
pub async fn channel(address: &str, token: &str) -> Result<Channel, tonic::transport::Error> {
    let (address, token) = (Arc::new(address.to_owned()), Arc::new(token.to_owned()));
    let connector = tower::service_fn(move |_| {
        let (address, token) = (Arc::clone(&address), Arc::clone(&token));
        async move {
            let manner = Manner { protocols: vec![BEARS.to_vec()], ..Manner::nobody() };
            let mut stream = greet(&address, &manner).await?;
            say(&mut stream, token.as_bytes()).await?;
            let word = answered(&mut stream).await?;
            welcome_read(&word).map_err(|it| std::io::Error::other(it.to_string()))?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://hub").connect_with_connector(connector).await
}

/// No file there has any of those texts in it.
pub fn nowhere(dir: &Path, texts: &[String]) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            seen += nowhere(&entry.path(), texts);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            seen += 1;
            for text in texts {
                let found = memchr::memmem::find(&bytes, text.as_bytes());
                assert!(found.is_none(), "{} has a token in it", entry.path().display());
            }
        }
    }
    seen
}

/// The parts of a token that let somebody in.
pub fn secrets(token: &str) -> Vec<String> {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let claims = signed.rsplit_once('.').unwrap().1;
    [signature, claims].into_iter().filter(|it| it.len() > 16).map(str::to_owned).collect()
}

/// Waits until a verb of it works.
pub fn comes(home: &Home, what: &str) {
    eventually(what, || home.run(&["ls"]).code == 0);
}
