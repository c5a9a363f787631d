//! Who comes by a certificate of a team's own authority or by a token: files and tables in the operator's configuration,
//! looked at again whenever they change. What can't be read lets nobody in.

use std::{
    fmt,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use tokio_rustls::rustls::{
    CertificateError, Error, OtherError, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

use super::oidc::{Held, Issuers, NotTaken};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{LINE_BYTES_MAX, TEAM_LOOKED_AT_EVERY},
        text::shown,
    },
    config::{
        load,
        schema::HubConfig,
        source,
        team::{ShownFiles, Who},
    },
    runtime::access::Standing,
    wire::{
        certificate::Said,
        keys::{Keys, certificates},
    },
};

/// What holds now; without an authority nobody comes so.
#[derive(Default)]
struct Now {
    chain: Option<Arc<dyn ClientCertVerifier>>,
    shown: Option<Arc<CertifiedKey>>,
    who: Vec<Who>,
    issuers: Issuers,
}

/// What tells whether a file is another by now; `None` = it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

pub(super) struct Team {
    config: PathBuf,
    now: watch::Sender<Arc<Now>>,
    /// The files that were read, as they were.
    looked: Mutex<Vec<(PathBuf, Stamp)>>,
    /// What was wrong at the first look.
    wrong: Mutex<Option<Wrong>>,
}

/// Who is kept out by what, as a sentence.
type Wrong = String;

/// What follows when something can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nothing yet.
    IsLookedAtAgain,
    Counts,
}

/// A certificate that is good, of somebody whom no row names.
#[derive(Debug)]
struct NotListed(String);

impl fmt::Display for NotListed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of the team, and nobody who may come: {}", self.0)
    }
}

impl std::error::Error for NotListed {}

fn unfit(path: &Path, error: impl fmt::Display) -> Fault {
    Fault::invalid(format!("{}: {error}", path.display()))
}

fn stamp(path: &Path) -> Stamp {
    let seen = std::fs::metadata(path).ok()?;
    Some((seen.ino(), seen.len(), seen.mtime(), seen.mtime_nsec()))
}

impl Team {
    /// As the configuration has it now, which need not name any. What is wrong with it keeps nobody out who was invited, and
    /// is told by `follow`.
    pub(super) fn open(config: &Path) -> Self {
        let team = Self {
            config: config.to_owned(),
            now: watch::Sender::new(Arc::default()),
            looked: Mutex::default(),
            wrong: Mutex::default(),
        };
        let wrong = team.read(Failure::Counts).err();
        *team.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
        team
    }

    /// Reads all of it. What is wrong lets nobody in, if it counts.
    fn read(&self, failure: Failure) -> Result<(), Wrong> {
        // Before it is read: what changes meanwhile is looked at once more.
        let mut looked = vec![(self.config.clone(), stamp(&self.config))];
        let (mut now, wrong) = match self.configured() {
            Ok(hub) => {
                let files = [&hub.client_ca, &hub.certificate, &hub.key].into_iter().flatten();
                for it in files.chain(hub.oidc.iter().map(|it| &it.keys)) {
                    looked.push((it.clone(), stamp(it)));
                }
                let before = Arc::clone(&self.now.borrow());
                Now::read(hub, (failure == Failure::IsLookedAtAgain).then_some(&before))
            }
            Err(fault) => {
                let wrong = kept_out("nobody of the team", &fault);
                if failure == Failure::IsLookedAtAgain {
                    return Err(wrong);
                }
                (Now::default(), Some(wrong))
            }
        };
        // What the hub shows stays: else whoever comes would take it for another.
        if wrong.is_some() && now.shown.is_none() {
            now.shown = self.shown();
        }
        if let (Some(wrong), Failure::IsLookedAtAgain) = (&wrong, failure) {
            // What could be read counts at once: it may be that somebody is to come no more.
            self.now.send_replace(Arc::new(now));
            return Err(wrong.clone());
        }
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = looked;
        self.now.send_replace(Arc::new(now));
        wrong.map_or(Ok(()), Err)
    }

    fn configured(&self) -> Outcome<HubConfig> {
        let text = source::read(&self.config)?.unwrap_or_default();
        let read = load::config(&self.config.display().to_string(), &text);
        read.map(|it| it.hub).map_err(|flaws| source::fault(&flaws))
    }

    fn changed(&self) -> bool {
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        looked.iter().any(|(path, before)| stamp(path) != *before)
    }

    /// Follows the files for as long as it is polled, and says what is wrong with them.
    pub(super) async fn follow(self: Arc<Self>, tell: impl Fn(&str) + Send) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever renews a certificate puts its key beside it a moment later.
        let mut failure = Failure::IsLookedAtAgain;
        loop {
            if let Some(wrong) = wrong.take() {
                tell(&wrong);
            }
            tokio::time::sleep(TEAM_LOOKED_AT_EVERY).await;
            let team = Arc::clone(&self);
            // The disk may be slow.
            let read = tokio::task::spawn_blocking(move || match team.changed() {
                true => team.read(failure),
                false => Ok(()),
            });
            failure = match (read.await, failure) {
                (Ok(Err(_)), Failure::IsLookedAtAgain) => Failure::Counts,
                (Ok(Err(told)), Failure::Counts) => {
                    wrong = Some(told);
                    Failure::IsLookedAtAgain
                }
                (Ok(Ok(())) | Err(_), _) => Failure::IsLookedAtAgain,
            };
        }
    }

    /// What the hub shows to who does not ask for its own; `None` = there is no such.
    pub(super) fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.now.borrow().shown.clone()
    }

    /// What a certificate is worth, with those that came along with it. `UnknownIssuer` where there is no team.
    pub(super) fn standing(
        &self,
        all: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<Standing, Error> {
        let now = Arc::clone(&self.now.borrow());
        let chain = now.chain.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        let (own, between) = all.split_first().ok_or(Error::NoCertificatesPresented)?;
        chain.verify_client_cert(own, between, at)?;
        let said = Said::read(own).ok_or(CertificateError::BadEncoding)?;
        if !said.signs {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let Some(it) = now.who.iter().find(|it| said.names.contains(&it.name)) else {
            let names = shown(&said.names.join(", "), LINE_BYTES_MAX);
            let why = OtherError(Arc::new(NotListed(names)));
            return Err(CertificateError::Other(why).into());
        };
        Ok(Standing::Good {
            member: said.member,
            name: it.name.clone(),
            role: it.role,
            until: said.until,
        })
    }

    /// Whether anybody may come by a token.
    pub(super) fn takes_tokens(&self) -> bool {
        let now = self.now.borrow();
        !now.issuers.is_empty() && now.shown.is_some()
    }

    /// What a token is worth, and what has to be kept of it to say so again.
    pub(super) fn token(&self, text: &str, at: Timestamp) -> Result<(Standing, Held), NotTaken> {
        let now = Arc::clone(&self.now.borrow());
        let held = now.issuers.take(text, at)?;
        Ok((now.issuers.standing(&held)?, held))
    }

    /// What one that was found good is worth by now.
    pub(super) fn standing_of(&self, held: &Held) -> Result<Standing, NotTaken> {
        let now = Arc::clone(&self.now.borrow());
        now.issuers.standing(held)
    }

    /// Changes whenever a standing may have changed.
    pub(super) fn changes(&self) -> watch::Receiver<impl Sized + use<>> {
        self.now.subscribe()
    }
}

fn kept_out(whom: &str, fault: &Fault) -> Wrong {
    format!("{whom} is let in until this is mended: {fault}")
}

/// By what a certificate of the team's is checked.
fn chain(authority: &Path) -> Outcome<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for it in certificates(authority)? {
        roots.add(it).map_err(|error| unfit(authority, error))?;
    }
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let chain = chain.build().map_err(|error| unfit(authority, error))?;
    Ok(chain)
}

fn certified(ShownFiles { certificate, key }: &ShownFiles) -> Outcome<Arc<CertifiedKey>> {
    let keys = Keys::read(certificate, key)?;
    let shown = CertifiedKey::from_der(keys.chain, keys.key, &ring::default_provider())
        .map_err(|error| unfit(certificate, error))?;
    Ok(Arc::new(shown))
}

impl Now {
    /// All that can be read, and what can't: a certificate of the team is not waited for by those with tokens, nor the other
    /// way round. What can't stays as it was `before`, where that is to count.
    fn read(hub: HubConfig, before: Option<&Self>) -> (Self, Option<Wrong>) {
        let shown = hub.shown().map(|files| certified(&files)).transpose();
        let chain = hub.team().map(|files| chain(&files.authority)).transpose();
        let (shown, chain, of_team) = match (shown, chain) {
            (Ok(shown), Ok(chain)) => (shown, chain, None),
            (shown, chain) => {
                let fault = shown.as_ref().err().or(chain.as_ref().err()).cloned();
                let chain = match (chain, before) {
                    (Ok(chain), Some(_)) => chain,
                    (_, before) => before.and_then(|it| it.chain.clone()),
                };
                (shown.ok().flatten(), chain, fault)
            }
        };
        let (issuers, of_keys) = Issuers::read(hub.oidc, before.map(|it| &it.issuers));
        let of_team = of_team.map(|it| kept_out("nobody of the team", &it));
        let of_keys = of_keys.map(|it| kept_out("nobody with a token of one issuer", &it));
        let who = if chain.is_some() { hub.who } else { Vec::new() };
        (Self { chain, shown, who, issuers }, of_team.or(of_keys))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Files of a team whose authority is the certificate of the hub itself.
    struct Files(tempfile::TempDir);

    impl Files {
        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn put(&self, name: &str, what: &str, der: &[u8]) {
            use std::os::unix::fs::PermissionsExt;
            let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
            let text = format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n");
            // Another file each time, however quickly one comes after the other.
            fs::write(self.path("beside"), text).unwrap();
            fs::set_permissions(self.path("beside"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(self.path("beside"), self.path(name)).unwrap();
        }
    }

    fn pair() -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().der().to_vec(), key)
    }

    #[test]
    fn what_can_t_be_read_once_is_looked_at_again_before_it_lets_nobody_in() {
        let files = Files(tempfile::tempdir().unwrap());
        let config = files.path("config.toml");
        let paths = ["client_ca", "certificate", "key"];
        let lines = paths.map(|it| format!("{it} = \"{}\"\n", files.path(it).display()));
        fs::write(&config, format!("[hub]\n{}", lines.concat())).unwrap();
        let (first, key) = pair();
        files.put("client_ca", "CERTIFICATE", &first);
        files.put("certificate", "CERTIFICATE", &first);
        files.put("key", "PRIVATE KEY", &key.serialize_der());
        let team = Team::open(&config);
        assert!(team.wrong.lock().unwrap().is_none() && !team.changed());
        assert!(team.shown().is_some());
        // The next certificate is there and its key is not yet.
        let (second, key) = pair();
        let chain = || team.now.borrow().chain.clone().unwrap();
        let before = chain();
        files.put("certificate", "CERTIFICATE", &second);
        assert!(team.changed());
        team.read(Failure::IsLookedAtAgain).unwrap_err();
        assert!(team.changed() && team.shown().is_some());
        // Who may come is known by what can be read of it, and else by what was.
        let read = chain();
        assert!(!Arc::ptr_eq(&before, &read));
        fs::write(files.path("client_ca"), "none").unwrap();
        team.read(Failure::IsLookedAtAgain).unwrap_err();
        assert!(Arc::ptr_eq(&read, &chain()));
        files.put("client_ca", "CERTIFICATE", &first);
        files.put("key", "PRIVATE KEY", &key.serialize_der());
        team.read(Failure::Counts).unwrap();
        assert_eq!(team.shown().unwrap().cert[0].to_vec(), second);
        // It stays so.
        fs::remove_file(files.path("key")).unwrap();
        team.read(Failure::IsLookedAtAgain).unwrap_err();
        let wrong = team.read(Failure::Counts).unwrap_err();
        assert!(wrong.starts_with("nobody of the team") && wrong.contains("key"), "{wrong}");
        let now = Arc::clone(&team.now.borrow());
        assert!(now.chain.is_none() && now.shown.is_some() && !team.changed());
        // Without a team there is nothing to look at but the configuration.
        fs::write(&config, "").unwrap();
        team.read(Failure::Counts).unwrap();
        assert!(team.shown().is_none() && !team.changed());
        assert!(team.standing(&[first.into()], UnixTime::now()).is_err());
    }
}
