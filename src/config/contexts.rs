//! Contexts: names for hubs, in contexts.toml, and which of them is current. The file is read whole or refused with
//! every flaw and its place, and written whole; credentials lie elsewhere.

use std::{
    fmt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{
    address::Address,
    environment::Variable,
    load::{command, flag, string, wanted},
    oidc::{TokenFiles, TokenFrom},
    paths::Paths,
    source::{self, Flaw, Item, Name, Node, Over, Source, Table},
    team::{TeamFiles, whole_path},
};
use crate::base::{
    fault::{Fault, Outcome},
    limits::{CONTEXT_NAME_BYTES_MAX, CONTEXTS_MAX},
    text,
};

const KEYS: &[&str] = &["current", "contexts"];
const CONTEXT_KEYS: &[&str] =
    &["address", "ca", "certificate", "key", "token_file", "token_command", "compress"];
const HEADING: &str = "# Hubs by name, written by `sandwatch context`.\n";

/// What a hub is called by the operator: letters, digits and `-_.`, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextName(String);

impl ContextName {
    /// This user's own hub, which every verb starts where none runs.
    const LOCAL: &str = "local";

    pub fn local() -> Self {
        Self(Self::LOCAL.to_owned())
    }

    pub fn is_local(&self) -> bool {
        self.0 == Self::LOCAL
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContextName {
    /// Why it is none, in words for a person.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.len() <= CONTEXT_NAME_BYTES_MAX
            && text.starts_with(|it: char| it.is_ascii_alphanumeric())
            && text.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it));
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "the name of a context is 1 to {CONTEXT_NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`, a letter or digit \
             first"
        ))
    }
}

/// A name and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub name: ContextName,
    pub address: Address,
    /// By what a hub over TLS and this user know each other where nobody was invited: files that stay where they are.
    pub team: Option<TeamFiles>,
    /// The same where a token is shown: the authority of the hub, and where the token comes from.
    pub token: Option<TokenFiles>,
    /// Lists and output come compressed from there.
    pub compress: bool,
}

/// All contexts, `local` first and the others by their names.
#[derive(Clone, Debug)]
pub struct Contexts {
    all: Vec<Context>,
    current: Option<ContextName>,
    file: PathBuf,
    /// What the file said.
    text: Option<String>,
}

impl Contexts {
    /// Reads the file; without one there is `local` alone.
    pub fn load(paths: &Paths) -> Outcome<Self> {
        let file = paths.contexts_file();
        let text = match source::read(&file) {
            // Nothing can be in there; whoever needs the place says what is wrong with it.
            Err(_) if !paths.config().is_dir() => None,
            text => text?,
        };
        let name = file.display().to_string();
        let read = read(&name, text.as_deref().unwrap_or_default());
        let (mut all, current) = read.map_err(|flaws| {
            source::fault(&flaws).hint("mend the file, or say --context local for your own hub")
        })?;
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.insert(0, Self::own(paths));
        Ok(Self { all, current, file, text })
    }

    fn own(paths: &Paths) -> Context {
        let address = Address::Unix(paths.hub_socket());
        let name = ContextName::local();
        Context { name, address, team: None, token: None, compress: false }
    }

    /// The one that is meant: as was said, else by the variable, else the current one. What is wrong with the file keeps
    /// nobody from their own hub.
    pub fn chosen(paths: &Paths, said: Option<&ContextName>) -> Outcome<Context> {
        let named = match said {
            Some(name) => Some(name.clone()),
            None => by_variable()?,
        };
        if named.as_ref().is_some_and(ContextName::is_local) {
            return Ok(Self::own(paths));
        }
        let contexts = Self::load(paths)?;
        let name = named.or_else(|| contexts.current.clone());
        contexts.find(&name.unwrap_or_else(ContextName::local)).cloned()
    }

    pub fn all(&self) -> &[Context] {
        &self.all
    }

    /// The one that verbs speak to unless told otherwise, by the variable or by the file.
    pub fn current(&self) -> Outcome<ContextName> {
        let named = by_variable()?.or_else(|| self.current.clone());
        Ok(named.unwrap_or_else(ContextName::local))
    }

    pub fn find(&self, name: &ContextName) -> Outcome<&Context> {
        if let Some(it) = self.all.iter().find(|it| it.name == *name) {
            return Ok(it);
        }
        let names = || self.all.iter().map(|it| it.name.as_str());
        let known: Vec<&str> = names().collect();
        Err(Fault::absent(source::unknown("a context", name.as_str(), names()))
            .hint(text::clip(&format!("there are: {}", known.join(", ")), 200)))
    }

    /// Whether one of that name could be added.
    pub fn has_room_for(&self, name: &ContextName) -> Outcome<()> {
        if name.is_local() {
            return Err(Fault::invalid("`local` is your own hub and can't be another")
                .hint("choose another name"));
        }
        if self.all.iter().any(|it| it.name == *name) {
            return Err(Fault::busy(format!("there is a context of that name: {name}"))
                .hint(format!("sandwatch context rm {name}, or choose another name")));
        }
        // `local` is none of them.
        if self.all.len() > CONTEXTS_MAX {
            return Err(Fault::busy(format!("there are {CONTEXTS_MAX} contexts already"))
                .hint("sandwatch context rm NAME"));
        }
        Ok(())
    }

    /// Adds one that is new.
    pub fn add(&mut self, context: Context) -> Outcome<()> {
        self.has_room_for(&context.name)?;
        self.all.push(context);
        self.all.get_mut(1..).unwrap_or_default().sort_by(|one, other| one.name.cmp(&other.name));
        Ok(())
    }

    pub fn use_(&mut self, name: &ContextName) -> Outcome<()> {
        let name = self.find(name)?.name.clone();
        self.current = (!name.is_local()).then_some(name);
        Ok(())
    }

    /// Takes one away; if it was current, `local` is from now on.
    pub fn remove(&mut self, name: &ContextName) -> Outcome<Context> {
        if name.is_local() {
            return Err(Fault::invalid("`local` is your own hub and stays"));
        }
        let gone = self.find(name)?.clone();
        self.all.retain(|it| it.name != *name);
        if self.current.as_ref() == Some(name) {
            self.current = None;
        }
        Ok(gone)
    }

    /// Writes the file whole, unless somebody else did meanwhile.
    pub fn save(&mut self) -> Outcome<()> {
        let text = self.written();
        source::write(&self.file, Over::This(self.text.as_deref()), &text)?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&self.file, private)
            .map_err(|error| Fault::io(format_args!("writing {}", self.file.display()), &error))?;
        self.text = Some(text);
        Ok(())
    }

    fn written(&self) -> String {
        let quoted = |it: String| toml::Value::String(it).to_string();
        let mut out = HEADING.to_owned();
        if let Some(current) = &self.current {
            out.push_str(&format!("current = {}\n", quoted(current.to_string())));
        }
        for it in self.all.iter().filter(|it| !it.name.is_local()) {
            let (name, address) = (quoted(it.name.to_string()), quoted(it.address.to_string()));
            out.push_str(&format!("\n[contexts.{name}]\naddress = {address}\n"));
            if it.compress {
                out.push_str("compress = true\n");
            }
            let mut file = |name: &str, path: &Path| {
                let path = quoted(path.to_string_lossy().into_owned());
                out.push_str(&format!("{name} = {path}\n"));
            };
            if let Some(TeamFiles { authority, certificate, key }) = &it.team {
                file("ca", authority);
                file("certificate", certificate);
                file("key", key);
            }
            let Some(TokenFiles { authority, from }) = &it.token else { continue };
            file("ca", authority);
            match from {
                TokenFrom::File(path) => file("token_file", path),
                TokenFrom::Command(words) => {
                    let words: Vec<_> = words.iter().map(|it| quoted(it.clone())).collect();
                    out.push_str(&format!("token_command = [{}]\n", words.join(", ")));
                }
            }
        }
        out
    }
}

fn by_variable() -> Outcome<Option<ContextName>> {
    let Some(text) = Variable::Context.raw() else { return Ok(None) };
    let text = text.to_string_lossy();
    let name = text.parse().map_err(|why| {
        Fault::invalid(format!("SANDWATCH_CONTEXT={}: {why}", text::shown(&text, 80)))
    })?;
    Ok(Some(name))
}

type Read = (Vec<Context>, Option<ContextName>);

/// Reads the text of such a file; `file` is what flaws call it.
fn read(file: &str, text: &str) -> Result<Read, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let source_ = &mut source;
    let (mut all, mut current) = (Vec::new(), None);
    for (key, item) in source_.parse().unwrap_or_default().0 {
        source_.reads(key.text.as_str());
        match key.text.as_str() {
            "current" => {
                if let Some(text) = string(source_, &item) {
                    current = Some((text, item.span));
                }
            }
            "contexts" => all = contexts(source_, &item),
            _ => source_.unknown("a setting of contexts", &key, KEYS.iter().copied()),
        }
    }
    let current = current.and_then(|(text, span)| {
        let known = || {
            std::iter::once(ContextName::LOCAL)
                .chain(all.iter().map(|it: &Context| it.name.as_str()))
        };
        if !known().any(|it| it == text) {
            source.flaw(span, source::unknown("a context", &text, known()));
            return None;
        }
        text.parse().ok().filter(|it: &ContextName| !it.is_local())
    });
    source.finish((all, current))
}

fn contexts(source: &mut Source<'_>, item: &Item) -> Vec<Context> {
    let Node::Table(Table(entries)) = &item.node else {
        wanted(source, item, "a table of contexts");
        return Vec::new();
    };
    let mut all = Vec::new();
    for (key, item) in entries {
        if all.len() >= CONTEXTS_MAX {
            source.flaw(key.span.clone(), format!("at most {CONTEXTS_MAX} contexts"));
            break;
        }
        let name = match key.text.parse::<ContextName>() {
            Ok(name) if name.is_local() => {
                source.flaw(key.span.clone(), "`local` is your own hub and stands in no file");
                continue;
            }
            Ok(name) => name,
            Err(why) => {
                source.flaw(key.span.clone(), why);
                continue;
            }
        };
        source.reads(format!("contexts.{name}"));
        all.extend(context(source, key, item, name));
    }
    all
}

fn context(source: &mut Source<'_>, key: &Name, item: &Item, name: ContextName) -> Option<Context> {
    let Node::Table(Table(entries)) = &item.node else {
        wanted(source, item, "a table with an address");
        return None;
    };
    let (mut address, mut told, mut compress) = (None, false, false);
    let mut files = Files::default();
    for (key, item) in entries {
        source.reads(format!("contexts.{name}.{}", key.text));
        match key.text.as_str() {
            "address" => {
                told = true;
                let text = string(source, item)?;
                match text.parse() {
                    Ok(it) => address = Some(it),
                    Err(why) => source.flaw(item.span.clone(), why),
                }
            }
            "ca" => files.authority = whole_path(source, item),
            "certificate" => files.certificate = whole_path(source, item),
            "key" => files.key = whole_path(source, item),
            "token_file" => files.token_file = whole_path(source, item),
            "token_command" => files.token_command = words(source, item),
            "compress" => compress = flag(source, item).unwrap_or_default(),
            _ => source.unknown("a setting of a context", key, CONTEXT_KEYS.iter().copied()),
        }
    }
    if !told {
        source.flaw(key.span.clone(), format!("context `{name}` has no address"));
    }
    let address = address?;
    let some = files != Files::default();
    let (team, token) = files.sorted();
    if some && ((team.is_none() && token.is_none()) || !matches!(address, Address::Https { .. })) {
        let words = "`ca`, `certificate` and `key` are named together, or `ca` and one of `token_file` and `token_command`, for an address of https";
        source.flaw(key.span.clone(), format!("context `{name}`: {words}"));
    }
    Some(Context { name, address, team, token, compress })
}

/// What a context names beside its address.
#[derive(Default, PartialEq)]
struct Files {
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    token_file: Option<PathBuf>,
    token_command: Option<Vec<String>>,
}

impl Files {
    /// What a certificate takes, or what a token does; never some of both.
    fn sorted(self) -> (Option<TeamFiles>, Option<TokenFiles>) {
        let token = |authority, from| (None, Some(TokenFiles { authority, from }));
        match self {
            Self {
                authority: Some(authority),
                certificate: Some(certificate),
                key: Some(key),
                token_file: None,
                token_command: None,
            } => (Some(TeamFiles { authority, certificate, key }), None),
            Self {
                authority: Some(authority),
                certificate: None,
                key: None,
                token_file: Some(file),
                token_command: None,
            } => token(authority, TokenFrom::File(file)),
            Self {
                authority: Some(authority),
                certificate: None,
                key: None,
                token_file: None,
                token_command: Some(words),
            } => token(authority, TokenFrom::Command(words)),
            _ => (None, None),
        }
    }
}

/// A command, which has a program.
fn words(source: &mut Source<'_>, item: &Item) -> Option<Vec<String>> {
    let words = command(source, item)?;
    if words.first().is_none_or(String::is_empty) {
        source.flaw(item.span.clone(), "a command begins with a program");
        return None;
    }
    if words.first().is_some_and(|it| it.contains('/') && !it.starts_with('/')) {
        source.flaw(item.span.clone(), "a program is named by its whole path here, or by its name");
        return None;
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> String {
        let flaws = read("c.toml", text).unwrap_err();
        flaws.iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::under(home.path());
        let mut contexts = Contexts::load(&paths).unwrap();
        assert_eq!(contexts.all().len(), 1);
        let add = |contexts: &mut Contexts, name: &str, address: &str| {
            let (name, address) = (name.parse().unwrap(), address.parse().unwrap());
            let compress = name == "A".parse().unwrap();
            contexts.add(Context { name, address, team: None, token: None, compress })
        };
        add(&mut contexts, "b.c", "ssh://me@lab:22").unwrap();
        add(&mut contexts, "A", "unix:/a\\b \"c\"/hub.sock").unwrap();
        let team = Some(TeamFiles {
            authority: "/etc/ca.pem".into(),
            certificate: "/home/me/my \"own\".pem".into(),
            key: "/home/me/key.pem".into(),
        });
        let (name, address) =
            ("team".parse().unwrap(), "https://hub.example:7443".parse().unwrap());
        let compress = false;
        let it = Context { name, address, team: team.clone(), token: None, compress };
        contexts.add(it.clone()).unwrap();
        let command = ["/bin/print token".to_owned(), "a \"b\"".to_owned(), String::new()];
        let from = [TokenFrom::File("/run/my token".into()), TokenFrom::Command(command.into())];
        let tokens = from.map(|from| TokenFiles { authority: "/etc/ca.pem".into(), from });
        for (name, token) in ["x", "y"].into_iter().zip(&tokens) {
            let (name, token) = (name.parse().unwrap(), Some(token.clone()));
            contexts.add(Context { name, team: None, token, ..it.clone() }).unwrap();
        }
        assert!(add(&mut contexts, "A", "ssh://x").is_err());
        assert!(add(&mut contexts, "local", "ssh://x").is_err());
        contexts.use_(&"b.c".parse().unwrap()).unwrap();
        contexts.save().unwrap();
        let file = std::fs::metadata(paths.contexts_file()).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let again = Contexts::load(&paths).unwrap();
        let names: Vec<&str> = again.all().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["local", "A", "b.c", "team", "x", "y"]);
        assert_eq!((&again.all()[3].team, &again.all()[3].token), (&team, &None));
        for (it, token) in again.all()[4..].iter().zip(&tokens) {
            assert_eq!((&it.team, it.token.as_ref()), (&None, Some(token)));
        }
        assert_eq!(again.all()[1..].len(), contexts.all()[1..].len());
        assert!(again.all()[1].compress && !again.all()[2].compress);
        assert_eq!(again.current, Some("b.c".parse().unwrap()));
        let mut again = again;
        again.remove(&"b.c".parse().unwrap()).unwrap();
        assert_eq!(again.current, None);
        // Somebody else wrote meanwhile.
        contexts.use_(&ContextName::local()).unwrap();
        contexts.save().unwrap();
        assert!(again.save().is_err());
    }

    #[test]
    fn flaws_have_their_place_and_a_suggestion() {
        assert_eq!(
            flaws("curent = \"x\""),
            "c.toml:1:1: `curent` is not a setting of contexts; did you mean `current`?\n"
        );
        let lab = "[contexts.lab]\naddress = \"ssh://lab\"\n";
        assert!(
            flaws(&format!("current = \"lap\"\n{lab}"))
                .contains("c.toml:1:11: `lap` is not a context; did you mean `lab`?")
        );
        assert!(flaws(&format!("{lab}adress = \"x\"")).contains("did you mean `address`?"));
        assert!(flaws(&format!("{lab}compress = 1")).contains("c.toml:3:12: "));
        assert!(flaws("[contexts.lab]").contains("has no address"));
        assert!(flaws("[contexts.local]\naddress = \"ssh://x\"").contains("your own hub"));
        assert!(
            flaws("[contexts.\"-x\"]\naddress = \"ssh://x\"").contains("c.toml:1:11: the name")
        );
        assert!(flaws("[contexts.x]\naddress = \"ssh://-oX\"").contains("c.toml:2:11: "));
        assert!(flaws("contexts = 1").contains("not a table"));
        let files = "ca = \"/a\"\ncertificate = \"/b\"\n";
        let https = "[contexts.x]\naddress = \"https://x:1\"\n";
        assert!(flaws(&format!("{https}{files}")).contains("named together"));
        assert!(flaws(&format!("{https}{files}key = \"c\"\n")).contains("whole path"));
        assert!(flaws(&format!("{lab}{files}key = \"/c\"\n")).contains("an address of https"));
        let token = "ca = \"/a\"\ntoken_file = \"/t\"\n";
        assert!(flaws(&format!("{https}{token}key = \"/c\"\n")).contains("named together"));
        let both = format!("{https}{token}token_command = [\"x\"]\n");
        assert!(flaws(&both).contains("named together"));
        assert!(flaws(&format!("{https}token_file = \"/t\"\n")).contains("named together"));
        assert!(flaws(&format!("{lab}{token}")).contains("an address of https"));
        let none = format!("{https}ca = \"/a\"\ntoken_command = []\n");
        assert!(flaws(&none).contains("begins with a program"));
        let here = format!("{https}ca = \"/a\"\ntoken_command = [\"./get\"]\n");
        assert!(flaws(&here).contains("whole path"));
        let many: String = (0..=CONTEXTS_MAX)
            .map(|it| format!("[contexts.c{it}]\naddress = \"ssh://x\"\n"))
            .collect();
        assert!(flaws(&many).contains("at most 64 contexts"));
    }

    #[test]
    fn an_unknown_name_is_told_with_those_there_are() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::under(home.path());
        let fault = Contexts::chosen(&paths, Some(&"loca".parse().unwrap())).unwrap_err();
        assert_eq!(fault.message(), "`loca` is not a context; did you mean `local`?");
        // A broken file keeps nobody from their own hub.
        std::fs::create_dir_all(paths.config()).unwrap();
        std::fs::write(paths.contexts_file(), "x").unwrap();
        assert!(Contexts::chosen(&paths, None).is_err());
        assert!(Contexts::chosen(&paths, Some(&ContextName::local())).unwrap().name.is_local());
    }
}
