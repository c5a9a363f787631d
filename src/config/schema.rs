//! What config.toml may say. Every key is optional; what is missing keeps the default given here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{oidc::Issuer, team::Who};
use crate::{
    base::limits::PREDICT_FROM,
    model::{
        sandbox::{Egress, WorkspaceMode, words},
        secret::SecretUse,
    },
};

/// The theme that is `light` on a terminal that says its background is light, else `dark`.
pub const AUTO_THEME: &str = "auto";

/// The whole configuration of a console.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// A preset or a file in keymaps/, without `.toml`.
    pub keymap: String,
    /// A preset or a file in themes/, without `.toml`; `AUTO_THEME` follows the terminal's background.
    pub theme: String,
    /// Instead of the keymap's own prefix, e.g. `ctrl-a`; `None` = the keymap's.
    pub prefix: Option<String>,
    /// Panes shown at the start: 1, 2, 4 or 6.
    pub layout: u8,
    /// Whether the console takes the mouse.
    pub mouse: bool,
    /// Lines moved by one notch of the wheel.
    pub scroll_lines: u16,
    pub ui: UiConfig,
    pub new: NewDefaults,
    pub notify: NotifyConfig,
    pub hub: HubConfig,
    pub links: LinksConfig,
}

words! {
    /// Whether typed letters are drawn before their echo came.
    Predict {
        /// Where the way to the hub is long.
        Auto = "auto",
        On = "on",
        Off = "off",
    }
}

/// How the console makes up for long ways to hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinksConfig {
    pub predict: Predict,
    /// The round trip from which on a way is long.
    pub predict_from: Duration,
}

words! {
    /// How pictures are shown. What a terminal did not say it can is never sent to it: then it is blocks.
    Images {
        /// The best of what it can.
        Auto = "auto",
        Kitty = "kitty",
        Sixel = "sixel",
        /// Cells with two colours each, which every terminal can.
        Blocks = "blocks",
        /// As the bytes that they are.
        Off = "off",
    }
}

/// What the console shows, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UiConfig {
    pub images: Images,
}

/// Defaults of the new-sandbox dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDefaults {
    pub egress: Egress,
    pub workspace: WorkspaceMode,
    pub record: bool,
    /// Names of the operator's variables that are passed on.
    pub env: Vec<String>,
    /// What `--secret` says: credentials that programs use and never see.
    pub secrets: Vec<SecretUse>,
    pub cpus: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub pids: Option<u64>,
}

/// How the console calls for attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Ring the terminal's bell when a session that is not on screen rings.
    pub bell: bool,
    /// Send a desktop notification (OSC 9) when one waits for you and the terminal has no focus.
    pub desktop: bool,
    /// Show the number of asks in the terminal's title.
    pub title: bool,
    /// What the hub runs when asks have waited for so long; none = nothing.
    pub command: Vec<String>,
    pub after: Duration,
}

/// What a hub does beside its work; read at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubConfig {
    /// Where it serves metrics over HTTP: an address of this machine alone. `None` = nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where it lets in who has a certificate of its own, over TLS.
    pub listen: Vec<SocketAddr>,
    /// The authority of a team, whose certificates let in who is in `who`; with it come the next two.
    pub client_ca: Option<PathBuf>,
    /// What the hub shows to who comes so, or by a token.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Who may come by a certificate of the team's; the first that fits one counts.
    pub who: Vec<Who>,
    /// Whose tokens let in whom.
    pub oidc: Vec<Issuer>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        let after = Duration::from_secs(30);
        Self { bell: true, desktop: true, title: true, command: Vec::new(), after }
    }
}

/// What the operator chose in the console, kept beside the configuration and read after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefs {
    pub keymap: Option<String>,
    pub theme: Option<String>,
    pub layout: Option<u8>,
    /// What config.toml said beneath: a choice holds until that is changed.
    pub over: Beneath,
}

/// What config.toml said when the preferences were written; `None` = not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beneath {
    pub keymap: Option<String>,
    pub theme: Option<String>,
    pub layout: Option<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keymap: "default".to_owned(),
            theme: AUTO_THEME.to_owned(),
            prefix: None,
            layout: 1,
            mouse: true,
            scroll_lines: 3,
            ui: UiConfig { images: Images::Auto },
            new: NewDefaults {
                egress: Egress::Ask,
                workspace: WorkspaceMode::Cow,
                record: true,
                env: Vec::new(),
                secrets: Vec::new(),
                cpus: None,
                memory_bytes: None,
                pids: None,
            },
            notify: NotifyConfig::default(),
            hub: HubConfig::default(),
            links: LinksConfig { predict: Predict::Auto, predict_from: PREDICT_FROM },
        }
    }
}

impl Config {
    /// Lays what was chosen in the console over what the file says.
    pub fn apply(&mut self, prefs: &Prefs) {
        if let Some(keymap) = &prefs.keymap {
            self.keymap.clone_from(keymap);
        }
        if let Some(theme) = &prefs.theme {
            self.theme.clone_from(theme);
        }
        if let Some(layout) = prefs.layout {
            self.layout = layout;
        }
    }
}

impl Prefs {
    /// As the text of a preferences file.
    pub fn to_toml(&self) -> String {
        let mut out = String::from("# Written by the console; config.toml is yours.\n");
        lines(&mut out, self.keymap.as_ref(), self.theme.as_ref(), self.layout);
        out.push_str("\n[over]\n");
        lines(&mut out, self.over.keymap.as_ref(), self.over.theme.as_ref(), self.over.layout);
        out
    }

    /// Takes what config.toml says now: where that has changed since, the file is right and the
    /// choice is dropped. Says whether one was.
    pub fn settle(&mut self, file: &Config) -> bool {
        let now = Beneath {
            keymap: Some(file.keymap.clone()),
            theme: Some(file.theme.clone()),
            layout: Some(file.layout),
        };
        let before = std::mem::replace(&mut self.over, now);
        let now = &self.over;
        let mut dropped = before.keymap.is_some_and(|it| now.keymap.as_ref() != Some(&it))
            && self.keymap.take().is_some();
        dropped |= before.theme.is_some_and(|it| now.theme.as_ref() != Some(&it))
            && self.theme.take().is_some();
        dropped |=
            before.layout.is_some_and(|it| now.layout != Some(it)) && self.layout.take().is_some();
        dropped
    }
}

fn lines(out: &mut String, keymap: Option<&String>, theme: Option<&String>, layout: Option<u8>) {
    for (name, value) in [("keymap", keymap), ("theme", theme)] {
        if let Some(value) = value {
            out.push_str(&format!("{name} = {}\n", toml::Value::String(value.clone())));
        }
    }
    if let Some(layout) = layout {
        out.push_str(&format!("layout = {layout}\n"));
    }
}
