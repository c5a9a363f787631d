//! Scrollback: moving, searching, selecting, copying, and loading what is older.

use std::time::Duration;

use super::Turn;
use crate::{
    app::{
        action::Action,
        copy::{Copy, Opened, PAGE_LINES},
        effect::Act,
        pane::{Feed, Watch},
        state::{LineKind, Pending, Place},
        view::Left,
    },
    base::{id::SessionId, limits::CLIPBOARD_BYTES_MAX},
    model::{
        event::Level,
        history::{HistoryMark, HistoryPage, HistoryRequest, SearchPage, SearchRequest},
    },
    vt::key::Key,
};

impl Turn<'_> {
    /// Actions of scrollback, and the one that opens it.
    pub(super) fn scroll_action(&mut self, action: Action, argument: &str) -> bool {
        match action {
            Action::Scrollback => {
                if argument.is_empty() || self.show_named(argument) {
                    self.open_scrollback();
                }
                return true;
            }
            Action::ScrollSearch if !argument.is_empty() => {
                self.search(argument);
                return true;
            }
            Action::ScrollSearch => {
                if self.state.copy.is_none() {
                    self.open_scrollback();
                }
                if self.state.copy.is_some() {
                    self.open_line(LineKind::Search, "");
                }
                return true;
            }
            Action::ScrollLive if self.stop_searching() => return true,
            _ => {}
        }
        let Some(copy) = &mut self.state.copy else { return false };
        let half = isize::try_from(copy.height() / 2).unwrap_or(1).max(1);
        match action {
            Action::ScrollDown => self.scroll_lines(1),
            Action::ScrollUp => self.scroll_lines(-1),
            Action::ScrollHalfDown => self.scroll_lines(half),
            Action::ScrollHalfUp => self.scroll_lines(-half),
            Action::ScrollLeft => copy.move_columns(-1),
            Action::ScrollRight => copy.move_columns(1),
            Action::ScrollLineStart => copy.to_line_edge(false),
            Action::ScrollLineEnd => copy.to_line_edge(true),
            Action::ScrollTop => self.go_to_start(),
            Action::ScrollLive => self.close_scrollback(),
            Action::ScrollOlder => self.find(true),
            Action::ScrollNewer => self.find(false),
            Action::Select => copy.toggle_selection(false),
            Action::SelectLines => copy.toggle_selection(true),
            Action::Copy => self.copy_selection(),
            _ => return false,
        }
        true
    }

    /// Freezes the session that is looked at; nothing on screen moves.
    pub(super) fn open_scrollback(&mut self) {
        let Some(session) = self.state.aim().cloned() else {
            return self.notice(Level::Info, "there is no session to look back into");
        };
        let grip = self.state.grip.take();
        let opened = match self.state.place {
            _ if grip.as_ref().is_some_and(|it| it.session == session) => Opened::Typing,
            Place::Fleet => Opened::Fleet,
            Place::Panes => Opened::Pane,
        };
        // Looking back needs no keyboard, and moves nothing on screen.
        if let Some(grip) = grip {
            self.let_go(grip);
        }
        if opened == Opened::Fleet {
            self.show(&session);
        }
        let slot = self.state.grid.tab().focus();
        let height = self.state.frame.pane(slot).map_or(24, |it| it.body.height);
        let watch = self.state.watches.get(&session);
        let mut copy = Copy::new(session.clone(), watch, usize::from(height));
        copy.opened = opened;
        self.state.copy = Some(copy);
        self.state.place = Place::Panes;
        // What was only passed by is looked at now, and watched at once; nothing else is waited for.
        self.state.rest.come();
        self.state.awaited = None;
    }

    /// Back to live, and to where it was opened.
    fn close_scrollback(&mut self) {
        let Some(copy) = self.state.copy.take() else { return };
        match copy.opened {
            Opened::Typing => self.type_again(&copy.session),
            Opened::Fleet => self.state.return_to_fleet(),
            Opened::Pane => {}
        }
    }

    /// To the oldest line there is, wherever the window is.
    fn go_to_start(&mut self) {
        let Some(copy) = &mut self.state.copy else { return };
        copy.to_top();
        if copy.at_start || copy.loading {
            return;
        }
        let (session, until) = (copy.session.clone(), copy.until());
        let end = HistoryMark { segment: 0, line: PAGE_LINES };
        let request = HistoryRequest { before: Some(end), until, lines: PAGE_LINES };
        let act = Act::History { session: session.clone(), request };
        let started = self.start(act, Some(Pending::Oldest(session))).is_some();
        if let Some(copy) = &mut self.state.copy {
            copy.loading = started;
        }
    }

    /// The first page there is; without one what is older is loaded step by step.
    pub(super) fn started_at(&mut self, session: &SessionId, page: HistoryPage) {
        let Some(copy) = self.state.copy.as_mut().filter(|it| it.session == *session) else {
            return;
        };
        copy.show_start(page);
    }

    /// esc ends a search that goes on, and nothing else.
    fn stop_searching(&mut self) -> bool {
        let esc = matches!(self.state.last_key, Some(Key::Esc));
        let Some((id, _)) = self.state.searching.take_if(|_| esc) else { return false };
        self.cancel(id);
        self.notice(Level::Info, "no longer searched for");
        true
    }

    /// Nobody waits for a search whose scrollback is closed.
    pub(super) fn end_search_of_closed(&mut self) {
        let open = self.state.copy.is_some();
        if let Some((id, _)) = self.state.searching.take_if(|_| !open) {
            self.cancel(id);
        }
    }

    fn scroll_lines(&mut self, lines: isize) {
        let Some(copy) = &mut self.state.copy else { return };
        if copy.move_lines(lines) && copy.detached {
            self.show_newest();
        }
    }

    /// The newest lines were let go for older ones: gets them again.
    fn show_newest(&mut self) {
        let Some(copy) = &mut self.state.copy else { return };
        let session = copy.session.clone();
        let watch = self.state.watches.get(&session);
        let mut fresh = Copy::new(session.clone(), watch, copy.height());
        fresh.opened = copy.opened;
        fresh.pattern = copy.pattern.take();
        self.state.copy = Some(fresh);
    }

    /// The wheel: at the live end it leaves scrollback again.
    pub(super) fn wheel(&mut self, lines: isize) {
        if self.state.copy.is_none() {
            if lines >= 0 {
                return;
            }
            self.open_scrollback();
        }
        let Some(copy) = &mut self.state.copy else { return };
        let at_end = copy.scroll(lines);
        if at_end && lines > 0 && copy.selection.is_none() {
            if copy.detached {
                return self.show_newest();
            }
            self.close_scrollback();
        }
    }

    /// Takes the picture where scrollback was opened before it came, and asks for the next older page
    /// when the window comes near the oldest line.
    pub(super) fn load_scrollback(&mut self) {
        let Some(copy) = &mut self.state.copy else { return };
        let watch = self.state.watches.get(&copy.session);
        if copy.lacks_picture() {
            match watch {
                Some(watch) if watch.screen().is_some() => {
                    copy.picture(watch);
                    self.state.dirty = true;
                }
                // What is older ends where the picture begins.
                None => return,
                Some(Watch { feed: Feed::Waiting | Feed::Live, .. }) => return,
                // It will not come.
                Some(Watch { feed: Feed::Over | Feed::Broken { .. }, .. }) => {}
            }
        }
        if !copy.wants_older() {
            return;
        }
        let session = copy.session.clone();
        let (before, until) = (copy.oldest(), copy.until());
        let request = HistoryRequest { before, until, lines: PAGE_LINES };
        let act = Act::History { session: session.clone(), request };
        let started = self.start(act, Some(Pending::Older(session))).is_some();
        if let Some(copy) = &mut self.state.copy {
            (copy.loading, copy.at_start) = (started, !started);
        }
    }

    pub(super) fn search(&mut self, pattern: &str) {
        if self.state.copy.is_none() {
            self.open_scrollback();
        }
        let Some(copy) = &mut self.state.copy else { return };
        match copy.look_for(pattern) {
            Ok(()) if pattern.is_empty() => {}
            Ok(()) => self.find(true),
            Err(why) => self.notice(Level::Error, &format!("the pattern: {why}")),
        }
    }

    /// The next match: among what is loaded, else, going back, from the hub.
    fn find(&mut self, older: bool) {
        let Some(copy) = &mut self.state.copy else { return };
        let Some((pattern, _)) = &copy.pattern else {
            let key = self.state.key_words(Action::ScrollSearch);
            return self.notice(Level::Info, &format!("nothing was searched for yet; {key} does"));
        };
        let pattern = pattern.clone();
        if copy.find(older) {
            // What was said of the search before is over.
            return self.hint_was_followed();
        }
        if self.state.searching.is_some() {
            return;
        }
        if !older {
            return self.find_left();
        }
        if copy.at_start {
            return self.no_older_match();
        }
        let session = copy.session.clone();
        let before = copy.oldest().or_else(|| copy.mark_at_cursor());
        let since = self.state.now.since_start;
        self.search_older(session, pattern, before, since);
    }

    fn no_older_match(&mut self) {
        let Some(copy) = &self.state.copy else { return };
        let text = match &copy.pattern {
            Some((pattern, _)) if !copy.has_match() => format!("{pattern}: not found"),
            _ => "no older match".to_owned(),
        };
        self.notice(Level::Info, &text);
        self.spoke = true;
    }

    /// Towards the present, beyond what is loaded: to the match that was left for an older one.
    fn find_left(&mut self) {
        let Some(copy) = &mut self.state.copy else { return };
        let session = copy.session.clone();
        match copy.last_left() {
            Some((Some(mark), number)) => self.jump_to(session, mark, number),
            // It was on the screen itself.
            Some((None, _)) => {
                self.show_newest();
                if let Some(copy) = &mut self.state.copy {
                    copy.find(true);
                }
            }
            None => self.notice(Level::Info, "no newer match"),
        }
    }

    /// `since` is when the operator asked: the hub may have to be asked more than once.
    fn search_older(
        &mut self,
        session: SessionId,
        pattern: String,
        before: Option<HistoryMark>,
        since: Duration,
    ) {
        let until = self.state.copy.as_ref().and_then(Copy::until);
        let what = format!("searching for {pattern}");
        let request = SearchRequest { pattern, before, until, hits: 1 };
        let act = Act::Search { session: session.clone(), request };
        let id = self.begin(act, Pending::Search(session), what, Left::Ended);
        if let Some(work) = id.and_then(|it| self.state.works.get_mut(&it)) {
            work.since = since;
        }
        self.state.searching = id.map(|it| (it, since));
    }

    /// What the hub found; it searches a bounded stretch at a time.
    pub(super) fn searched(&mut self, session: SessionId, page: &SearchPage) {
        let since = self.state.searching.take().map_or(self.state.now.since_start, |it| it.1);
        // Scrollback was closed meanwhile.
        let Some(copy) = self.state.copy.as_mut().filter(|it| it.session == session) else {
            return;
        };
        let pattern = copy.pattern.as_ref().map(|(text, _)| text.clone());
        match (page.hits.first(), page.next, pattern) {
            (Some(hit), ..) => {
                let number = copy.leave_match();
                self.jump_to(session, hit.mark, number);
            }
            (None, Some(next), Some(pattern)) => {
                self.search_older(session, pattern, Some(next), since);
            }
            (None, ..) => self.no_older_match(),
        }
    }

    /// A hit further back than what is loaded: shows a page around it.
    fn jump_to(&mut self, session: SessionId, hit: HistoryMark, number: usize) {
        let below = self.state.copy.as_ref().map_or(24, Copy::height) / 2;
        let below = u32::try_from(below).unwrap_or(12);
        let end = HistoryMark { line: hit.line.saturating_add(below + 1), ..hit };
        let until = self.state.copy.as_ref().and_then(Copy::until);
        let request = HistoryRequest { before: Some(end), until, lines: PAGE_LINES };
        let act = Act::History { session: session.clone(), request };
        self.start(act, Some(Pending::Jump { session, hit, number }));
    }

    pub(super) fn copy_selection(&mut self) {
        let Some(copy) = &mut self.state.copy else { return };
        let live = copy.by_mouse;
        match copy.selected_text() {
            Ok(text) if text.is_empty() => self.notice(Level::Info, "there is nothing to copy"),
            Ok(text) => {
                copy.selection = None;
                self.clipboard(text);
            }
            Err(bytes) => {
                let text = format!(
                    "the selection has {bytes} bytes, more than the {CLIPBOARD_BYTES_MAX} that \
                     terminals take; not copied"
                );
                self.notice(Level::Error, &text);
            }
        }
        if live {
            self.close_scrollback();
        }
    }
}
