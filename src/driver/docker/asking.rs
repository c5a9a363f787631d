//! How programs of a container ask a person: the socket for asks is shown in it, and this very program with the libraries
//! that it runs by, so that any image with a shell will do.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, time::timeout};

use super::{answer::Image, engine::Engine, program::Programs, soname::soname};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ASK_PROBE_BYTES_MAX, ASK_PROBE_WITHIN},
        text,
        units::Size,
    },
    driver::{ASK_DIR, ASK_PROGRAM, ASK_SOCKET, ASK_VARIABLE, Ground, local::mounts::ASKING},
    model::{
        sandbox::{Isolation, SandboxSpec},
        session::{ExitStatus, SessionSpec},
    },
};

/// In the directory for asks: this program, and the libraries that it runs by.
const PROGRAM: &str = "program";
pub const LIBRARIES: &str = "lib";
/// Libraries of one program: one that has more is none of ours.
const LIBRARIES_MAX: usize = 16;
/// Tells whether anybody can be asked.
const PROBE: [&str; 2] = ["ask", "--reach"];

/// What of this machine is shown in a container, and where.
pub struct Shown(Vec<(PathBuf, String)>);

impl Shown {
    /// Makes it ready in the ground; `None` where nobody can be asked: from another machine, and from gVisor, which an engine
    /// has pass no sockets on.
    pub fn prepare(
        engine: &Engine,
        ground: &Ground,
        spec: &SandboxSpec,
    ) -> Result<Option<Self>, String> {
        if !engine.address.is_here() || spec.isolation == Some(Isolation::Gvisor) {
            return Ok(None);
        }
        let shown = laid(&ground.dir.join(ASK_DIR));
        shown.map(Some).map_err(|error| format!("showing who is asked: {error}"))
    }

    /// For the engine. Nothing in a container can change any of it.
    pub fn mounts(&self) -> impl Iterator<Item = Value> {
        self.0.iter().map(|(source, target)| {
            json!({
                "Type": "bind",
                "Source": source.to_string_lossy(),
                "Target": target,
                "ReadOnly": true,
                "BindOptions": { "Propagation": "rprivate" },
            })
        })
    }
}

/// What programs are told: where they ask, and where what asks for them lies, unless their search path is not known.
pub fn variables(image: &Image) -> Vec<String> {
    let mut own = vec![format!("{ASK_VARIABLE}={ASKING}/{ASK_SOCKET}")];
    let config = image.config.as_ref().and_then(|it| it.env.as_ref());
    let path = config.into_iter().flatten().find(|it| it.starts_with("PATH="));
    own.extend(path.map(|it| format!("{it}:{ASKING}")));
    own
}

/// Whether somebody in the container can ask; why not. What is shown may lead nowhere: an engine may be in a machine of its
/// own, and an image may have no shell.
pub async fn works(programs: &Arc<Programs>) -> Result<(), String> {
    let probe = SessionSpec {
        command: [format!("{ASKING}/{ASK_PROGRAM}")]
            .into_iter()
            .chain(PROBE.map(str::to_owned))
            .collect(),
        cwd: Some("/".to_owned()),
        env: Vec::new(),
        size: Size::DEFAULT,
    };
    let asked = async {
        let mut probe = programs.on_pipes(&probe).await?;
        drop(probe.io.stdin);
        let mut words = Vec::new();
        let mut errors = (&mut probe.io.stderr).take(ASK_PROBE_BYTES_MAX);
        let read = errors.read_to_end(&mut words).await;
        read.map_err(|error| Fault::io("hearing whether programs can ask", &error))?;
        let exit = probe.exit.await.map_err(|_| Fault::lost("the engine told no end of it"))?;
        Outcome::Ok((exit, words))
    };
    let words = match timeout(ASK_PROBE_WITHIN, asked).await {
        Ok(Ok((ExitStatus::Code(0), _))) => return Ok(()),
        Ok(Ok((_, words))) => String::from_utf8_lossy(&words).trim().to_owned(),
        Ok(Err(fault)) => fault.message().to_owned(),
        Err(_) => format!("no answer within {} s", Duration::as_secs(&ASK_PROBE_WITHIN)),
    };
    Err(text::shown(&words, ASK_PROBE_BYTES_MAX as usize))
}

/// Lays the places down over which things are shown, and what starts this program by its own libraries.
fn laid(directory: &Path) -> io::Result<Shown> {
    let directory = fs::canonicalize(directory)?;
    let mut shown = vec![
        (directory.clone(), ASKING.to_owned()),
        (program(&directory)?, format!("{ASKING}/{PROGRAM}")),
    ];
    if !directory.join(PROGRAM).exists() {
        fs::write(directory.join(PROGRAM), "")?;
    }
    let below = directory.join(LIBRARIES);
    match fs::create_dir(&below) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => fs::set_permissions(&below, fs::Permissions::from_mode(0o755))?,
    }
    let mut by = String::new();
    for (library, name) in libraries()? {
        fs::write(below.join(&name), "")?;
        if is_loader(&name) {
            by = format!("{ASKING}/{LIBRARIES}/{name} --library-path {ASKING}/{LIBRARIES} ");
        }
        shown.push((library.clone(), format!("{ASKING}/{LIBRARIES}/{name}")));
    }
    let script = directory.join(ASK_PROGRAM);
    fs::write(&script, format!("#!/bin/sh\nexec {by}{ASKING}/{PROGRAM} \"$@\"\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(Shown(shown))
}

/// By which name a library is looked for, which may be another than that of its file. What loads the others is named by its file.
fn called(library: &Path) -> io::Result<Option<String>> {
    let of_file = library.file_name().and_then(|it| it.to_str());
    if of_file.is_some_and(is_loader) {
        return Ok(of_file.map(str::to_owned));
    }
    let file = fs::read(library)?;
    Ok(soname(&file).or(of_file).map(str::to_owned))
}

/// This program as a file: where it was started from, or a copy made in a directory when that has been replaced since.
pub fn program(directory: &Path) -> io::Result<PathBuf> {
    const ITSELF: &str = "/proc/self/exe";
    let program = fs::read_link(ITSELF)?;
    if program.exists() {
        return Ok(program);
    }
    let copy = directory.join(PROGRAM);
    // Not over one that runs: that can't be written to.
    drop(fs::remove_file(&copy));
    fs::copy(ITSELF, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

/// What loads the others is one of them.
pub fn is_loader(name: &str) -> bool {
    name.starts_with("ld-")
}

/// The libraries that this process runs by, as files of this machine, and by which name each is looked for; none where it is
/// built without.
pub fn libraries() -> io::Result<Vec<(PathBuf, String)>> {
    let named = |it: PathBuf| Ok(called(&it)?.map(|name| (it, name)));
    mapped()?.into_iter().filter_map(|it| named(it).transpose()).collect()
}

fn mapped() -> io::Result<BTreeSet<PathBuf>> {
    let itself = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    // The name of a file is the sixth word, and may have spaces.
    let files = maps.lines().filter_map(|it| it.find('/').and_then(|at| it.get(at..)));
    let files = files.filter(|it| it.contains(".so")).map(PathBuf::from);
    Ok(files.filter(|it| *it != itself && it.is_file()).take(LIBRARIES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::driver::docker::answer::Config;

    #[test]
    fn what_is_laid_down_starts_this_program_by_its_own_libraries() {
        let temp = tempfile::tempdir().unwrap();
        let Shown(shown) = laid(temp.path()).unwrap();
        assert_eq!(shown[0].1, ASKING);
        let script = fs::read_to_string(temp.path().join(ASK_PROGRAM)).unwrap();
        // The same as seen from here.
        let mut line = script.lines().nth(1).unwrap().replace("\"$@\"", "--list");
        for (source, target) in shown.iter().rev() {
            assert!(source.exists() && target.starts_with(ASKING), "{source:?} {target}");
            if target.starts_with(&format!("{ASKING}/lib/ld-")) || target.ends_with(PROGRAM) {
                line = line.replace(target.as_str(), source.to_str().unwrap());
            }
            let placeholder = target.strip_prefix(ASKING).unwrap().trim_start_matches('/');
            assert!(temp.path().join(placeholder).exists(), "{placeholder}");
        }
        let line = line.replace(&format!("--library-path {ASKING}/lib"), "");
        let ran = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(ran.status.success(), "{line}: {ran:?}");
        assert!(String::from_utf8_lossy(&ran.stdout).contains("what_is_laid_down"), "{line}");
        // Once more, for a sandbox that is made again on the same ground.
        laid(temp.path()).unwrap();
    }

    #[test]
    fn a_library_is_laid_down_by_the_name_that_it_is_looked_for_by() {
        let temp = tempfile::tempdir().unwrap();
        for (library, _) in libraries().unwrap() {
            let name = library.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("libc.so") && !name.starts_with("libc-") {
                continue;
            }
            let older = temp.path().join("libc-2.31.so");
            fs::copy(&library, &older).unwrap();
            assert_eq!(called(&older).unwrap(), Some("libc.so.6".to_owned()));
        }
        let loader = temp.path().join("ld-2.31.so");
        assert_eq!(called(&loader).unwrap(), Some("ld-2.31.so".to_owned()));
        let plain = temp.path().join("plain.so");
        fs::write(&plain, "no library").unwrap();
        assert_eq!(called(&plain).unwrap(), Some("plain.so".to_owned()));
    }

    #[test]
    fn a_search_path_is_added_to_and_never_made_up() {
        let image = |env: Option<Vec<String>>| Image {
            config: Some(Config { env, ..Config::default() }),
            ..Image::default()
        };
        let path = |image: &Image| variables(image).into_iter().find(|it| it.starts_with("PATH="));
        assert_eq!(path(&image(None)), None);
        assert_eq!(path(&Image::default()), None);
        let known = image(Some(vec!["A=b".into(), "PATH=/own".into()]));
        assert_eq!(path(&known), Some("PATH=/own:/run/sandwatch".to_owned()));
    }
}
