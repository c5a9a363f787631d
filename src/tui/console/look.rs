//! Keys and colours from files: chosen at the start, read again when they change. Files are read
//! beside the loop.

use std::sync::Arc;

use super::Console;
use crate::{
    app::{EffectId, Msg, keymap::Keymap, msg::Reply},
    base::fault::Outcome,
    config::schema::{Config, Prefs},
    model::event::Level,
    tui::{agents, depth, files::Files, watch::Watch},
    ui::theme::{Depth, Theme},
};

pub(super) async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// What the files and the terminal together make of keys and colours.
pub(super) struct Look {
    pub(super) config: Config,
    pub(super) prefs: Prefs,
    pub(super) keymap: Keymap,
    pub(super) theme: Theme,
    pub(super) depth: Depth,
}

impl Look {
    pub(super) fn choose(files: &Files, mut config: Config) -> Outcome<Self> {
        let mut prefs = files.prefs();
        if prefs.settle(&config)
            && let Err(fault) = files.save_prefs(&prefs)
        {
            // A choice that is dropped now is dropped again at the next start.
            tracing::warn!(%fault, "an outdated choice stays written down");
        }
        config.apply(&prefs);
        let depth = depth::found();
        let theme = files.theme(&config.theme, depth)?;
        let keymap = files.keymap(&config, &config.keymap)?;
        Ok(Self { config, prefs, keymap, theme, depth })
    }
}

/// Read beside the loop, for the drawing side as well as for the state.
pub(super) struct Change {
    pub(super) theme: Option<Theme>,
    pub(super) messages: Vec<Msg>,
}

impl Console {
    /// Finds agents and the names of keymaps and themes, beside the loop.
    pub(super) fn look_around(&mut self) {
        let (files, profiles) = (self.files.clone(), Arc::clone(&self.state.profiles));
        self.runner.aside(move || {
            let choices = Msg::Choices { keymaps: files.keymaps(), themes: files.themes() };
            vec![choices, Msg::Agents(agents::on_path(&profiles))]
        });
    }

    pub(super) fn watch_files(&mut self) -> Option<Watch> {
        match Watch::directory(self.files.directory()) {
            Ok(watch) => Some(watch),
            Err(fault) => {
                tracing::warn!(%fault, "no hot reload");
                self.update(Msg::Notice(Level::Warning, fault.to_string()));
                None
            }
        }
    }

    /// A file changed: all are read again, for one may name another. Only what came out different
    /// is told; that another keymap or theme is named now, the state finds out.
    pub(super) fn reload(&mut self) {
        let (files, changes, depth) = (self.files.clone(), self.changes.clone(), self.depth);
        // What is wanted, whether or not it could be read so far: its file may be there now.
        let (config, keymap) = (self.state.config.clone(), self.state.keymap.clone());
        let (theme, reread) = (self.theme.clone(), self.reread.clone());
        self.runner.aside(move || {
            let mut messages = vec![Msg::Config(files.config().map(Box::new))];
            let keys = files.keymap(&config, &config.keymap);
            if keys.as_ref().ok() != Some(&keymap) {
                messages.push(Msg::Keymap(keys.map(Box::new)));
            }
            let mut changed = None;
            match files.theme(&config.theme, depth) {
                Ok(same) if same == theme => {}
                Ok(other) => {
                    messages.push(Msg::Theme(Ok(config.theme)));
                    changed = Some(other);
                }
                Err(fault) => messages.push(Msg::Theme(Err(fault))),
            }
            if let Some(Err(fault)) = reread.map(|it| it()) {
                messages.push(Msg::Notice(Level::Error, fault.to_string()));
            }
            // The loop is closing when nobody takes it.
            drop(changes.blocking_send(Change { theme: changed, messages }));
            vec![Msg::Choices { keymaps: files.keymaps(), themes: files.themes() }]
        });
    }

    pub(super) fn load_keymap(&mut self, id: Option<EffectId>, name: String) {
        let (files, config) = (self.files.clone(), self.state.config.clone());
        self.runner.aside(move || {
            let keys = files.keymap(&config, &name).map(Box::new);
            let done = keys.as_ref().map(|_| Reply::Nothing).map_err(Clone::clone);
            let mut messages = vec![Msg::Keymap(keys)];
            messages.extend(id.map(|id| Msg::Done { id, result: done }));
            messages
        });
    }

    pub(super) fn load_theme(&mut self, id: Option<EffectId>, name: String) {
        let (files, depth, changes) = (self.files.clone(), self.depth, self.changes.clone());
        self.runner.aside(move || {
            let theme = files.theme(&name, depth);
            let told = theme.as_ref().map(|_| name).map_err(Clone::clone);
            let done = told.clone().map(|_| Reply::Nothing);
            let mut messages = vec![Msg::Theme(told)];
            messages.extend(id.map(|id| Msg::Done { id, result: done }));
            drop(changes.blocking_send(Change { theme: theme.ok(), messages }));
            Vec::new()
        });
    }
}
