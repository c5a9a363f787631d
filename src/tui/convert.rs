//! What crossterm says, in our own words. Events we have no word for are dropped here.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::{
    app::msg::{Button, Mouse, MouseKind, Msg},
    vt::key::{Key, KeyPress, Mods, Stroke},
};

pub fn message(event: Event) -> Option<Msg> {
    match event {
        Event::Key(event) => key(event).map(Msg::Key),
        Event::Mouse(event) => Some(Msg::Mouse(mouse(event))),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::FocusGained => Some(Msg::Focus(true)),
        Event::FocusLost => Some(Msg::Focus(false)),
        Event::Resize(cols, rows) => Some(Msg::Resize(cols, rows)),
    }
}

fn key(event: KeyEvent) -> Option<KeyPress> {
    let key = match event.code {
        KeyCode::Char(it) => Key::Char(it),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Insert => Key::Insert,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::F(number) => Key::F(number),
        _ => return None,
    };
    let stroke = match event.kind {
        KeyEventKind::Press => Stroke::Press,
        KeyEventKind::Repeat => Stroke::Repeat,
        KeyEventKind::Release => Stroke::Release,
    };
    Some(KeyPress { key, mods: mods(event.modifiers), stroke })
}

fn mods(held: KeyModifiers) -> Mods {
    Mods {
        ctrl: held.contains(KeyModifiers::CONTROL),
        alt: held.intersects(KeyModifiers::ALT | KeyModifiers::META),
        shift: held.contains(KeyModifiers::SHIFT),
        cmd: held.intersects(KeyModifiers::SUPER | KeyModifiers::HYPER),
    }
}

fn mouse(event: MouseEvent) -> Mouse {
    let button = |it| match it {
        MouseButton::Left => Button::Left,
        MouseButton::Middle => Button::Middle,
        MouseButton::Right => Button::Right,
    };
    let kind = match event.kind {
        MouseEventKind::Down(it) => MouseKind::Down(button(it)),
        MouseEventKind::Up(it) => MouseKind::Up(button(it)),
        MouseEventKind::Drag(it) => MouseKind::Drag(button(it)),
        MouseEventKind::Moved => MouseKind::Moved,
        MouseEventKind::ScrollUp => MouseKind::WheelUp,
        MouseEventKind::ScrollDown => MouseKind::WheelDown,
        MouseEventKind::ScrollLeft => MouseKind::WheelLeft,
        MouseEventKind::ScrollRight => MouseKind::WheelRight,
    };
    Mouse { kind, column: event.column, row: event.row, mods: mods(event.modifiers) }
}
