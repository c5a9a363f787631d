//! The inspector: one session's status, all that it stands on, and what its processes wait on; as rows of a list.

use super::{
    action::Action,
    ask::Tone,
    records::{Record, What},
    state::State,
};
use crate::{
    base::{
        clock::{Timestamp, Zone},
        text::{count, visible, wrap},
        units::human_duration,
    },
    model::{
        process::{Doing, Process, Processes},
        session::Status,
        status::{Evidence, Explained, Offer, Weight},
    },
};

/// What is said above the list: the status, what could not be seen, and which keys do what fits.
pub(super) type Head = Vec<(String, Tone)>;

pub(super) fn of_explained(told: &Explained, zone: &Zone, state: &State) -> (Vec<Record>, Head) {
    let mut rows: Vec<Record> =
        told.evidence.iter().map(|(it, weight)| evidence(it, *weight, told.at, zone)).collect();
    rows.extend((!told.processes.all.is_empty()).then(headings));
    rows.extend(told.processes.tree().map(|(it, depth)| process(it, depth)));
    (rows, head(told, state))
}

fn head(told: &Explained, state: &State) -> Head {
    let since = told.since.map(|it| format!(" for {}", human_duration(told.at.since(it))));
    let (since, word) = (since.unwrap_or_default(), status_word(told.status));
    let room = usize::from(state.size.0.saturating_sub(4)).max(20);
    let wrapped = |text: &str, tone: Tone| wrap(text, room).into_iter().map(move |it| (it, tone));
    let name = state.fleet.session(&told.session).map(|(row, it)| it.name(&row.sandbox.name));
    let name = name.map(|it| format!("{}: ", visible(&it))).unwrap_or_default();
    let why = format!("{name}{word}{since}: {}", visible(&told.why));
    let mut head: Head = wrapped(&why, status_tone(told.status)).collect();
    let offers: Vec<String> = told.offers().into_iter().map(|it| offer(it, state)).collect();
    if !offers.is_empty() {
        head.extend(wrapped(&format!("what fits: {}", offers.join(" · ")), Tone::Plain));
    }
    // It is not read anew by itself where nobody seems to look.
    let apart = told.processes.apart.map(|it| format!(", read twice, {} ms apart", it.as_millis()));
    let (at, again) = (state.zone.time(told.at), state.key_words(Action::Again));
    let as_of = format!("as of {at}{}; {again} reads it anew", apart.unwrap_or_default());
    head.extend(wrapped(&as_of, Tone::Dim));
    for note in notes(&told.processes) {
        head.extend(wrapped(&note, Tone::Dim));
    }
    head
}

fn notes(processes: &Processes) -> impl Iterator<Item = String> {
    let more = (processes.more > 0)
        .then(|| format!("{} not shown", count(processes.more, "more process")));
    more.into_iter().chain(processes.notes.iter().map(|it| visible(it)))
}

/// A dash where nothing is known.
fn status_word(status: Status) -> &'static str {
    if status == Status::Unknown { "—" } else { status.word() }
}

fn status_tone(status: Status) -> Tone {
    match status {
        Status::Working => Tone::Good,
        Status::Waiting | Status::Stuck => Tone::Warning,
        Status::Unknown => Tone::Dim,
        Status::Starting | Status::Idle | Status::Exited => Tone::Plain,
    }
}

/// How it is done in the console.
fn offer(offer: Offer, state: &State) -> String {
    let key = |action| state.key_words(action);
    match offer {
        Offer::Peek => format!("{} shows its screen", key(Action::Back)),
        Offer::Answer => format!("{} answers", key(Action::AsksShow)),
        Offer::Nudge => format!("{} sends it a line", key(Action::Nudge)),
        Offer::Interrupt => format!("{} interrupts", key(Action::Interrupt)),
        Offer::Pause | Offer::Resume => format!("{} {}s", key(Action::Pause), offer.word()),
        Offer::Snapshot => format!("{} keeps this moment", key(Action::Snapshot)),
        Offer::Shell => format!("{} opens a shell beside it", key(Action::Shell)),
    }
}

fn evidence(it: &Evidence, weight: Weight, now: Timestamp, zone: &Zone) -> Record {
    let tone = match weight {
        Weight::Decides => Tone::Good,
        Weight::Agrees => Tone::Plain,
        Weight::Outranked => Tone::Warning,
        Weight::Stale | Weight::Silent => Tone::Dim,
    };
    let says = it.says.map_or("—", status_word);
    let words = visible(&it.words);
    let until =
        it.until.map_or_else(|| "something else is said".to_owned(), |until| zone.date_time(until));
    let means = match weight {
        Weight::Decides => "the status stands on it",
        Weight::Agrees => "it says the same as what decides",
        Weight::Outranked => "somebody who is believed more says otherwise",
        Weight::Stale => "it was true once, and counts no more",
        Weight::Silent => "it says nothing about the status",
    };
    let mut details = vec![
        ("evidence", words.clone(), Tone::Subject),
        ("source", it.source.word().to_owned(), Tone::Plain),
        ("which", visible(&it.what), Tone::Plain),
        ("says", says.to_owned(), Tone::Plain),
        ("counts", means.to_owned(), tone),
        ("since", zone.date_time(it.since), Tone::Plain),
        ("seen", zone.date_time(it.at), Tone::Plain),
        ("until", until, Tone::Plain),
    ];
    details.extend(it.cause.map(|it| ("cause", it.word().to_owned(), Tone::Warning)));
    Record {
        cells: vec![
            (it.source.word().to_owned(), Tone::Dim),
            (says.to_owned(), tone),
            (human_duration(now.since(it.since)), Tone::Dim),
            (weight.word().to_owned(), tone),
            (words, tone),
        ],
        details,
        of: What::Evidence(format!("{} {}", it.source.word(), it.what)),
    }
}

/// The names of the columns of processes, as a row of the list, for those of evidence are on top.
fn headings() -> Record {
    let cells = ["PID", "STATE", "CPU", "CALL", "PROCESS"];
    let means = [
        ("pid", "the number of the process, as this machine has it"),
        ("state", "what it does or waits on, in a word"),
        ("cpu", "its time on processors since it began"),
        ("call", "the system call it is in; a dash where the kernel does not tell"),
        ("process", "what was called, and what it does; further in = started by the one above"),
    ];
    Record {
        cells: cells.map(|it| (it.to_owned(), Tone::Dim)).into(),
        details: means.map(|(name, words)| (name, words.to_owned(), Tone::Plain)).into(),
        of: What::Headings,
    }
}

fn process(it: &Process, depth: usize) -> Record {
    let tone = match it.doing {
        Doing::Runs => Tone::Good,
        Doing::Disk | Doing::Stopped | Doing::Lock | Doing::Zombie => Tone::Warning,
        _ => Tone::Plain,
    };
    let name = visible(if it.command.is_empty() { &it.name } else { &it.command });
    let (cpu, words) = (human_duration(it.cpu), it.in_words());
    let call = it.call.as_deref().map_or_else(|| "—".to_owned(), visible);
    let limit = if it.endless { "none: it waits for good" } else { "it set one, or none is known" };
    Record {
        cells: vec![
            (it.pid.to_string(), Tone::Dim),
            (it.doing.word().to_owned(), tone),
            (cpu.clone(), Tone::Dim),
            (call.clone(), Tone::Dim),
            (format!("{}{name}: {}", "  ".repeat(depth), visible(&words)), tone),
        ],
        details: vec![
            ("process", name, Tone::Subject),
            ("does", visible(&words), tone),
            ("number", format!("{} on the host, of {}", it.pid, it.parent), Tone::Plain),
            ("name", visible(&it.name), Tone::Plain),
            ("threads", it.threads.to_string(), Tone::Plain),
            ("cpu", cpu, Tone::Plain),
            ("call", call, Tone::Plain),
            ("limit", limit.to_owned(), Tone::Plain),
            (
                "terminal",
                if it.foreground { "it has it" } else { "others have it" }.to_owned(),
                Tone::Plain,
            ),
        ],
        of: What::Process(it.pid),
    }
}
