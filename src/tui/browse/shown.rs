//! A file as it is shown: as text with colours, or as bytes. All of it is safe to draw, and bounded.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{image, syntax};
use crate::{
    app::files::{Body, How, Preview, ShownLine},
    base::{
        fault::{Fault, Outcome},
        limits::{
            CONSOLE_FILE_BYTES_MAX, CONSOLE_FILE_LINE_BYTES_MAX, CONSOLE_FILE_LINES_MAX,
            CONSOLE_PICTURE_POINTS_MAX,
        },
        text::visible,
        units::human_bytes,
    },
    model::file::{FileEntry, name_shown, split},
    tui::pictures::Means,
};

/// A file with a zero byte among so many is shown as bytes.
const LOOKED_AT_FOR_ZEROS: usize = 8 * 1024;
const BYTES_IN_A_ROW: usize = 16;
const TAB_CELLS: usize = 4;
/// How long a picture may take to be unpacked and made small.
const PICTURE_WITHIN: Duration = Duration::from_secs(5);

/// Makes ready what was read of a file, from so many bytes after its start; one byte more than is shown says that
/// there is more.
pub async fn preview(
    path: Vec<u8>,
    entry: FileEntry,
    offset: u64,
    mut bytes: Vec<u8>,
    how: How,
) -> Outcome<Preview> {
    let most = usize::try_from(CONSOLE_FILE_BYTES_MAX).unwrap_or(usize::MAX);
    let more = bytes.len() > most;
    bytes.truncate(most);
    let name = split(&path).map(|it| name_shown(it.1)).unwrap_or_default();
    let is_text = !bytes.iter().take(LOOKED_AT_FOR_ZEROS).any(|it| *it == 0);
    let body = match how {
        How::Text if is_text => {
            let lines = lines(&bytes, offset > 0);
            let texts = lines.iter().map(|it| it.text.clone()).collect();
            Body::Text(syntax::coloured(&name, texts).await.unwrap_or(lines))
        }
        _ => {
            let rows = tokio::task::spawn_blocking(move || hex(&bytes, offset));
            Body::Hex(rows.await.map_err(|it| Fault::bug(format!("showing bytes: {it}")))?)
        }
    };
    let size = entry.size_bytes.unwrap_or_default();
    let note = (offset > 0 || more).then(|| {
        let end = if offset > 0 { "last" } else { "first" };
        format!("the {end} {} of {}", human_bytes(CONSOLE_FILE_BYTES_MAX), human_bytes(size))
    });
    Ok(Preview { path, entry, body, offset, more, note, room: (0, 0), graphic: None })
}

/// Makes a picture ready; `None` for what is none, or takes too long. No second one is begun until then.
pub async fn picture(
    path: &[u8],
    entry: FileEntry,
    bytes: Vec<u8>,
    room: (u16, u16),
    means: Means,
) -> Option<Preview> {
    static TURN: OnceLock<Arc<Semaphore>> = OnceLock::new();
    let turns = TURN.get_or_init(|| Arc::new(Semaphore::new(1)));
    let turn = Arc::clone(turns).try_acquire_owned().ok()?;
    let most = usize::try_from(CONSOLE_PICTURE_POINTS_MAX).unwrap_or(usize::MAX);
    let work = tokio::task::spawn_blocking(move || {
        let shown = image::shown(&bytes, room, most, means);
        drop(turn);
        shown
    });
    let made = tokio::time::timeout(PICTURE_WITHIN, work).await.ok()?.ok()??;
    let image::Shown { rows, graphic, size: (width, height) } = made;
    Some(Preview {
        path: path.to_vec(),
        entry,
        body: Body::Picture(rows),
        offset: 0,
        more: false,
        note: Some(format!("{width}x{height} points")),
        room,
        graphic: graphic.map(Arc::new),
    })
}

/// Lines of a text; where it begins in the middle, the first one is half and left out.
fn lines(bytes: &[u8], begun: bool) -> Vec<ShownLine> {
    let mut all: Vec<&[u8]> = bytes.split(|it| *it == b'\n').collect();
    if all.last().is_some_and(|it| it.is_empty()) {
        all.pop();
    }
    let skipped = usize::from(begun && all.len() > 1);
    let all = all.into_iter().skip(skipped).take(CONSOLE_FILE_LINES_MAX);
    all.map(|it| ShownLine { text: line(it), spans: Vec::new() }).collect()
}

fn line(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let cut = bytes.len() > CONSOLE_FILE_LINE_BYTES_MAX;
    let kept = bytes.get(..CONSOLE_FILE_LINE_BYTES_MAX).unwrap_or(bytes);
    let mut out = String::with_capacity(kept.len());
    for chunk in kept.utf8_chunks() {
        for (at, piece) in chunk.valid().split('\t').enumerate() {
            if at > 0 {
                let cells = out.chars().count();
                out.push_str(&" ".repeat(TAB_CELLS - cells % TAB_CELLS));
            }
            out.push_str(&visible(piece));
        }
        if !cut || !chunk.invalid().is_empty() {
            chunk.invalid().iter().for_each(|it| out.push_str(&format!("<{it:02X}>")));
        }
    }
    if cut {
        out.push('…');
    }
    out
}

/// Rows of bytes, as `xxd` writes them.
fn hex(bytes: &[u8], offset: u64) -> Vec<String> {
    let rows = bytes.chunks(BYTES_IN_A_ROW).take(CONSOLE_FILE_LINES_MAX).enumerate();
    rows.map(|(at, row)| {
        let mut out = format!("{:08x}  ", offset + (at * BYTES_IN_A_ROW) as u64);
        for half in 0..BYTES_IN_A_ROW {
            match row.get(half) {
                Some(byte) => out.push_str(&format!("{byte:02x} ")),
                None => out.push_str("   "),
            }
            if half + 1 == BYTES_IN_A_ROW / 2 {
                out.push(' ');
            }
        }
        out.push(' ');
        let letter = |it: &u8| if (0x20..0x7f).contains(it) { char::from(*it) } else { '.' };
        out.extend(row.iter().map(letter));
        out
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_acts_on_a_terminal() {
        assert_eq!(line(b"a\tb\x1b[2Jc\xff\r"), "a   b\u{241b}[2Jc<FF>");
        assert_eq!(line("x\u{202e}y".as_bytes()), "x<U+202E>y");
        let long = line(&[b'x'; 10_000]);
        assert!(long.ends_with('…') && long.len() < 5000);
        let long = line("ä".repeat(10_000).as_bytes());
        assert!(long.ends_with('…') && long.len() < 5000);
    }

    #[test]
    fn a_text_has_as_many_lines_as_it_ends() {
        let count = |text: &str| lines(text.as_bytes(), false).len();
        assert_eq!((count(""), count("a"), count("a\n"), count("a\n\nb")), (0, 1, 1, 3));
        assert_eq!(lines(b"half\nwhole\n", true).len(), 1);
    }

    #[test]
    fn bytes_are_shown_with_their_places_and_letters() {
        let rows = hex(b"\x7fELF\0abc-defghijk", 0x20);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0],
            "00000020  7f 45 4c 46 00 61 62 63  2d 64 65 66 67 68 69 6a  .ELF.abc-defghij"
        );
        assert!(rows[1].starts_with("00000030  6b ") && rows[1].ends_with(" k"));
    }
}
