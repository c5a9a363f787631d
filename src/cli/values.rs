//! Values of flags, parsed and checked once. Messages say what was expected; clap adds the flag.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{builder::TypedValueParser, error::ErrorKind};

use crate::model::host;
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{
            ENV_ENTRY_BYTES_MAX, GPUS_MAX, PATTERN_BYTES_MAX, SANDBOXES_MAX, SCREEN_CELLS_MAX,
            TTL_MAX,
        },
        secret::Secret,
        text::visible,
        units::{self, Size},
    },
    config::{contexts::ContextName, environment},
    model::{
        sandbox::{Egress, Gpus, Isolation, WorkspaceMode},
        secret::{Given, SecretUse, flaw, is_usual, misplaced},
    },
    runtime::WaitFor,
};

/// `K=V`, split at the first `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

/// A variable for a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    Given(Pair),
    /// One of the operator's, by its name.
    Passed(String),
}

/// `DIR[:MODE]`; an empty directory means the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceArg {
    pub dir: PathBuf,
    pub mode: WorkspaceMode,
}

/// `auto` (nothing in it) or a grade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsolationArg(pub Option<Isolation>);

/// A time, or so long ago.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Some(time) = Timestamp::from_rfc3339(text) {
        return Ok(time);
    }
    let ago = duration(text)
        .map_err(|_| "expected a duration such as 2h or 7d, or a time in RFC 3339".to_owned())?;
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(Timestamp(clock::wall().0.saturating_sub(ago)))
}

pub fn pair(text: &str) -> Result<Pair, String> {
    let (key, value) = text.split_once('=').ok_or("expected K=V")?;
    if key.is_empty() || text.contains('\0') || text.len() > ENV_ENTRY_BYTES_MAX {
        return Err(format!(
            "expected K=V with a key, at most {ENV_ENTRY_BYTES_MAX} bytes, no NUL"
        ));
    }
    Ok(Pair { key: key.to_owned(), value: value.to_owned() })
}

/// `K=V`, or the name of a variable to pass on: a key in the environment is not in the list of processes.
pub fn variable(text: &str) -> Result<Variable, String> {
    if text.contains('=') {
        return pair(text).map(Variable::Given);
    }
    match environment::is_name(text) {
        true => Ok(Variable::Passed(text.to_owned())),
        false => Err("expected K=V or the name of a variable".to_owned()),
    }
}

/// The variables with their values; one that is to be passed on must be there.
pub fn variables(all: Vec<Variable>) -> Outcome<Vec<(String, String)>> {
    let found = all.into_iter().map(|it| match it {
        Variable::Given(Pair { key, value }) => Ok((key, value)),
        Variable::Passed(name) => match environment::named(&name) {
            Some(value) => Ok((name, value)),
            None => Err(Fault::invalid(format!("no such variable in your environment: {name}"))
                .hint(format!("export it first, or write --env {name}=VALUE"))),
        },
    });
    found.collect()
}

/// Reads a word in whose place a credential may have been written: what is wrong is told without it.
#[derive(Clone)]
pub struct Unechoed<T>(pub fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Unechoed<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let read = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(self.0);
        read.map_err(|why| {
            let words = format!("--secret: {why}\n");
            clap::Error::raw(ErrorKind::ValueValidation, words).with_cmd(command)
        })
    }
}

/// `NAME[=HOST[:PORT]]`.
pub fn secret(text: &str) -> Result<SecretUse, String> {
    let name = text.split('=').next().unwrap_or_default();
    SecretUse::parse(text).map_err(|why| match environment::named(name).is_some() {
        true => format!("{name}: {why}"),
        false => why,
    })
}

pub fn secret_name(text: &str) -> Result<String, String> {
    match environment::is_name(text) {
        true => Ok(text.to_owned()),
        false => {
            Err("expected the name of a variable; its value comes from your environment".into())
        }
    }
}

/// The values of secrets, from the operator's environment, each once; none may stand where a host belongs.
pub fn given_for(uses: &[SecretUse]) -> Outcome<Vec<Given>> {
    let given = given(uses.iter().map(|it| it.name.as_str()))?;
    match misplaced(uses, &given) {
        Some(name) => {
            Err(Fault::invalid(format!("--secret {name}: a host is named as the value is"))
                .hint("--secret takes the NAME of a variable, and its value from your environment"))
        }
        None => Ok(given),
    }
}

/// The values of secrets, from the operator's environment; each once.
pub fn given<'a>(names: impl IntoIterator<Item = &'a str>) -> Outcome<Vec<Given>> {
    let mut found: Vec<Given> = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        if found.iter().any(|it| it.name == name) {
            continue;
        }
        let value = environment::named(name).ok_or_else(|| {
            // What is no variable may be a value that was written in a name's place.
            let which = if is_usual(name) { name.to_owned() } else { format!("number {}", at + 1) };
            Fault::invalid(format!("--secret, {which}: no such variable in your environment")).hint(
                "export it first: --secret takes the NAME of a variable, and its value from there",
            )
        })?;
        let value = Secret::new(value);
        if let Some(why) = flaw(&value) {
            return Err(Fault::invalid(format!("--secret {name}: its value can't be used: {why}")));
        }
        found.push(Given { name: name.to_owned(), value });
    }
    Ok(found)
}

/// Only a suffix that is a mode counts as one, so that a directory may have colons in its name.
pub fn workspace(text: &str) -> Result<WorkspaceArg, String> {
    let split = text.rsplit_once(':').and_then(|(dir, mode)| {
        Some(WorkspaceArg { dir: dir.into(), mode: WorkspaceMode::from_word(mode)? })
    });
    let whole = || WorkspaceArg { dir: text.into(), mode: WorkspaceMode::Cow };
    match text.rsplit_once(':') {
        // A colon may be in the name of a directory.
        Some((_, mode)) if split.is_none() && !mode.contains('/') && !Path::new(text).exists() => {
            Err(format!("no such mode: {}; it is cow, rw, ro or none", visible(mode)))
        }
        _ => Ok(split.unwrap_or_else(whole)),
    }
}

pub fn egress(text: &str) -> Result<Egress, String> {
    Egress::from_word(text).ok_or_else(|| "expected ask, deny or allow".to_owned())
}

pub fn isolation(text: &str) -> Result<IsolationArg, String> {
    match Isolation::GRADES.into_iter().find(|it| it.word() == text) {
        Some(it) => Ok(IsolationArg(Some(it))),
        None if text == "auto" => Ok(IsolationArg(None)),
        None => {
            let grades = Isolation::GRADES.map(Isolation::word).join(", ");
            Err(format!("expected auto or one of {grades}"))
        }
    }
}

pub fn cpus(text: &str) -> Result<f64, String> {
    let cpus = text.parse::<f64>().ok().filter(|it| it.is_finite() && *it >= 0.01);
    cpus.ok_or_else(|| "expected a number of cores, 0.01 or more".to_owned())
}

pub fn gpus(text: &str) -> Result<Gpus, String> {
    Gpus::from_word(text).ok_or_else(|| format!("expected all or a number from 1 to {GPUS_MAX}"))
}

pub fn bytes(text: &str) -> Result<u64, String> {
    let bytes = units::parse_bytes(text).filter(|it| *it > 0);
    bytes.ok_or_else(|| "expected a size such as 512M or 2G".to_owned())
}

pub fn size(text: &str) -> Result<Size, String> {
    Size::parse(text).ok_or_else(|| {
        format!("expected COLSxROWS, each from 2 to 1000 and at most {SCREEN_CELLS_MAX} cells")
    })
}

pub fn fleet(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|it| (1..=SANDBOXES_MAX).contains(it));
    count.ok_or_else(|| format!("expected a number from 1 to {SANDBOXES_MAX}"))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text)
        .ok_or_else(|| "expected a duration such as 500ms, 90s, 5m, 2h or 1d".to_owned())
}

/// How long a sandbox may live.
pub fn ttl(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        it if it.is_zero() || it > TTL_MAX => {
            Err("it must be more than 0 and at most ten years".to_owned())
        }
        it => Ok(it),
    }
}

/// A host to be let out to, as it will be compared.
pub fn host(text: &str) -> Result<String, String> {
    match host::pattern(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("expected HOST[:PORT], *.HOST[:PORT] or an address".to_owned()),
    }
}

/// The name of a hub.
pub fn context(text: &str) -> Result<ContextName, String> {
    text.parse()
}

pub fn wait_for(text: &str) -> Result<WaitFor, String> {
    match (text, text.strip_prefix("text=")) {
        ("exit", _) => Ok(WaitFor::Exit),
        ("idle", _) => Ok(WaitFor::Idle),
        (_, Some(pattern)) if pattern.len() > PATTERN_BYTES_MAX => {
            Err(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"))
        }
        (_, Some(pattern)) => match regex::Regex::new(pattern) {
            Ok(_) => Ok(WaitFor::Text(pattern.to_owned())),
            Err(error) => Err(format!("not a regular expression: {error}")),
        },
        _ => Err("expected exit, idle or text=RE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_value_is_in_no_error() {
        for bad in ["AKIACANARY0123", "CANARY=CANARY", "CANARY-1", "ghp_Canary0123=https://"] {
            let why = secret(bad).unwrap_err();
            assert!(!why.to_uppercase().contains("CANARY"), "{why}");
        }
        let missing = given(["PATH", "AKIACANARY0123"]).unwrap_err();
        let words = format!("{missing:?}");
        assert!(words.contains("number 2: no such variable"), "{words}");
        assert!(!words.contains("CANARY"), "{words}");
        // What is a variable is named.
        assert!(secret("PATH").unwrap_err().starts_with("PATH: nobody knows here"));
    }

    #[test]
    fn a_directory_with_a_colon_keeps_its_name() {
        let home = tempfile::tempdir().unwrap();
        let there = home.path().join("a:b");
        std::fs::create_dir(&there).unwrap();
        let text = there.display().to_string();
        let it = workspace(&text).unwrap();
        assert_eq!((&it.dir, it.mode), (&there, WorkspaceMode::Cow));
        let it = workspace(&format!("{text}:ro")).unwrap();
        assert_eq!((it.dir, it.mode), (there, WorkspaceMode::Ro));
        assert!(workspace("/nowhere:rx").unwrap_err().contains("cow, rw, ro or none"));
    }

    #[test]
    fn a_variable_is_given_or_passed_on_by_its_name() {
        let own = environment::named("PATH").unwrap();
        let read = |it: &str| variables(vec![variable(it).unwrap()]);
        assert_eq!(read("PATH").unwrap(), [("PATH".to_owned(), own)]);
        assert_eq!(read("PATH=").unwrap(), [("PATH".to_owned(), String::new())]);
        assert!(read("NO_SUCH_VARIABLE_HERE").unwrap_err().message().contains("NO_SUCH"));
        assert!(variable("").is_err() && variable("=x").is_err() && variable("a-b").is_err());
    }

    #[test]
    fn nonsense_values_are_refused() {
        assert!(pair("=x").is_err() && pair("x").is_err());
        assert!(cpus("0").is_err() && cpus("NaN").is_err() && cpus("-1").is_err());
        assert!(gpus("0").is_err() && gpus("65").is_err() && gpus("-1").is_err());
        assert!(gpus("").is_err() && gpus("ALL").is_err() && gpus("1.5").is_err());
        assert_eq!((gpus("all"), gpus("64")), (Ok(Gpus::All), Ok(Gpus::Count(64))));
        assert!(bytes("0").is_err() && bytes("1q").is_err());
        assert!(isolation("none").is_err());
        assert!(wait_for("text=(").is_err() && wait_for("never").is_err());
    }
}
