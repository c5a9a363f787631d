//! Effects that concern this process and its terminal alone.

use std::{path::Path, process::Command, time::Duration};

use base64::Engine;

use super::Console;
use crate::{
    app::{
        Act, Effect, Msg,
        files::{FilesAct, FilesReply},
        msg::Reply,
    },
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        limits::{CLIPBOARD_BYTES_MAX, REACH_WITHIN},
        text,
    },
    config::environment,
    model::event::Level,
    tui::terminal,
    vt::touched::Touched,
};

impl Console {
    /// Effects that concern this process alone.
    pub(super) fn here(&mut self, Effect { id, act }: Effect) {
        match act {
            Act::Clipboard(words) => {
                let result = self.copy(&words);
                self.update(Msg::Done { id, result });
            }
            Act::LoadKeymap(name) => self.load_keymap(Some(id), name),
            Act::LoadTheme(name) => self.load_theme(Some(id), name),
            Act::SavePrefs(prefs) => {
                let files = self.files.clone();
                self.runner.aside(move || {
                    let result = files.save_prefs(&prefs).map(|()| Reply::Nothing);
                    vec![Msg::Done { id, result }]
                });
            }
            Act::Contexts(change) => {
                let changed = self.contexts.as_ref().map(|it| it(*change));
                // An invitation is taken up on the way.
                self.runner.read(id, REACH_WITHIN, async move {
                    let none = || Fault::unsupported("this console is over one hub alone");
                    let changed =
                        changed.ok_or_else(|| none().hint("sandwatch, without --context"))?;
                    changed.await.map(|()| Reply::Nothing)
                });
            }
            Act::SetTitle(title) => {
                let sequence = format!("\x1b]2;{}\x07", text::visible(&title));
                self.canvas.send(sequence.as_bytes());
                self.touched = Touched::All;
            }
            Act::Bell => self.aside(b"\x07"),
            Act::Notify { title, body } => {
                let words = text::visible(&format!("{title}: {body}"));
                self.aside(format!("\x1b]9;{words}\x07").as_bytes());
            }
            Act::CaptureMouse(on) => self.capture_mouse(on),
            Act::Redraw => {
                self.canvas.redraw();
                self.touched = Touched::All;
            }
            Act::LookNow => self.runner.look_now(),
            Act::Suspend => self.suspend(),
            Act::Files(files) => {
                if let FilesAct::Edit(copy) = *files {
                    let result = self.edit(&copy);
                    self.update(Msg::Done { id, result });
                }
            }
            Act::Quit => self.ending = Some(0),
            // All others were the runner's.
            _ => {}
        }
    }

    fn aside(&mut self, sequence: &[u8]) {
        self.canvas.send(sequence);
        self.touched = Touched::All;
    }

    /// OSC 52; whether the terminal takes it can't be known, whether it may is checked.
    fn copy(&mut self, words: &str) -> Outcome<Reply> {
        if words.len() > CLIPBOARD_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "too much to copy: terminals take {CLIPBOARD_BYTES_MAX} bytes, this is {}",
                words.len()
            )));
        }
        let coded = base64::engine::general_purpose::STANDARD.encode(words);
        self.aside(format!("\x1b]52;c;{coded}\x07").as_bytes());
        Ok(Reply::Nothing)
    }

    pub(super) fn capture_mouse(&mut self, on: bool) {
        let sequence = self.guard.mouse(on);
        self.aside(sequence.as_bytes());
    }

    pub(super) fn suspend(&mut self) {
        match self.guard.suspend() {
            Ok(()) => self.restart(),
            Err(fault) if fault.kind() == Kind::Unsupported => {
                self.update(Msg::Notice(Level::Warning, fault.to_string()));
            }
            Err(fault) => self.update(Msg::Notice(Level::Error, fault.to_string())),
        }
    }

    /// Gives the terminal to the operator's editor, and takes it back when that ends. Nothing else goes on here
    /// meanwhile; what the hub sends waits.
    fn edit(&mut self, copy: &Path) -> Outcome<Reply> {
        let named = environment::named("VISUAL").or_else(|| environment::named("EDITOR"));
        let editor = named.filter(|it| !it.trim().is_empty()).unwrap_or_else(|| "vi".to_owned());
        let before = std::fs::read(copy).map_err(|error| Fault::io("reading the copy", &error))?;
        self.hold.take()?;
        self.guard.give();
        // As a shell would run it: it may have arguments of its own.
        let script = format!("{editor} \"$1\"");
        let started = Command::new("sh").args(["-c", &script, "sh"]).arg(copy).spawn();
        let ended = started.map(|it| self.guard.wait_for(&it));
        let taken = self.guard.resume();
        self.hold.release();
        self.edited_at = Some(clock::monotonic());
        self.restart();
        let fault = |why: String| {
            Fault::failed(format!("the editor {}: {why}", text::visible(&editor)))
                .hint("VISUAL or EDITOR names the one to use")
        };
        let ended = match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(fault(status.to_string())),
            Ok(Err(fault)) => Err(fault),
            Err(error) => Err(fault(error.to_string())),
        };
        let after = std::fs::read(copy).map_err(|error| Fault::io("reading the copy", &error));
        // What was edited is not thrown away, however it ended.
        let changed = after.as_ref().map_or(true, |it| *it != before);
        let wrong = taken.and(ended).and(after.map(drop)).err();
        Ok(Reply::Files(Box::new(FilesReply::Edited { changed, wrong })))
    }

    /// Whether a ctrl-c or ctrl-z that comes now was meant for the editor. Of the terminal that is ours they come as
    /// keys.
    pub(super) fn was_for_editor(&self) -> bool {
        let now = clock::monotonic();
        self.edited_at.is_some_and(|it| now < it + Duration::from_secs(1))
    }

    /// The terminal was somebody else's meanwhile: nothing on it is known.
    pub(super) fn restart(&mut self) {
        self.canvas.redraw();
        self.runner.resized();
        if let Some((cols, rows)) = terminal::cells() {
            self.canvas.resize((cols, rows));
            self.update(Msg::Resize(cols, rows));
        }
        self.touched = Touched::All;
    }
}
