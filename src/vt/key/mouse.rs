//! Mouse events as the bytes a program expects, if it asked for them.

use super::Mods;
use crate::vt::screen::{Modes, MouseEncoding, MouseMode};

/// A mouse button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MouseButton {
    Left,
    Middle,
    Right,
}

/// What the mouse did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MouseKind {
    Press(MouseButton),
    Release(MouseButton),
    /// Moved with a button held, or with none.
    Motion(Option<MouseButton>),
    WheelUp,
    WheelDown,
    WheelLeft,
    WheelRight,
}

/// One mouse event; row and column count from 0 at the top left of the program's screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MouseEvent {
    pub kind: MouseKind,
    pub row: u16,
    pub col: u16,
    pub mods: Mods,
}

/// Writes a mouse event; `None` when the program did not ask for it or it can't be said.
pub fn encode_mouse(event: MouseEvent, modes: &Modes) -> Option<Vec<u8>> {
    if matches!(
        (modes.mouse, event.kind),
        (MouseMode::Off, _)
            | (MouseMode::Press, MouseKind::Release(_) | MouseKind::Motion(_))
            | (MouseMode::PressRelease, MouseKind::Motion(_))
            | (MouseMode::ButtonMotion, MouseKind::Motion(None))
    ) {
        return None;
    }
    let released = matches!(event.kind, MouseKind::Release(_));
    let mut code = match event.kind {
        // Only SGR says which button was released.
        MouseKind::Release(_) if modes.mouse_encoding != MouseEncoding::Sgr => 3,
        MouseKind::Press(it) | MouseKind::Release(it) => button(it),
        MouseKind::Motion(it) => 32 + it.map_or(3, button),
        MouseKind::WheelUp => 64,
        MouseKind::WheelDown => 65,
        MouseKind::WheelLeft => 66,
        MouseKind::WheelRight => 67,
    };
    if modes.mouse != MouseMode::Press {
        code += 4 * u32::from(event.mods.shift)
            + 8 * u32::from(event.mods.alt)
            + 16 * u32::from(event.mods.ctrl);
    }
    let (col, row) = (u32::from(event.col) + 1, u32::from(event.row) + 1);
    match modes.mouse_encoding {
        MouseEncoding::Sgr => {
            let end = if released { 'm' } else { 'M' };
            Some(format!("\x1b[<{code};{col};{row}{end}").into_bytes())
        }
        MouseEncoding::Utf8 => {
            let mut out = String::from("\x1b[M");
            for it in [code, col, row] {
                out.push(char::from_u32(it + 32).filter(|it| *it <= '\u{7ff}')?);
            }
            Some(out.into_bytes())
        }
        MouseEncoding::Legacy => {
            let mut out = b"\x1b[M".to_vec();
            for it in [code, col, row] {
                out.push(u8::try_from(it + 32).ok()?);
            }
            Some(out)
        }
    }
}

fn button(it: MouseButton) -> u32 {
    match it {
        MouseButton::Left => 0,
        MouseButton::Middle => 1,
        MouseButton::Right => 2,
    }
}
