//! The mouse: to the program where it asked for it, else focus, scrollback and selection.

use super::Turn;
use crate::{
    app::{
        layout::PaneArea,
        msg::{Button, Mouse, MouseKind},
        pane::{Watch, first_row},
        state::{DOUBLE_CLICK_WITHIN, Overlay, Place, State},
    },
    vt::{
        key::{MouseButton, MouseEvent, MouseKind as Kind, encode_mouse},
        screen::MouseMode,
    },
};

impl State {
    /// By how many rows the wheel moves; 0 for a click, `None` for all else.
    pub(super) fn turned(&self, mouse: Mouse) -> Option<isize> {
        let lines = isize::try_from(self.config.scroll_lines).unwrap_or(3);
        match mouse.kind {
            MouseKind::WheelUp => Some(-lines),
            MouseKind::WheelDown => Some(lines),
            MouseKind::Down(Button::Left) => Some(0),
            _ => None,
        }
    }
}

impl Turn<'_> {
    pub(super) fn mouse(&mut self, mouse: Mouse) {
        // Moving about changes nothing unless a program wants to know.
        if mouse.kind == MouseKind::Moved {
            self.state.dirty = false;
        }
        if matches!(mouse.kind, MouseKind::Down(_)) {
            self.state.lost = None;
        }
        if self.state.overlay.is_some() || self.state.line.is_some() {
            return self.mouse_in_box(mouse);
        }
        self.state.typed.clear();
        let (x, y) = (mouse.column, mouse.row);
        let frame = self.state.frame.clone();
        if self.drag_divider(mouse) {
            return;
        }
        let again = self.is_double_click(mouse);
        if let Some(view) = frame.view {
            return self.mouse_in_view(mouse, view, again);
        }
        let pane = frame.panes.iter().find(|it| it.header.contains(x, y) || it.body.contains(x, y));
        if let Some((slot, ..)) = self.state.pressed {
            if let Some(pane) = frame.pane(slot) {
                return self.drag(mouse, *pane);
            }
            self.state.pressed = None;
        }
        match (pane, frame.fleet) {
            (Some(pane), _) if pane.header.contains(x, y) => self.mouse_on_header(mouse, *pane),
            (Some(pane), _) => {
                self.mouse_in_pane(mouse, *pane);
                if again && self.state.grip.is_none() {
                    self.state.pressed = None;
                    self.step_in();
                }
            }
            (None, Some((_, list))) if list.contains(x, y) => {
                let row = usize::from(y - list.y);
                self.mouse_in_fleet(mouse, row);
                let fleet = &self.state.fleet;
                let on_row = fleet.position_at(row) == Some(fleet.cursor());
                if again && on_row && !self.state.is_first_run() {
                    self.step_in();
                }
            }
            _ => {}
        }
    }

    /// The line between fleet and panes follows the mouse from press to release.
    fn drag_divider(&mut self, mouse: Mouse) -> bool {
        let divider = self.state.frame.divider;
        let on_it = divider.is_some_and(|it| it.contains(mouse.column, mouse.row));
        match mouse.kind {
            MouseKind::Down(Button::Left) if on_it => self.state.dragging = Some(mouse.column),
            MouseKind::Drag(Button::Left) if self.state.dragging.is_some() => {
                self.state.fleet_columns = Some(mouse.column);
            }
            MouseKind::Up(Button::Left) if self.state.dragging.is_some() => {
                self.state.dragging = None;
            }
            _ => {
                self.state.dragging = None;
                return false;
            }
        }
        true
    }

    /// Whether this is the second press of the left button on one cell within a moment.
    fn is_double_click(&mut self, mouse: Mouse) -> bool {
        if mouse.kind != MouseKind::Down(Button::Left) {
            return false;
        }
        let now = self.state.now.since_start;
        let here = (mouse.column, mouse.row);
        let before = self.state.clicked.replace((now, here.0, here.1));
        let again =
            before.is_some_and(|(at, x, y)| (x, y) == here && now < at + DOUBLE_CLICK_WITHIN);
        if again {
            self.state.clicked = None;
        }
        again
    }

    fn mouse_in_box(&mut self, mouse: Mouse) {
        let rows = match mouse.kind {
            MouseKind::WheelUp => -1,
            MouseKind::WheelDown => 1,
            _ => return,
        };
        match &mut self.state.overlay {
            Some(Overlay::Palette(palette)) => palette.step(rows),
            Some(Overlay::Help(help)) => {
                let last = help.lines(&self.state.keymap).len().saturating_sub(1);
                help.top = help.top.saturating_add_signed(rows * 3).min(last);
            }
            Some(Overlay::Notices { top } | Overlay::Info { top, .. }) => {
                *top = top.saturating_add_signed(rows).min(199);
            }
            _ => {}
        }
    }

    fn mouse_in_fleet(&mut self, mouse: Mouse, row: usize) {
        match mouse.kind {
            MouseKind::Down(Button::Left) if self.state.is_first_run() => {
                let first = usize::from(crate::app::update::FIRST_RUN_TOP);
                let choices = self.state.first_choices().len();
                if let Some(choice) = row.checked_sub(first).filter(|it| *it < choices) {
                    let again = self.state.first_choice == choice;
                    self.state.first_choice = choice;
                    if again {
                        self.first_run_choice();
                    }
                }
            }
            MouseKind::Down(Button::Left) => {
                if self.state.grip.is_some() {
                    self.leave();
                }
                self.state.place = Place::Fleet;
                if let Some(position) = self.state.fleet.position_at(row) {
                    self.state.fleet.move_to(position);
                }
            }
            MouseKind::WheelUp if self.state.grip.is_none() => self.state.fleet.move_by(-1),
            MouseKind::WheelDown if self.state.grip.is_none() => self.state.fleet.move_by(1),
            _ => {}
        }
    }

    fn mouse_on_header(&mut self, mouse: Mouse, pane: PaneArea) {
        if mouse.kind != MouseKind::Down(Button::Left) {
            return;
        }
        let button = self.state.button(pane.slot);
        let clicked = button.filter(|it| pane.button(it).contains(mouse.column, mouse.row));
        let typing = self.state.grip.is_some() && self.state.grid.tab().focus() == pane.slot;
        match clicked {
            Some(_) if typing => self.leave(),
            Some(_) => self.step_in(),
            None if typing => {}
            None => self.focus_pane(pane.slot),
        }
    }

    /// Looks at a pane; typing into another one ends.
    fn focus_pane(&mut self, slot: usize) {
        if self.state.grip.is_some() && self.state.grid.tab().focus() != slot {
            self.leave();
        }
        if self.state.grip.is_none() {
            if self.state.grid.tab().focus() != slot {
                self.state.copy = None;
            }
            self.state.place = Place::Panes;
            self.state.grid.tab_mut().set_focus(slot);
        }
    }

    fn mouse_in_pane(&mut self, mouse: Mouse, pane: PaneArea) {
        let focused = self.state.grid.tab().focus() == pane.slot;
        if focused && self.state.grip.is_some() && self.reaches_program(mouse, pane) {
            return;
        }
        let lines = isize::try_from(self.state.config.scroll_lines).unwrap_or(3);
        match mouse.kind {
            MouseKind::Down(Button::Left) => {
                let typing = focused && self.state.grip.is_some();
                if !typing {
                    self.focus_pane(pane.slot);
                }
                self.state.pressed = Some((pane.slot, mouse.column, mouse.row));
            }
            MouseKind::WheelUp | MouseKind::WheelDown => {
                self.focus_pane(pane.slot);
                self.wheel(if mouse.kind == MouseKind::WheelUp { -lines } else { lines });
            }
            _ => {}
        }
    }

    /// Hands the event to the program; `false` when it did not ask for such.
    fn reaches_program(&mut self, mouse: Mouse, pane: PaneArea) -> bool {
        let Some(session) = self.state.grip.as_ref().map(|it| it.session.clone()) else {
            return false;
        };
        let screen = self.state.watches.get(&session).and_then(Watch::screen);
        let Some(screen) = screen else { return false };
        let (modes, size) = (screen.modes(), screen.size());
        let row = first_row(screen, pane.body.height) + (mouse.row - pane.body.y);
        let col = mouse.column - pane.body.x;
        let inside = row < size.rows() && col < size.cols();
        if modes.mouse == MouseMode::Off {
            return self.wheel_as_arrows(mouse, modes.alternate_screen && modes.alternate_scroll);
        }
        let button = |it| match it {
            Button::Left => MouseButton::Left,
            Button::Middle => MouseButton::Middle,
            Button::Right => MouseButton::Right,
        };
        let kind = match mouse.kind {
            MouseKind::Down(it) => Kind::Press(button(it)),
            MouseKind::Up(it) => Kind::Release(button(it)),
            MouseKind::Drag(it) => Kind::Motion(Some(button(it))),
            MouseKind::Moved => Kind::Motion(None),
            MouseKind::WheelUp => Kind::WheelUp,
            MouseKind::WheelDown => Kind::WheelDown,
            MouseKind::WheelLeft => Kind::WheelLeft,
            MouseKind::WheelRight => Kind::WheelRight,
        };
        let event = MouseEvent { kind, row, col, mods: mouse.mods };
        if let Some(bytes) = encode_mouse(event, &modes).filter(|_| inside) {
            self.type_bytes(bytes);
        }
        true
    }

    /// On the alternate screen there is nothing to scroll back to: the wheel moves the cursor.
    fn wheel_as_arrows(&mut self, mouse: Mouse, wanted: bool) -> bool {
        use crate::vt::key::{Key, KeyPress, Stroke};
        let key = match mouse.kind {
            MouseKind::WheelUp => Key::Up,
            MouseKind::WheelDown => Key::Down,
            _ => return false,
        };
        if wanted {
            for _ in 0..self.state.config.scroll_lines {
                let stroke = Stroke::Press;
                self.type_key(KeyPress { key, mods: <_>::default(), stroke });
            }
        }
        wanted
    }

    /// With the button held: selects, and on letting go copies.
    fn drag(&mut self, mouse: Mouse, pane: PaneArea) {
        let Some((slot, x, y)) = self.state.pressed else { return };
        let within = |at: u16, from: u16, count: u16| {
            usize::from(at.clamp(from, from + count.saturating_sub(1)) - from)
        };
        let row = within(mouse.row, pane.body.y, pane.body.height);
        let column = within(mouse.column, pane.body.x, pane.body.width);
        match mouse.kind {
            MouseKind::Drag(Button::Left) => {
                if self.state.copy.is_none() {
                    if self.state.grid.tab().focus() != slot {
                        return;
                    }
                    self.open_scrollback();
                    let from_row = within(y, pane.body.y, pane.body.height);
                    let from_column = within(x, pane.body.x, pane.body.width);
                    if let Some(copy) = &mut self.state.copy {
                        copy.by_mouse = true;
                        copy.point(from_row, from_column);
                        copy.toggle_selection(false);
                    }
                }
                if let Some(copy) = &mut self.state.copy {
                    if copy.selection.is_none() {
                        copy.point(row, column);
                        copy.toggle_selection(false);
                    }
                    copy.point(row, column);
                    // Past an edge the window follows.
                    if mouse.row < pane.body.y {
                        copy.move_lines(-1);
                    }
                }
            }
            MouseKind::Up(Button::Left) => {
                self.state.pressed = None;
                if self.state.copy.as_ref().is_some_and(|it| it.selection.is_some()) {
                    self.copy_selection();
                }
            }
            MouseKind::Down(_) => {
                self.state.pressed = None;
                self.mouse(mouse);
            }
            _ => {}
        }
    }
}
