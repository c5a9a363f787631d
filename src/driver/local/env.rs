//! The environment of a sandbox: built from nothing, so that no secret of the operator's shell is
//! in it. The only reader of the operator's own environment in this driver.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    blueprint::WayOut,
    identity::{self, Identity},
    mounts,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        text::visible,
    },
    config::environment::Variable,
    driver::{ASK_DIR, ASK_SOCKET, ASK_VARIABLE, Ground},
    model::sandbox::{Isolation, SandboxSpec},
};

/// Top-level entries of the host that programs need: what a sandbox sees of it, where they exist.
pub const SYSTEM: [&str; 12] =
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "gnu", "snap"];
const USUAL_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

pub fn operator_home() -> Option<PathBuf> {
    operator_homes().into_iter().next()
}

/// Every directory that counts as the operator's home, what their environment says first: it may say
/// nothing, or have been taken along from another user.
pub fn operator_homes() -> Vec<PathBuf> {
    let said = std::env::var_os("HOME").map(PathBuf::from);
    let listed = identity::listed_home(rustix::process::geteuid().as_raw());
    // For accounts that no file lists.
    let known = said.is_none().then(std::env::home_dir).flatten();
    let mut homes: Vec<PathBuf> = [said, listed, known].into_iter().flatten().collect();
    homes.retain(|it| it.is_absolute());
    homes.dedup();
    homes
}

/// Where the operator's programs are: as who asked for the sandbox has it, else by the hub's own PATH.
pub fn operator_path(spec: &SandboxSpec) -> Vec<PathBuf> {
    if !spec.search_path.is_empty() {
        return spec.search_path.clone();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|it| it.is_absolute()).collect()
}

/// Whether a sandbox sees it without being asked to.
pub fn is_shown(file: &Path) -> bool {
    let below = file.strip_prefix("/").ok();
    below.is_some_and(|file| SYSTEM.iter().any(|it| file.starts_with(it)))
}

/// The shell of a sandbox: one that is there on every host this runs on.
pub fn shell() -> String {
    let found = SHELLS.iter().find(|it| Path::new(it).exists());
    (*found.unwrap_or(&"/bin/sh")).to_owned()
}

fn search_path(operator: Vec<PathBuf>, tools: &[PathBuf], home: &Path) -> String {
    let mut path: Vec<PathBuf> = vec![home.join(".local/bin"), home.join("bin")];
    for entry in operator {
        let shown = is_shown(&entry);
        let tool = tools.iter().any(|it| entry.starts_with(it));
        if (shown || tool) && !path.contains(&entry) {
            path.push(entry);
        }
    }
    for usual in USUAL_PATH.map(PathBuf::from) {
        if !path.contains(&usual) {
            path.push(usual);
        }
    }
    let text: Vec<String> = path.iter().map(|it| it.display().to_string()).collect();
    text.join(":")
}

/// Language and time zone settings, which are no secrets, if they look like what they should be.
fn locale() -> Vec<(String, String)> {
    let plain = |it: &str| {
        it.len() <= 64
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"_.-@/:+".contains(&it))
    };
    let mut kept: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(key, value)| {
            (key == "LANG" || key == "LANGUAGE" || key == "TZ" || key.starts_with("LC_"))
                && plain(value)
        })
        .collect();
    if !kept.iter().any(|(key, _)| key == "LANG" || key == "LC_ALL") {
        kept.push(("LANG".to_owned(), "C.UTF-8".to_owned()));
    }
    kept
}

/// What every program of a sandbox gets before what its specs add.
pub fn base(
    name: &str,
    spec: &SandboxSpec,
    identity: &Identity,
    tools: &[PathBuf],
) -> Vec<(String, String)> {
    let home = identity.home.display().to_string();
    let mut env: Vec<(String, String)> = [
        ("PATH", search_path(operator_path(spec), tools, &identity.home)),
        ("HOME", home),
        ("USER", identity.name.clone()),
        ("LOGNAME", identity.name.clone()),
        ("SHELL", shell()),
        ("TERM", "xterm-256color".to_owned()),
        ("COLORTERM", "truecolor".to_owned()),
        ("TERM_PROGRAM", "sandwatch".to_owned()),
        ("SANDWATCH_SANDBOX", name.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    env.extend(locale());
    env
}

/// The same over an image: nothing of this machine but the terminal.
pub fn of_image(name: &str, identity: &Identity, shell: String) -> Vec<(String, String)> {
    let own = [
        ("PATH", USUAL_PATH.join(":")),
        ("HOME", identity.home.display().to_string()),
        ("USER", identity.name.clone()),
        ("LOGNAME", identity.name.clone()),
        ("SHELL", shell),
        ("TERM", "xterm-256color".to_owned()),
        ("COLORTERM", "truecolor".to_owned()),
        ("TERM_PROGRAM", "sandwatch".to_owned()),
        ("SANDWATCH_SANDBOX", name.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    own.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Tells programs how they ask a person, where they can.
pub fn ask_by(env: &mut Vec<(String, String)>, ground: &Ground, grade: Option<Isolation>) {
    let own = ground.dir.join(ASK_DIR);
    let place = match grade {
        Some(Isolation::Landlock) => own.clone(),
        _ => PathBuf::from(mounts::ASKING),
    };
    if !own.is_dir() || env.iter().any(|(key, _)| key == ASK_VARIABLE) {
        return;
    }
    env.push((ASK_VARIABLE.to_owned(), place.join(ASK_SOCKET).display().to_string()));
    if let Some((_, path)) = env.iter_mut().find(|(key, _)| key == "PATH") {
        path.push_str(&format!(":{}", place.display()));
    }
}

/// How programs get out of a sandbox whose network asks, as whoever started the hub wants it.
pub fn way_out() -> Outcome<WayOut> {
    match Variable::WayOut.text().as_deref() {
        None | Some("auto") => Ok(WayOut::Any),
        Some("redirect") => Ok(WayOut::Redirect),
        Some("proxy") => Ok(WayOut::Proxy),
        Some(other) => {
            let what = format!("SANDWATCH_WAY_OUT: not a way out of a sandbox: {}", visible(other));
            Err(Fault::invalid(what).hint("auto, redirect or proxy; a hub reads it when it starts"))
        }
    }
}

/// Refuses one that is none, before a sandbox is to get out by it.
pub fn way_out_is_known() -> Outcome<()> {
    way_out().map(drop)
}

/// Tells programs of the proxy by which they get out: all the names that they look at. What the sandbox was made with
/// says it better.
pub fn get_out_by(env: &mut Vec<(String, String)>, proxy: SocketAddr) {
    const PROXY: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    const NO_PROXY: &str = "NO_PROXY";
    let url = format!("http://{proxy}");
    let told = PROXY.iter().map(|name| (*name, url.as_str()));
    // What a sandbox says to itself is its own.
    let told = told.chain([(NO_PROXY, "localhost,127.0.0.1,::1")]);
    let both = told.flat_map(|(name, it)| [(name.to_owned(), it), (name.to_ascii_lowercase(), it)]);
    // Node looks at the others only if it is told to.
    for (name, it) in both.chain([("NODE_USE_ENV_PROXY".to_owned(), "1")]) {
        if env.iter().all(|(known, _)| *known != name) {
            env.push((name, it.to_owned()));
        }
    }
}

/// Later entries win over earlier ones of the same name.
pub fn merged(parts: [&[(String, String)]; 3]) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (key, value) in parts.into_iter().flatten() {
        env.retain(|(known, _)| known != key);
        env.push((key.clone(), value.clone()));
    }
    env
}
