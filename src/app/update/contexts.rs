//! Hubs that come to this console and go: contexts.toml is changed, and followed from there.

use super::Turn;
use crate::{
    app::{
        Link,
        dialog::Deed,
        effect::{Act, ContextChange},
        state::{LineKind, Pending},
    },
    base::{
        secret::Secret,
        text::{count, visible},
    },
    config::contexts::ContextName,
    model::{event::Level, invite},
};

impl Turn<'_> {
    /// Those that are down are not waited for any longer.
    pub(super) fn reconnect(&mut self) {
        let looks = match &self.state.link {
            Link::Down { .. } => 1.max(self.state.hubs.down()),
            _ => self.state.hubs.down(),
        };
        if looks == 0 {
            return self.notice(Level::Info, "no hub is down");
        }
        self.start(Act::LookNow, None);
        self.notice(Level::Info, &format!("looking for {}", count(looks, "hub")));
    }

    /// `add NAME PLACE` or `rm NAME`.
    pub(super) fn change_contexts(&mut self, argument: &str) {
        let words: Vec<&str> = argument.split_whitespace().collect();
        let name = words.get(1).map(|it| it.parse::<ContextName>());
        match (words.as_slice(), name) {
            ([], _) => self.open_line(LineKind::Command, "context "),
            (["add", _, place], Some(Ok(name))) => {
                let doing = format!("adding {name}");
                let done = format!("{name} is a hub of this console");
                let place = Secret::new((*place).to_owned());
                self.notice(Level::Info, &doing);
                let change = ContextChange::Add { name, place };
                self.start_contexts(change, doing, done);
            }
            (["rm", _], Some(Ok(name))) => self.ask_context_gone(name),
            // What lets somebody in is in no notice.
            (["add" | "rm", first, ..], _) if invite::is_in(first) => {
                self.notice(Level::Error, "the name comes first: `context add NAME INVITE`");
            }
            (["add", wrong, _] | ["rm", wrong], Some(Err(why))) => {
                self.notice(Level::Error, &visible(&format!("{why}: {wrong}")));
            }
            _ => {
                let text = "`context` takes `add NAME INVITE|ADDRESS` or `rm NAME`";
                self.notice(Level::Error, text);
            }
        }
    }

    fn ask_context_gone(&mut self, name: ContextName) {
        let Some(hub) = self.state.hubs.named(name.as_str()) else {
            let text = format!("no context `{name}` here");
            return self.notice(Level::Error, &text);
        };
        let lines = vec![
            format!("{} is asked nothing more; what runs there goes on.", visible(&hub.address)),
            "Keys to it that lie here are removed; another invitation gives others.".to_owned(),
        ];
        let title = (format!("Take {name} out?"), "take it out");
        self.ask_first(Deed::RemoveContext(name), title, lines.into());
    }

    pub(super) fn remove_context(&mut self, name: ContextName) {
        let doing = format!("taking {name} out");
        let done = format!("{name} was taken out");
        self.start_contexts(ContextChange::Remove(name), doing, done);
    }

    fn start_contexts(&mut self, change: ContextChange, doing: String, done: String) {
        self.start(Act::Contexts(Box::new(change)), Some(Pending::Contexts { doing, done }));
    }
}
