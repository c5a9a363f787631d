//! The feed of changes, and what programs say. A snapshot may take several messages.

use std::sync::Arc;

use super::{blob, entry_in, list, pairs_out, required, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            CLIPBOARD_BYTES_MAX, LABEL_BYTES_MAX, LINE_BYTES_MAX, LISTING_PIECE_BYTES,
            OSC_BYTES_MAX, SANDBOXES_MAX, TITLE_BYTES_MAX,
        },
        text::{cut, shown},
    },
    model::{
        event::{Event, Level, Notice, SnapshotReason},
        fact::Fact,
        sandbox::Sandbox,
    },
    wire::v1::{self, events_response as event, fact},
};

/// Fields of one program status that are taken.
const FIELDS_MAX: usize = 16;

impl From<&Fact> for v1::Fact {
    fn from(value: &Fact) -> Self {
        let kind = match value {
            Fact::Title(title) => fact::Kind::Title(cut(title, TITLE_BYTES_MAX).to_owned()),
            Fact::Bell => fact::Kind::Bell(v1::Bell {}),
            Fact::Cwd(cwd) => fact::Kind::Cwd(cut(cwd, OSC_BYTES_MAX).to_owned()),
            Fact::Link { uri } => fact::Kind::Link(cut(uri, OSC_BYTES_MAX).to_owned()),
            Fact::Clipboard(bytes) => fact::Kind::Clipboard(
                bytes
                    .get(..bytes.len().min(CLIPBOARD_BYTES_MAX))
                    .unwrap_or_default()
                    .to_vec()
                    .into(),
            ),
            Fact::Notify { title, body } => fact::Kind::Notify(v1::Notify {
                title: title.as_deref().map(|it| cut(it, TITLE_BYTES_MAX).to_owned()),
                body: cut(body, OSC_BYTES_MAX).to_owned(),
            }),
            Fact::Progress { state, percent } => fact::Kind::Progress(v1::Progress {
                state: u32::from(*state),
                percent: percent.map(u32::from),
            }),
            Fact::Prompt { mark, exit_code } => {
                fact::Kind::Prompt(v1::Prompt { mark: mark.to_string(), exit_code: *exit_code })
            }
            Fact::Program { state, fields } => fact::Kind::Program(v1::Program {
                state: cut(state, LABEL_BYTES_MAX).to_owned(),
                fields: pairs_out(fields.iter().take(FIELDS_MAX).map(|(key, value)| (key, value))),
            }),
        };
        Self { kind: Some(kind) }
    }
}

/// A fact that can't be read is refused; those who read a stream leave it out (`fact_in`).
impl TryFrom<v1::Fact> for Fact {
    type Error = Fault;

    fn try_from(wire: v1::Fact) -> Outcome<Self> {
        Ok(match required("fact.kind", wire.kind)? {
            fact::Kind::Title(title) => Self::Title(shown(&title, TITLE_BYTES_MAX)),
            fact::Kind::Bell(v1::Bell {}) => Self::Bell,
            fact::Kind::Cwd(cwd) => Self::Cwd(shown(&cwd, OSC_BYTES_MAX)),
            fact::Kind::Link(uri) => Self::Link { uri: link(uri)? },
            fact::Kind::Clipboard(bytes) => {
                Self::Clipboard(blob("fact.clipboard", bytes, CLIPBOARD_BYTES_MAX)?.to_vec())
            }
            fact::Kind::Notify(notify) => Self::Notify {
                title: notify.title.map(|it| shown(&it, TITLE_BYTES_MAX)),
                body: shown(&notify.body, OSC_BYTES_MAX),
            },
            fact::Kind::Progress(progress) => progress_in(progress)?,
            fact::Kind::Prompt(prompt) => {
                let mut mark = prompt.mark.chars();
                match (mark.next(), mark.next()) {
                    (Some(mark @ 'A'..='Z'), None) => {
                        Self::Prompt { mark, exit_code: prompt.exit_code }
                    }
                    _ => return Err(Fault::invalid("fact.prompt.mark is no letter")),
                }
            }
            fact::Kind::Program(program) => {
                let fields = list("fact.program.fields", program.fields, FIELDS_MAX)?;
                let fields = fields
                    .into_iter()
                    .map(|it| (shown(&it.key, OSC_BYTES_MAX), shown(&it.value, OSC_BYTES_MAX)));
                Self::Program {
                    state: shown(&program.state, LABEL_BYTES_MAX),
                    fields: fields.collect(),
                }
            }
        })
    }
}

fn link(uri: String) -> Outcome<String> {
    let uri = text("fact.link", uri, OSC_BYTES_MAX)?;
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let safe = matches!(scheme.as_deref(), Some("http" | "https" | "file" | "mailto"));
    if safe && shown(&uri, OSC_BYTES_MAX) == uri {
        return Ok(uri);
    }
    Err(Fault::invalid(format!("fact.link is no link to follow: {}", shown(&uri, 64))))
}

fn progress_in(wire: v1::Progress) -> Outcome<Fact> {
    let state = u8::try_from(wire.state).ok().filter(|it| *it <= 4);
    let state = required("fact.progress.state of 0 to 4", state)?;
    let percent = wire.percent.map(|it| u8::try_from(it.min(100)).unwrap_or(100));
    Ok(Fact::Progress { state, percent })
}

/// Reads a fact of a stream. One that can't be read is left out: it is a program's word about itself, and
/// never a reason to end what carries it.
pub(in crate::wire) fn fact_in(wire: Option<v1::Fact>) -> Option<Fact> {
    let wire = wire.filter(|it| it.kind.is_some())?;
    wire.try_into().inspect_err(|fault| tracing::debug!(%fault, "a fact is left out")).ok()
}

pub(super) fn level_out(level: Level) -> v1::Level {
    match level {
        Level::Info => v1::Level::Info,
        Level::Warning => v1::Level::Warning,
        Level::Error => v1::Level::Error,
    }
}

/// What is not known is a warning.
pub(super) fn level_in(wire: i32) -> Level {
    match v1::Level::try_from(wire) {
        Ok(v1::Level::Info) => Level::Info,
        Ok(v1::Level::Error) => Level::Error,
        Ok(v1::Level::Warning | v1::Level::Unspecified) | Err(_) => Level::Warning,
    }
}

impl From<&Notice> for v1::Notice {
    fn from(notice: &Notice) -> Self {
        Self {
            at_ms: notice.at.0,
            level: level_out(notice.level).into(),
            sandbox: notice.sandbox.as_ref().map(ToString::to_string),
            text: cut(&notice.text, LINE_BYTES_MAX).to_owned(),
        }
    }
}

impl TryFrom<v1::Notice> for Notice {
    type Error = Fault;

    fn try_from(wire: v1::Notice) -> Outcome<Self> {
        Ok(Self {
            at: Timestamp(wire.at_ms),
            level: level_in(wire.level),
            sandbox: wire.sandbox.as_deref().map(super::sandbox_id).transpose()?,
            text: shown(&wire.text, LINE_BYTES_MAX),
        })
    }
}

/// Cuts a listing into lists of which each fits one message.
pub fn pieces<T: prost::Message>(items: impl IntoIterator<Item = T>) -> Vec<Vec<T>> {
    let mut out = vec![Vec::new()];
    let mut bytes = 0;
    for item in items {
        let more = item.encoded_len() + 8;
        if bytes > 0 && bytes + more > LISTING_PIECE_BYTES {
            out.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(last) = out.last_mut() {
            last.push(item);
        }
    }
    out
}

/// Writes an event as the messages it takes.
pub fn event_out(value: &Event) -> Vec<v1::EventsResponse> {
    let one = |seq: u64, kind| vec![v1::EventsResponse { seq, kind: Some(kind) }];
    match value {
        Event::Snapshot { seq, reason, sandboxes } => snapshot_out(*seq, *reason, sandboxes),
        // Made where several hubs are seen as one, and nowhere sent.
        Event::Part { .. } => Vec::new(),
        Event::Changed { seq, sandbox } => one(*seq, event::Kind::Changed(sandbox.as_ref().into())),
        Event::Removed { seq, id } => one(*seq, event::Kind::Removed(id.to_string())),
        Event::Notice { seq, notice } => one(*seq, event::Kind::Notice(notice.into())),
        Event::Said { seq, session, fact } => {
            let said = v1::Said { session: session.to_string(), fact: Some(fact.into()) };
            one(*seq, event::Kind::Said(said))
        }
    }
}

fn snapshot_out(
    seq: u64,
    reason: SnapshotReason,
    sandboxes: &[Arc<Sandbox>],
) -> Vec<v1::EventsResponse> {
    let reason = match reason {
        SnapshotReason::First => v1::SnapshotReason::First,
        SnapshotReason::Gap => v1::SnapshotReason::Gap,
    };
    let pieces = pieces(sandboxes.iter().map(|it| v1::Sandbox::from(it.as_ref())));
    let last = pieces.len().saturating_sub(1);
    let message = |(at, sandboxes)| {
        let snapshot = v1::Snapshot { reason: reason.into(), sandboxes, more: at < last };
        v1::EventsResponse { seq, kind: Some(event::Kind::Snapshot(snapshot)) }
    };
    pieces.into_iter().enumerate().map(message).collect()
}

/// Puts events together from the messages of one subscription.
#[derive(Clone, Debug, Default)]
pub struct EventReader {
    /// Sandboxes of a snapshot whose other pieces are still to come.
    partial: Vec<Arc<Sandbox>>,
}

impl EventReader {
    /// Takes the next message; `None` when it completes nothing, or nothing that this version knows.
    pub fn take(&mut self, wire: v1::EventsResponse) -> Outcome<Option<Event>> {
        let seq = wire.seq;
        let Some(kind) = wire.kind else { return Ok(None) };
        if !self.partial.is_empty() && !matches!(kind, event::Kind::Snapshot(_)) {
            return Err(Fault::invalid("a snapshot ended early"));
        }
        Ok(match kind {
            event::Kind::Snapshot(snapshot) => self.snapshot(seq, snapshot)?,
            event::Kind::Changed(sandbox) => {
                entry_in(sandbox).map(|it| Event::Changed { seq, sandbox: Arc::new(it) })
            }
            event::Kind::Removed(id) => Some(Event::Removed { seq, id: super::sandbox_id(&id)? }),
            event::Kind::Notice(notice) => {
                entry_in(notice).map(|notice| Event::Notice { seq, notice })
            }
            event::Kind::Said(said) => {
                let session = super::session_id(&said.session)?;
                fact_in(said.fact).map(|fact| Event::Said { seq, session, fact })
            }
        })
    }

    fn snapshot(&mut self, seq: u64, wire: v1::Snapshot) -> Outcome<Option<Event>> {
        let reason = match wire.reason() {
            v1::SnapshotReason::First => SnapshotReason::First,
            v1::SnapshotReason::Gap | v1::SnapshotReason::Unspecified => SnapshotReason::Gap,
        };
        if self.partial.len() + wire.sandboxes.len() > SANDBOXES_MAX {
            return Err(Fault::invalid(format!("more than {SANDBOXES_MAX} sandboxes")));
        }
        self.partial
            .extend(wire.sandboxes.into_iter().filter_map(entry_in::<_, Sandbox>).map(Arc::new));
        if wire.more {
            return Ok(None);
        }
        let sandboxes = std::mem::take(&mut self.partial);
        Ok(Some(Event::Snapshot { seq, reason, sandboxes }))
    }
}
