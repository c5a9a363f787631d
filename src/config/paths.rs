//! Where everything lies: configuration, state and sockets. Nothing else in the program builds
//! such a path, and nothing here reads or writes a file's contents.

use std::{
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::{contexts::ContextName, environment::Variable};
use crate::base::{
    fault::{Fault, Outcome},
    id::{SandboxId, SessionId},
};

/// Group or others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
const PRIVATE: u32 = 0o700;
const HOME_HINT: &str = "set SANDWATCH_HOME to a directory of your own";

/// The directories of one instance, decided once at the start of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `SANDWATCH_HOME`, when that decides the rest.
    home: Option<PathBuf>,
    config: PathBuf,
    state: PathBuf,
    run: PathBuf,
}

/// Where files lie that nobody keeps; anybody may look into it.
pub fn scratch() -> PathBuf {
    std::env::temp_dir()
}

/// The operator's home directory, if the system knows one.
pub fn home_directory() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|it| it.home_dir().to_owned())
}

impl Paths {
    /// Reads the environment: `SANDWATCH_HOME`, else the XDG directories. Touches no disk but to
    /// see whose the runtime directory is.
    pub fn from_environment() -> Outcome<Self> {
        if let Some(home) = Variable::Home.raw() {
            let home = PathBuf::from(home);
            let home = std::path::absolute(&home).map_err(|error| {
                Fault::io(format_args!("SANDWATCH_HOME {}", home.display()), &error)
            })?;
            return Ok(Self::under(&home));
        }
        let dirs = directories::ProjectDirs::from("", "", "sandwatch")
            .ok_or_else(|| Fault::failed("no home directory: HOME is not set").hint(HOME_HINT))?;
        let state =
            dirs.state_dir().map_or_else(|| dirs.data_local_dir().to_owned(), Path::to_owned);
        let run = runtime_dir().map_or_else(|| state.join("run"), |it| it.join("sandwatch"));
        Ok(Self { home: None, config: dirs.config_dir().to_owned(), state, run })
    }

    /// Everything under one directory, as `SANDWATCH_HOME` does; `home` must be absolute.
    pub fn under(home: &Path) -> Self {
        Self {
            home: Some(home.to_owned()),
            config: home.join("config"),
            state: home.join("state"),
            run: home.join("run"),
        }
    }

    /// Makes the state and run directories, private to the operator, and refuses those that
    /// another local user could tamper with. Called once by whoever is about to write there.
    pub fn prepare(&self) -> Outcome<()> {
        if let Some(home) = &self.home {
            make(home)?;
            let seen = look(home)?;
            let shared = seen.mode() & WRITABLE_BY_OTHERS != 0 && seen.mode() & STICKY == 0;
            let ours = seen.uid() == own_uid() || seen.uid() == 0;
            if shared || !ours {
                return Err(unsafe_place(home));
            }
        }
        for dir in [
            self.state.clone(),
            self.run.clone(),
            self.logs(),
            self.sandboxes(),
            self.snapshots(),
            self.recordings(),
        ] {
            make(&dir)?;
            secure(&dir)?;
        }
        Ok(())
    }

    pub fn config(&self) -> &Path {
        &self.config
    }
    /// What the operator sets; there need not be one.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }
    /// The rules that answer asks; there need not be one.
    pub fn policy(&self) -> PathBuf {
        self.config.join("policy.toml")
    }
    /// Rules for the sandboxes on one directory each, in a file of its own.
    pub fn projects(&self) -> PathBuf {
        self.config.join("projects")
    }
    /// The hubs that are known by a name; there need not be one.
    pub fn contexts_file(&self) -> PathBuf {
        self.config.join("contexts.toml")
    }
    pub fn state(&self) -> &Path {
        &self.state
    }
    /// Certificates and keys to the hubs elsewhere, in one directory for each context that has some.
    pub fn contexts(&self) -> PathBuf {
        self.state.join("contexts")
    }
    pub fn context(&self, name: &ContextName) -> PathBuf {
        self.contexts().join(name.as_str())
    }
    /// Makes the directory for the credentials of a context, private to the operator.
    pub fn prepare_context(&self, name: &ContextName) -> Outcome<PathBuf> {
        let dir = self.context(name);
        for dir in [&self.state, &self.contexts(), &dir] {
            make(dir)?;
            secure(dir)?;
        }
        Ok(dir)
    }
    /// Of the hub of an OpenShell gateway, which keeps apart from this user's own all but the configuration.
    #[must_use]
    pub fn of_gateway(&self, name: &ContextName) -> Self {
        let below = |dir: &Path| dir.join("gateways").join(name.as_str());
        let Self { home, config, state, run } = self;
        let (home, config) = (home.clone(), config.clone());
        Self { home, config, state: below(state), run: below(run) }
    }
    /// Where the command line of OpenShell keeps what it needs for the gateway that it calls so.
    pub fn of_openshell(name: &ContextName) -> Option<PathBuf> {
        let config = directories::BaseDirs::new()?.config_dir().to_owned();
        Some(config.join("openshell/gateways").join(name.as_str()).join("mtls"))
    }
    pub fn run(&self) -> &Path {
        &self.run
    }
    /// Locked by the one hub of this instance, for as long as it lives.
    pub fn hub_lock(&self) -> PathBuf {
        self.state.join("hub.lock")
    }
    pub fn hub_socket(&self) -> PathBuf {
        self.run.join("hub.sock")
    }
    /// The key by which this instance's hub lets others in.
    pub fn authority(&self) -> PathBuf {
        self.state.join("authority")
    }
    pub fn registry(&self) -> PathBuf {
        self.state.join("registry.db")
    }
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }
    /// What a hub says on stderr: why it did not start.
    pub fn hub_last_words(&self) -> PathBuf {
        self.logs().join("hub.stderr")
    }
    /// One directory per sandbox, named by its id.
    pub fn sandboxes(&self) -> PathBuf {
        self.state.join("sandboxes")
    }
    pub fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes().join(id.as_str())
    }
    /// Id, name, time and what was asked for, kept so that a lost registry can be rebuilt.
    pub fn sandbox_record(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("record")
    }
    pub fn shim_socket(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("shim.sock")
    }
    pub fn shim_log(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("shim.log")
    }
    /// One directory per snapshot, named by its id.
    pub fn snapshots(&self) -> PathBuf {
        self.state.join("snapshots")
    }
    /// One directory per session, named by its id.
    pub fn recordings(&self) -> PathBuf {
        self.state.join("recordings")
    }
    pub fn recording(&self, id: &SessionId) -> PathBuf {
        self.recordings().join(id.as_str())
    }
}

/// A path short enough for a unix socket: through an open descriptor of its directory, because a
/// socket address holds 107 bytes and a home directory may be deeper. Valid while this lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _dir: Option<OwnedFd>,
}

impl SocketPath {
    /// Longest path a `sockaddr_un` takes, without the closing zero.
    const BYTES_MAX: usize = 107;

    /// Opens the directory of `path` when the path itself is too long.
    pub fn open(path: &Path) -> Outcome<Self> {
        if path.as_os_str().len() <= Self::BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _dir: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Fault::invalid(format!("not a socket path: {}", path.display())));
        };
        let flags =
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let dir = rustix::fs::open(parent, flags, rustix::fs::Mode::empty()).map_err(|error| {
            Fault::io(format_args!("opening {}", parent.display()), &error.into())
        })?;
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _dir: Some(dir) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `XDG_RUNTIME_DIR`, unless it is somebody else's (as after `sudo`).
fn runtime_dir() -> Option<PathBuf> {
    let dir = directories::BaseDirs::new()?.runtime_dir()?.to_owned();
    let seen = std::fs::metadata(&dir).ok()?;
    (seen.uid() == own_uid() && seen.mode() & WRITABLE_BY_OTHERS == 0).then_some(dir)
}

fn look(dir: &Path) -> Outcome<std::fs::Metadata> {
    std::fs::metadata(dir)
        .map_err(|error| Fault::io(format_args!("looking at {}", dir.display()), &error))
}

fn make(dir: &Path) -> Outcome<()> {
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(dir).map_err(|error| {
        Fault::io(format_args!("making directory {}", dir.display()), &error).hint(HOME_HINT)
    })
}

fn unsafe_place(dir: &Path) -> Fault {
    Fault::denied(format!("directory {} can be changed by another user", dir.display()))
        .hint(format!("chown and chmod 700 it, or {HOME_HINT}"))
}

/// Ours alone and writable, or a fault. Merely readable by others is put right.
fn secure(dir: &Path) -> Outcome<()> {
    let seen = look(dir)?;
    if !seen.is_dir() {
        return Err(Fault::invalid(format!("not a directory: {}", dir.display())).hint(HOME_HINT));
    }
    if seen.uid() != own_uid() || seen.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(unsafe_place(dir));
    }
    if seen.mode() & 0o777 != PRIVATE {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(PRIVATE))
            .map_err(|error| Fault::io(format_args!("making {} private", dir.display()), &error))?;
    }
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(dir, wanted).map_err(|error| {
        Fault::io(format_args!("writing in {}", dir.display()), &error.into()).hint(HOME_HINT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Kind;

    #[test]
    fn directories_are_made_private() {
        let temp = tempfile::tempdir().unwrap();
        let paths = Paths::under(&temp.path().join("home"));
        paths.prepare().unwrap();
        for dir in [paths.state(), paths.run(), &paths.sandboxes(), &paths.recordings()] {
            assert_eq!(std::fs::metadata(dir).unwrap().mode() & 0o777, 0o700, "{}", dir.display());
        }
        paths.prepare().unwrap();
    }

    #[test]
    fn a_state_directory_others_can_write_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let paths = Paths::under(temp.path());
        std::fs::create_dir(paths.state()).unwrap();
        std::fs::set_permissions(paths.state(), PermissionsExt::from_mode(0o777)).unwrap();
        let fault = paths.prepare().unwrap_err();
        assert_eq!(fault.kind(), Kind::Denied);
        assert!(fault.hint_text().unwrap().contains("SANDWATCH_HOME"), "{fault}");
    }

    #[test]
    fn a_state_directory_only_readable_by_others_is_put_right() {
        let temp = tempfile::tempdir().unwrap();
        let paths = Paths::under(temp.path());
        std::fs::create_dir(paths.state()).unwrap();
        std::fs::set_permissions(paths.state(), PermissionsExt::from_mode(0o755)).unwrap();
        paths.prepare().unwrap();
        assert_eq!(std::fs::metadata(paths.state()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_told_with_a_way_out() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("state"), "").unwrap();
        let fault = Paths::under(temp.path()).prepare().unwrap_err();
        assert!(fault.hint_text().is_some(), "{fault}");
    }

    #[test]
    fn a_socket_deep_down_is_reached() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let place = SocketPath::open(&deep.join("a.sock")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(place.path()).unwrap();
        let again = SocketPath::open(&deep.join("a.sock")).unwrap();
        std::os::unix::net::UnixStream::connect(again.path()).unwrap();
    }
}
