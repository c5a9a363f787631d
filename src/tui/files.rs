//! The operator's files: configuration, keymaps, themes and preferences, read whole; a flaw names
//! its file, line and column.

use std::path::{Path, PathBuf};

use crate::{
    app::{
        chord::Chord,
        keymap::{self, Keymap},
    },
    base::fault::{Fault, Outcome},
    config::{
        load,
        paths::Paths,
        schema::{AUTO_THEME, Config, Prefs},
        source::{Flaw, Node, Over, Source, fault, read, unknown, write},
    },
    ui::theme::{self, Depth, Theme},
};

/// Where the files lie.
#[derive(Clone, Debug)]
pub struct Files {
    config: PathBuf,
    file: PathBuf,
    /// `None` where choices are not to be remembered.
    prefs: Option<PathBuf>,
    /// Whether the terminal's background is light, for the theme that follows it.
    light: bool,
}

impl Files {
    pub fn new(paths: &Paths) -> Self {
        let prefs = Some(paths.state().join("console.toml"));
        let (config, file) = (paths.config().to_owned(), paths.config_file());
        Self { config, file, prefs, light: false }
    }

    /// The same files on a terminal with a background that is light, dark or not known.
    #[must_use]
    pub fn on_background(self, light: Option<bool>) -> Self {
        Self { light: light == Some(true), ..self }
    }

    /// The same files, but choices are forgotten.
    pub fn forgetful(paths: &Paths) -> Self {
        Self { prefs: None, ..Self::new(paths) }
    }

    pub fn directory(&self) -> &Path {
        &self.config
    }

    pub fn config_file(&self) -> PathBuf {
        self.file.clone()
    }

    /// What config.toml says, or the defaults when there is none.
    pub fn config(&self) -> Outcome<Config> {
        let path = self.config_file();
        match read(&path)? {
            Some(text) => load::config(&shown(&path), &text).map_err(|flaws| fault(&flaws)),
            None => Ok(Config::default()),
        }
    }

    /// Whether config.toml says it: a setting, or `table.setting`.
    pub fn says(&self, setting: &str) -> Outcome<bool> {
        let text = read(&self.config_file())?.unwrap_or_default();
        let Some(whole) = Source::new("config.toml", &text).parse() else { return Ok(false) };
        Ok(match setting.split_once('.') {
            None => whole.get(setting).is_some(),
            Some((table, name)) => whole.get(table).is_some_and(|it| match &it.node {
                Node::Table(inner) => inner.get(name).is_some(),
                _ => false,
            }),
        })
    }

    /// What was chosen in the console; nothing when there is no such file or it can't be read.
    pub fn prefs(&self) -> Prefs {
        let Some(path) = &self.prefs else { return Prefs::default() };
        let text = read(path).ok().flatten().unwrap_or_default();
        load::prefs(&shown(path), &text).unwrap_or_default()
    }

    /// Written beside and renamed, so that a full disk leaves the old ones.
    pub fn save_prefs(&self, prefs: &Prefs) -> Outcome<()> {
        let Some(path) = &self.prefs else { return Ok(()) };
        write(path, Over::Anything, &prefs.to_toml())
    }

    /// A name that means nothing, with its place in config.toml where it comes from there.
    fn astray(&self, setting: &str, name: &str, fault: Fault) -> Fault {
        let text = read(&self.config_file()).ok().flatten().unwrap_or_default();
        placed(fault, &shown(&self.config_file()), &text, setting, name)
    }

    /// A keymap by name: the operator's file, else a preset; behind the configured prefix.
    pub fn keymap(&self, config: &Config, name: &str) -> Outcome<Keymap> {
        let keys = match self.text_of("keymaps", name)? {
            Some((path, text)) => self.parse_keymap(&path, name, &text).map_err(|it| fault(&it))?,
            None => keymap::load_preset(name).ok_or_else(|| {
                let known = keymap::PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                let fault = Fault::absent(unknown("a keymap", name, known.iter().copied()))
                    .hint(format!("there are {} and your own in keymaps/", known.join(", ")));
                self.astray("keymap", name, fault)
            })?,
        };
        match config.prefix.as_deref().map(Chord::parse) {
            None => Ok(keys),
            Some(Ok(prefix)) => Ok(keys.with_prefix(prefix)),
            Some(Err(why)) => Err(Fault::invalid(format!("prefix in config.toml: {why}"))),
        }
    }

    pub fn parse_keymap(&self, path: &Path, name: &str, text: &str) -> Result<Keymap, Vec<Flaw>> {
        let base = |it: &str| {
            let own = if it == name { None } else { self.text_of("keymaps", it).ok().flatten() };
            own.map(|(_, text)| text).or_else(|| keymap::preset(it).map(str::to_owned))
        };
        keymap::parse(&shown(path), name, text, &base)
    }

    /// A theme by name: the operator's file, else a preset.
    pub fn theme(&self, name: &str, depth: Depth) -> Outcome<Theme> {
        let name = match name {
            AUTO_THEME if self.light => "light",
            AUTO_THEME => "dark",
            other => other,
        };
        match self.text_of("themes", name)? {
            Some((path, text)) => {
                self.parse_theme(&path, name, &text, depth).map_err(|it| fault(&it))
            }
            None => theme::preset(name, depth).ok_or_else(|| {
                let known = theme::PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                let offered = known.iter().copied().chain([AUTO_THEME]);
                let fault = Fault::absent(unknown("a theme", name, offered))
                    .hint(format!("there are {} and your own in themes/", known.join(", ")));
                self.astray("theme", name, fault)
            }),
        }
    }

    pub fn parse_theme(
        &self,
        path: &Path,
        name: &str,
        text: &str,
        depth: Depth,
    ) -> Result<Theme, Vec<Flaw>> {
        let base = |it: &str| {
            let own = if it == name { None } else { self.text_of("themes", it).ok().flatten() };
            own.map(|(_, text)| text)
        };
        theme::parse(&shown(path), name, text, &base, depth)
    }

    /// Names of the keymaps that can be chosen: presets, then the operator's.
    pub fn keymaps(&self) -> Vec<String> {
        self.names("keymaps", keymap::PRESETS.iter().map(|(name, _)| *name))
    }

    pub fn themes(&self) -> Vec<String> {
        let presets = theme::PRESETS.iter().map(|(name, _)| *name);
        self.names("themes", std::iter::once(AUTO_THEME).chain(presets))
    }

    fn names<'a>(&self, kind: &str, presets: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut own: Vec<String> = std::fs::read_dir(self.config.join(kind))
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                Some(entry.ok()?.file_name().to_str()?.strip_suffix(".toml")?.to_owned())
            })
            .filter(|name| load::is_plain_name(name))
            .take(256) // a directory of more is no collection of themes
            .collect();
        own.sort();
        let mut names: Vec<String> = presets.map(str::to_owned).collect();
        own.retain(|name| !names.contains(name));
        names.extend(own);
        names
    }

    /// The operator's own file of that name, if there is one.
    fn text_of(&self, kind: &str, name: &str) -> Outcome<Option<(PathBuf, String)>> {
        if !load::is_plain_name(name) {
            return Err(Fault::invalid(format!(
                "not a name (letters, digits, - and _): {}",
                crate::base::text::visible(name)
            )));
        }
        let path = self.config.join(kind).join(format!("{name}.toml"));
        Ok(read(&path)?.map(|text| (path, text)))
    }
}

fn shown(path: &Path) -> String {
    crate::base::text::visible(&path.display().to_string())
}

/// What is wrong with a name, at the place where a configuration names it.
pub fn placed(fault: Fault, file: &str, text: &str, setting: &str, name: &str) -> Fault {
    match Source::new(file, text).place_of(setting, name) {
        // It may have been found already.
        Some(place) if !fault.message().starts_with(&place) => fault.context(place),
        _ => fault,
    }
}
