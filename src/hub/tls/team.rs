//! Who comes by a certificate of a team's own authority: files and a table in the operator's configuration, looked at again
//! whenever they change. What can't be read lets nobody in.

use std::{
    fmt,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_rustls::rustls::{
    CertificateError, Error, OtherError, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

use crate::{
    base::{
        clock::wall,
        fault::{Fault, Outcome},
        limits::{CERTIFICATE_LOOKED_AT_EVERY, LINE_BYTES_MAX, TEAM_LOOKED_AT_EVERY},
        text::shown,
    },
    config::{
        load,
        schema::HubConfig,
        source,
        team::{TeamFiles, Who},
    },
    runtime::{Bearer, access::Standing},
    wire::{certificate::Said, keys::Keys},
};

/// What holds now; without an authority nobody comes so.
#[derive(Default)]
struct Now {
    chain: Option<Arc<dyn ClientCertVerifier>>,
    shown: Option<Arc<CertifiedKey>>,
    who: Vec<Who>,
}

/// What tells whether a file is another by now; `None` = it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

pub(super) struct Team {
    config: PathBuf,
    now: watch::Sender<Arc<Now>>,
    /// The files that were read, as they were.
    looked: Mutex<Vec<(PathBuf, Stamp)>>,
    /// What was wrong at the first look.
    wrong: Mutex<Option<Fault>>,
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
        let wrong = team.read().err();
        *team.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
        team
    }

    /// Reads all of it. What is wrong lets nobody in.
    fn read(&self) -> Outcome<()> {
        // Before it is read: what changes meanwhile is looked at once more.
        let mut looked = vec![(self.config.clone(), stamp(&self.config))];
        let read = self.configured().and_then(|hub| {
            let files = hub.team();
            for it in files.iter().flat_map(|it| [&it.authority, &it.certificate, &it.key]) {
                looked.push((it.clone(), stamp(it)));
            }
            files.map_or(Ok(Now::default()), |files| Now::read(&files, hub.who))
        });
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = looked;
        let (now, done) = match read {
            Ok(now) => (now, Ok(())),
            Err(fault) => (Now::default(), Err(fault)),
        };
        self.now.send_replace(Arc::new(now));
        done
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
        loop {
            if let Some(fault) = wrong {
                tell(&format!("nobody of the team is let in until this is mended: {fault}"));
            }
            tokio::time::sleep(TEAM_LOOKED_AT_EVERY).await;
            let team = Arc::clone(&self);
            // The disk may be slow.
            let read = tokio::task::spawn_blocking(move || match team.changed() {
                true => team.read(),
                false => Ok(()),
            });
            wrong = read.await.ok().and_then(Result::err);
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

    /// Resolves when who came by these may not be here any more, or not as what they are.
    pub(super) async fn until_over(
        self: Arc<Self>,
        bearer: Bearer,
        all: Vec<CertificateDer<'static>>,
    ) {
        let mut changes = self.now.subscribe();
        loop {
            changes.borrow_and_update();
            let left = match self.standing(&all, UnixTime::now()) {
                Ok(Standing::Good { name, role, until, .. })
                    if (&name, role) == (&bearer.name, bearer.role) =>
                {
                    until.since(wall())
                }
                _ => Duration::ZERO,
            };
            if left.is_zero() {
                tracing::info!(name = bearer.name, "a connection ends with what let it in");
                return;
            }
            let look = tokio::time::sleep(left.min(CERTIFICATE_LOOKED_AT_EVERY));
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = look => {}
            }
        }
    }
}

impl Now {
    fn read(files: &TeamFiles, who: Vec<Who>) -> Outcome<Self> {
        let TeamFiles { authority, certificate, key } = files;
        let keys = Keys::read(authority, certificate, key)?;
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for it in keys.authorities {
            roots.add(it).map_err(|error| unfit(authority, error))?;
        }
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let chain = chain.build().map_err(|error| unfit(authority, error))?;
        let shown = CertifiedKey::from_der(keys.chain, keys.key, &provider)
            .map_err(|error| unfit(certificate, error))?;
        Ok(Self { chain: Some(chain), shown: Some(Arc::new(shown)), who })
    }
}
