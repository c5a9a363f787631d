//! A recording as asciicast v3: a header line, then one line per event with the time since the
//! event before it.

use std::{fmt::Write, path::Path};

use bytes::Bytes;

use super::{
    meta::Meta,
    reader::Reader,
    record::Record,
    replay::{extent, replay},
    segment::Entry,
};
use crate::{
    base::{clock::Timestamp, fault::Outcome, limits::PTY_CHUNK_BYTES_MAX, units::Size},
    model::replay::{Moment, Span, not_recorded},
    vt::Screen,
};

/// The recording or a part of it, in pieces of about 32 KiB; a live one ends where it is now. A part begins with the screen of
/// that time. One in which nothing is recorded is `Absent`.
pub fn export(dir: &Path, span: Span) -> Outcome<Box<dyn Iterator<Item = Outcome<Bytes>> + Send>> {
    let meta = Meta::load(dir)?;
    let extent = extent(dir)?;
    let before = span.until.is_some_and(|it| it < extent.begins_at);
    if before || span.from.is_some_and(|it| it > extent.ends_at) {
        return Err(not_recorded(extent.begins_at, extent.ends_at));
    }
    let opening = match span.from.filter(|it| *it > extent.begins_at) {
        Some(from) => {
            let it = replay(dir, Moment::At(from))?;
            Some((from.max(it.at), it))
        }
        None => None,
    };
    let offset = opening.as_ref().map_or(0, |(_, it)| it.offset);
    let mut cast = Cast {
        reader: Reader::open(dir, offset)?,
        out: String::new(),
        partial: Vec::new(),
        last: opening.as_ref().map_or(meta.started_at, |it| it.0),
        next_offset: None,
        shown: opening.as_ref().map(|it| it.1.at),
        until: span.until,
        done: false,
    };
    let opens_blank = opening.is_none();
    match opening {
        Some((from, it)) => {
            cast.header(&meta, it.size, from);
            cast.output(from, &Screen::from_keyframe(it.size, &it.state).contents_formatted());
            cast.next_offset = Some(it.offset);
        }
        None => cast.header(&meta, meta.size, meta.started_at),
    }
    let header = cast.out.len();
    let first = cast.next();
    let is_empty = matches!(&first, Some(Ok(it)) if cast.done && it.len() == header);
    if is_empty && opens_blank && span.until.is_some() {
        return Err(not_recorded(extent.begins_at, extent.ends_at));
    }
    Ok(Box::new(first.into_iter().chain(cast)))
}

struct Cast {
    reader: Reader,
    out: String,
    /// The beginning of a character whose rest comes with the next output.
    partial: Vec<u8>,
    last: Timestamp,
    /// Offset expected next; `None` before the first record.
    next_offset: Option<u64>,
    /// What was printed up to then is on the screen that opens it.
    shown: Option<Timestamp>,
    until: Option<Timestamp>,
    done: bool,
}

impl Iterator for Cast {
    type Item = Outcome<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done && self.out.len() < PTY_CHUNK_BYTES_MAX {
            match self.reader.read() {
                Ok(Some(entry)) if self.until.is_some_and(|it| entry.at > it) => {
                    self.flush_partial();
                    self.done = true;
                }
                Ok(Some(entry)) if self.is_shown(&entry) => {}
                Ok(Some(entry)) => self.entry(entry),
                Ok(None) => {
                    self.flush_partial();
                    self.done = true;
                }
                Err(fault) => {
                    self.done = true;
                    return Some(Err(fault));
                }
            }
        }
        (!self.out.is_empty()).then(|| Ok(std::mem::take(&mut self.out).into()))
    }
}

impl Cast {
    /// Whether it is on the screen that opens the part.
    fn is_shown(&mut self, entry: &Entry) -> bool {
        let shown = self.shown.is_some_and(|it| entry.at <= it);
        if !shown {
            self.shown = None;
        }
        shown
    }

    fn header(&mut self, meta: &Meta, size: Size, began: Timestamp) {
        let (cols, rows) = (size.cols(), size.rows());
        let seconds = began.0.div_euclid(1000);
        let _ = write!(
            self.out,
            r#"{{"version":3,"term":{{"cols":{cols},"rows":{rows},"type":"xterm-256color"}},"timestamp":{seconds},"command":"#
        );
        quote(&mut self.out, &meta.command.join(" "));
        self.out.push_str(r#","title":"#);
        quote(&mut self.out, &meta.session_name);
        self.out.push_str("}\n");
    }

    fn entry(&mut self, entry: Entry) {
        let Entry { offset, at, record } = entry;
        match record {
            Record::Output(bytes) => {
                self.next_offset = Some(offset + bytes.len() as u64);
                self.output(at, &bytes);
            }
            Record::Resize(size) => {
                self.flush_partial();
                self.event(at, 'r', &format!("{}x{}", size.cols(), size.rows()));
            }
            Record::Keyframe { size, state } => {
                let expected = self.next_offset.replace(offset).unwrap_or(0);
                if expected == offset {
                    return;
                }
                self.flush_partial();
                let missing = offset.saturating_sub(expected);
                self.event(at, 'm', &format!("{missing} bytes are not in this recording"));
                self.event(at, 'r', &format!("{}x{}", size.cols(), size.rows()));
                self.output(at, &Screen::from_keyframe(size, &state).contents_formatted());
            }
            Record::Lost(_) => {}
            Record::Exit(status) => {
                self.flush_partial();
                self.event(at, 'x', &status.code().to_string());
            }
        }
    }

    /// Writes output as text: characters are kept whole, what is no UTF-8 becomes U+FFFD.
    fn output(&mut self, at: Timestamp, bytes: &[u8]) {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let keep = whole.len() - unfinished(&whole);
        self.partial = whole.split_off(keep);
        if !whole.is_empty() {
            self.event(at, 'o', &String::from_utf8_lossy(&whole));
        }
    }

    fn flush_partial(&mut self) {
        if !std::mem::take(&mut self.partial).is_empty() {
            self.event(self.last, 'o', "\u{fffd}");
        }
    }

    fn event(&mut self, at: Timestamp, code: char, data: &str) {
        let since = at.since(self.last);
        self.last = self.last.max(at);
        let _ = write!(self.out, "[{}.{:03},\"{code}\",", since.as_secs(), since.subsec_millis());
        quote(&mut self.out, data);
        self.out.push_str("]\n");
    }
}

/// Bytes at the end that begin a character and may be finished by what follows.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes.get(bytes.len().saturating_sub(4)..).unwrap_or_default()) {
        Ok(_) => 0,
        Err(_) => (1..=3)
            .find(|back| {
                let tail = bytes.len().checked_sub(*back).and_then(|it| bytes.get(it..));
                tail.is_some_and(|tail| {
                    tail.first().is_some_and(|it| *it >= 0xc2)
                        && std::str::from_utf8(tail).is_err_and(|it| it.error_len().is_none())
                })
            })
            .unwrap_or(0),
    }
}

/// Writes a JSON string.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if it < ' ' || it == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(it));
            }
            it => out.push(it),
        }
    }
    out.push('"');
}
