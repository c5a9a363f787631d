//! What came of what the place of files asked for.

use std::path::{Path, PathBuf};

use super::super::Turn;
use crate::{
    app::{
        dialog::{Deed, Says},
        effect::{Act, EffectId},
        files::{Files, FilesAct, FilesPending, FilesReply, Marks},
        msg::Reply,
        view::View,
    },
    base::{
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        text::visible,
    },
    model::{
        event::Level,
        file::{Expected, name_shown},
    },
};

impl Turn<'_> {
    pub(in crate::app::update) fn files_done(
        &mut self,
        id: EffectId,
        pending: FilesPending,
        result: Outcome<Reply>,
    ) {
        self.state.dirty = true;
        let reply = match result {
            Ok(Reply::Files(reply)) => Ok(*reply),
            Ok(Reply::Diff(read)) if pending == FilesPending::Marks => {
                return self.marks_read(id, &read.files);
            }
            Ok(_) => Err(Fault::failed("the hub answered something else")),
            Err(fault) => Err(fault),
        };
        match pending {
            FilesPending::List(path) => self.dir_listed(id, &path, reply),
            FilesPending::Look(path) => self.looked(id, path, reply),
            FilesPending::Find => self.found(id, reply),
            FilesPending::Marks => self.marks_missing(id, reply.err()),
            FilesPending::Get { sandbox, path } => match reply {
                Ok(FilesReply::Copied(to)) => self.notice(Level::Info, &format!("copied to {to}")),
                Ok(FilesReply::Exists(to)) => self.ask_to_copy_over(sandbox, path, to),
                Ok(_) => {}
                Err(fault) => self.fault(&format!("copying {}", name_shown(&path)), &fault),
            },
            FilesPending::Fetch { sandbox, path } => match reply {
                Ok(FilesReply::Fetched { copy, .. }) if !self.is_at(&sandbox, &path) => {
                    self.drop_copy(copy);
                    let text = format!("{} was not opened: you went on", name_shown(&path));
                    self.notice(Level::Info, &text);
                }
                Ok(FilesReply::Fetched { copy, version }) => {
                    let pending = FilesPending::Edit { sandbox, path, copy: copy.clone(), version };
                    self.act_on_files(FilesAct::Edit(copy), pending);
                }
                Ok(_) => {}
                Err(fault) => self.fault(&format!("reading {}", name_shown(&path)), &fault),
            },
            FilesPending::Edit { sandbox, path, copy, version } => match reply {
                Ok(FilesReply::Edited { changed: true, wrong: None }) => {
                    let expected = version.map_or(Expected::Anything, Expected::Version);
                    self.send_copy(sandbox, path, copy, expected);
                }
                Ok(FilesReply::Edited { changed: true, wrong: Some(fault) }) => {
                    self.copy_stays("editing", &fault, &copy);
                }
                Ok(FilesReply::Edited { wrong: Some(fault), .. }) | Err(fault) => {
                    self.drop_copy(copy);
                    self.fault("editing", &fault);
                }
                Ok(_) => {
                    self.drop_copy(copy);
                    self.notice(Level::Info, "nothing was changed in it");
                }
            },
            FilesPending::Send { sandbox, path, copy } => self.sent(sandbox, path, copy, reply),
        }
    }

    fn dir_listed(&mut self, id: EffectId, path: &[u8], reply: Outcome<FilesReply>) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            let asked =
                |it: &mut crate::app::files::Dir| it.asked.take_if(|it| *it == id).is_some();
            if !it.tree.dir_mut(path).is_some_and(asked) {
                continue;
            }
            match reply {
                Ok(FilesReply::Listed { entries, more }) => {
                    it.change(|it| it.list(path, entries, more));
                    let wanted = it.tree.wanted.take();
                    if let Some(row) = wanted.as_ref().and_then(|it_| it.tree.row_of(it_)) {
                        it.cursor.move_to(row);
                    } else {
                        it.tree.wanted = wanted;
                    }
                }
                Ok(_) => {}
                Err(fault) => {
                    let why = fault.message().to_owned();
                    let gone = fault.kind() == Kind::Absent && path != it.tree.top();
                    if gone {
                        it.change(|it| it.close(path));
                    } else if let Some(dir) = it.tree.dir_mut(path) {
                        dir.wrong = Some(why);
                    }
                }
            }
            return;
        }
    }

    fn looked(&mut self, id: EffectId, path: Vec<u8>, reply: Outcome<FilesReply>) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            if it.looking.take_if(|it| it.0 == id).is_none() {
                continue;
            }
            match reply {
                Ok(FilesReply::Looked(preview)) => it.look(preview),
                Ok(_) => {}
                Err(fault) => {
                    it.preview = Some(Err((path, fault.message().to_owned())));
                    it.settle_lines();
                }
            }
            return;
        }
    }

    fn found(&mut self, id: EffectId, reply: Outcome<FilesReply>) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            let Some(found) = it.found.as_mut().filter(|it| it.asked == Some(id)) else { continue };
            found.asked = None;
            match reply {
                Ok(FilesReply::Found { hits, more }) => {
                    (found.hits, found.more) = (hits, more);
                    found.cursor.set_count(found.hits.len());
                }
                Ok(_) => {}
                Err(fault) => found.wrong = Some(fault.message().to_owned()),
            }
            it.settle_lines();
            return;
        }
    }

    /// Whether the operator still looks at a file, and at nothing over it.
    fn is_at(&self, sandbox: &SandboxId, path: &[u8]) -> bool {
        let state = &*self.state;
        let busy = state.grip.is_some() || state.copy.is_some() || state.overlay.is_some();
        let here = self.files().filter(|it| it.sandbox == *sandbox);
        !busy
            && state.line.is_none()
            && here.and_then(Files::to_look_at).is_some_and(|it| it == path)
    }

    fn ask_to_copy_over(&mut self, sandbox: SandboxId, path: Vec<u8>, to: PathBuf) {
        let lines = vec![
            format!("There is a file of yours: {}", visible(&to.to_string_lossy())),
            "What is in it now is lost.".to_owned(),
        ];
        let title = (format!("Copy {} over it?", name_shown(&path)), "copy over it");
        self.ask_first(Deed::CopyOver { sandbox, path, to }, title, Says::from(lines));
    }

    fn drop_copy(&mut self, copy: PathBuf) {
        self.start(Act::Files(Box::new(FilesAct::Drop(copy))), None);
    }

    /// What went wrong, and where the copy is, in one: both are wanted.
    fn copy_stays(&mut self, what: &str, fault: &Fault, copy: &Path) {
        let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
        let (why, copy) = (fault.message(), copy.display());
        self.notice(Level::Error, &format!("{what}: {why}{hint}; your copy stays at {copy}"));
    }

    fn marks_read(&mut self, id: EffectId, changes: &[crate::model::change::FileChange]) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            if it.marks_asked.take_if(|it| *it == id).is_some() {
                it.marks = Marks::new(it.workspace.as_deref().unwrap_or_default(), changes);
                it.marks_wrong = None;
            }
        }
    }

    /// The moment may be gone: then its marks are those since the beginning again, and that is said.
    fn marks_missing(&mut self, id: EffectId, fault: Option<Fault>) {
        let mut gone = None;
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            if it.marks_asked.take_if(|it| *it == id).is_none() {
                continue;
            }
            let absent = fault.as_ref().is_some_and(|it| it.kind() == Kind::Absent);
            gone = it.since.as_ref().filter(|_| absent).map(|it| it.1.clone());
            match &gone {
                Some(_) => it.mark_since(None),
                None => it.marks_wrong = fault.as_ref().map(|it| it.message().to_owned()),
            }
        }
        if let Some(label) = gone {
            let text = format!("snapshot {label} is no more; the marks are since the start");
            self.notice(Level::Warning, &text);
        }
    }

    fn sent(
        &mut self,
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: PathBuf,
        reply: Outcome<FilesReply>,
    ) {
        let shown = name_shown(&path);
        match reply {
            Ok(FilesReply::Written) => {
                self.drop_copy(copy);
                self.notice(Level::Info, &format!("{shown} is written"));
            }
            Ok(FilesReply::Changed) => {
                let lines = vec![
                    "It was changed in the sandbox while you edited it.".to_owned(),
                    "What it has there now is lost.".to_owned(),
                    format!("Your copy stays at {} if not.", copy.display()),
                ];
                let title = (format!("Write over {shown}?"), "write over it");
                self.ask_first(Deed::WriteOver { sandbox, path, copy }, title, Says::from(lines));
            }
            other => {
                let strange = || Fault::failed("the hub answered something else");
                let fault = other.err().unwrap_or_else(strange);
                self.copy_stays(&format!("writing {shown}"), &fault, &copy);
            }
        }
    }
}
