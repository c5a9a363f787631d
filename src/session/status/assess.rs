//! What follows from how the processes of a session are: pure. A word that something is stuck needs two readings between which
//! nothing moved; what is not certain is told apart from what is.

use std::time::Duration;

use super::Says;
use crate::{
    base::{
        limits::{DEADLOCK_AFTER, DISK_STUCK_AFTER, FULL_STUCK_AFTER, NETWORK_STUCK_AFTER},
        text::count,
    },
    driver::TerminalUse,
    model::{
        process::{Doing, KEYS, Process, Reading},
        session::Status,
        status::Cause,
    },
};

/// A program that has had less than one part in so many of a processor since the last look does nothing to speak of: the
/// sign that turns in an agent that waits takes a tenth of that.
const BUSY_PART: u32 = 5;
/// Programs that put a prompt of their own and read keys there: what they read by the line was asked for by a script.
const LINE_EDITORS: &[&str] = &["bash", "zsh", "fish", "nu", "elvish", "xonsh"];
/// Shells that read their commands by the line.
const PLAIN_SHELLS: &[&str] = &["sh", "dash", "ash", "ksh", "mksh", "busybox", "csh", "tcsh"];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Assessed {
    /// What is certain of those that have the terminal.
    pub(super) front: Option<Says>,
    /// What seems to be so.
    pub(super) seems: Option<Says>,
    /// Good to know.
    pub(super) zombies: Option<Says>,
    /// What it writes to has no room left, and whether that is why it stands.
    pub(super) full: Option<Says>,
    /// It may be stuck: it should be looked at again soon.
    pub(super) suspect: bool,
}

/// `before` is the reading before; `still_for` = so long nothing of it has moved.
pub(super) fn assess(
    now: &Reading,
    before: Option<&Reading>,
    still_for: Duration,
    terminal: TerminalUse,
) -> Assessed {
    let mut out = of_processes(now, before, still_for, terminal);
    let was_full =
        |place: &str| before.is_some_and(|before| before.full.iter().any(|it| it.place == place));
    let Some(full) = now.full.first() else { return out };
    if !was_full(&full.place) {
        // It may be free again in a moment.
        out.suspect = true;
        return out;
    }
    let stands = !still_for.is_zero() && out.front.is_none() && waits_for_nobody(now);
    let is_stuck = stands && still_for >= FULL_STUCK_AFTER;
    out.suspect |= stands && !is_stuck;
    out.full = Some(Says {
        what: "disk",
        status: is_stuck.then_some(Status::Stuck),
        cause: Some(Cause::Full),
        words: full.in_words(),
        holds: None,
    });
    out
}

/// Whether those that have the terminal wait for nobody outside of the session, and for no person: only for one another, or
/// for what nobody can tell. Who waits for time goes on by itself.
fn waits_for_nobody(now: &Reading) -> bool {
    let mut front = now.processes.iter().filter(|it| it.is_alive() && it.foreground).peekable();
    let alone = |it: &Process| {
        !it.keys
            && match it.doing {
                Doing::Child | Doing::Lock | Doing::Pipe | Doing::Unknown => true,
                Doing::Events => !it.linked,
                _ => false,
            }
    };
    front.peek().is_some() && front.all(alone)
}

fn of_processes(
    now: &Reading,
    before: Option<&Reading>,
    still_for: Duration,
    terminal: TerminalUse,
) -> Assessed {
    let mut out = Assessed { zombies: zombies(now), ..Assessed::default() };
    let alive = || now.processes.iter().filter(|it| it.is_alive());
    let front: Vec<&Process> = alive().filter(|it| it.foreground).collect();
    let Some(leads) = front.iter().find(|it| it.doing != Doing::Child).or_else(|| front.first())
    else {
        return out;
    };
    if let Some(it) = front.iter().find(|it| is_busy(it, now, before)) {
        let words = format!("{} runs on a processor", it.name);
        out.front = Some(Says::new("processor", Status::Working, words));
        return out;
    }
    if front.iter().all(|it| it.doing == Doing::Stopped) {
        out.suspect = true;
        if !still_for.is_zero() {
            let words = format!("a signal holds {} still, and nobody lets it go on", leads.name);
            out.front = Some(stuck(Cause::Stopped, words));
        }
        return out;
    }
    // Who reads single keys may do so beside what another of its threads waits for: an answer, say.
    let reads_it = |it: &&&Process| {
        it.doing == Doing::Terminal && it.endless && (terminal.lines == Some(true) || !it.linked)
    };
    if let Some(it) = front.iter().find(reads_it) {
        out.front = Some(reads(it, terminal));
        return out;
    }
    // In a loop of events, what is typed is one of them: it is the only one if nothing else is there.
    let waits = |it: &Process| it.doing == Doing::Child && it.endless;
    let loops = front.iter().find(|it| it.doing == Doing::Events && it.endless && it.keys);
    if let Some(it) = loops.filter(|it| it.on.as_deref() == Some(KEYS) && !it.linked)
        && alive().all(|other| other.pid == it.pid || waits(other))
    {
        out.front = Some(reads(it, terminal));
        return out;
    }
    let waits_for_good =
        |it: &&Process| it.endless && matches!(it.doing, Doing::Lock | Doing::Child);
    let lock = front.iter().find(|it| it.endless && it.doing == Doing::Lock);
    if let Some(it) = lock.filter(|_| now.more == 0 && alive().all(|it| waits_for_good(&it))) {
        out.suspect = true;
        if still_for >= DEADLOCK_AFTER {
            let words = format!(
                "{} (pid {}) {}, and nothing that runs here could let go of them",
                it.name,
                it.pid,
                it.in_words()
            );
            out.front = Some(stuck(Cause::Deadlock, words));
        }
        return out;
    }
    (out.front, out.seems) = outside(&front, leads, still_for);
    out
}

fn stuck(cause: Cause, words: String) -> Says {
    Says { cause: Some(cause), ..Says::new("processes", Status::Stuck, words) }
}

/// What is certain, and what is likely, of those that wait for something outside of the session, if anything.
fn outside(
    front: &[&Process],
    leads: &Process,
    still_for: Duration,
) -> (Option<Says>, Option<Says>) {
    if let Some(it) = front.iter().find(|it| it.doing == Doing::Disk) {
        if still_for < DISK_STUCK_AFTER {
            let words = format!("{} waits for a disk", it.name);
            return (None, Some(Says::new("processes", Status::Working, words)));
        }
        let seconds = still_for.as_secs();
        let words = format!("{} (pid {}) {} for {seconds} s", it.name, it.pid, it.in_words());
        return (Some(stuck(Cause::Disk, words)), None);
    }
    // Who hears keys, too, may keep a connection for later.
    let Some(it) = front.iter().find(|it| it.doing == Doing::Socket && !it.keys) else {
        return (None, seems(front, leads));
    };
    let on = it.on.as_deref().unwrap_or("a connection");
    let words = format!("{} waits for {on}", it.name);
    if still_for < NETWORK_STUCK_AFTER {
        return (None, Some(Says::new("processes", Status::Working, words)));
    }
    // Who is silent for long may yet answer: what an agent says of itself counts before this.
    let minutes = count(still_for.as_secs() / 60, "minute");
    let words = format!("{words}, and nothing has come for {minutes}");
    (None, Some(stuck(Cause::Network, words)))
}

/// Whether it has a processor for a good part of the time.
fn is_busy(it: &Process, now: &Reading, before: Option<&Reading>) -> bool {
    let apart = before.map(|before| now.at.saturating_sub(before.at)).unwrap_or_default();
    let earlier = before.and_then(|before| before.processes.iter().find(|old| old.pid == it.pid));
    match earlier.filter(|_| apart >= Duration::from_millis(200)) {
        Some(old) => {
            let slept = |of: &Reading| of.slept.get(&it.pid).copied();
            // On a machine that has more to do than it can, one may want a processor all the time, and get little of it.
            let runs = it.doing == Doing::Runs && old.doing == Doing::Runs;
            let never_slept = runs && slept(now).is_some() && before.and_then(slept) == slept(now);
            never_slept || it.cpu.saturating_sub(old.cpu) * BUSY_PART >= apart
        }
        None => it.doing == Doing::Runs,
    }
}

/// What it is that somebody reads from the terminal, by how the terminal is set.
fn reads(it: &Process, terminal: TerminalUse) -> Says {
    let name = it.name.trim_start_matches('-');
    let has_script = it.command.split_whitespace().nth(1).is_some_and(is_script);
    let by_line = terminal.lines == Some(true);
    let at_prompt = if LINE_EDITORS.contains(&name) {
        !by_line
    } else {
        PLAIN_SHELLS.contains(&name) && !has_script
    };
    if at_prompt {
        return Says::new("terminal", Status::Idle, format!("{name} waits at its prompt"));
    }
    match by_line {
        true => {
            Says::new("terminal", Status::Waiting, format!("{name} waits for a line to be typed"))
        }
        false => Says::new("terminal", Status::Idle, format!("{name} waits for keys")),
    }
}

/// Whether the first argument of a shell says that its commands are not typed: a file, or `-c` and what goes with it.
fn is_script(argument: &str) -> bool {
    match argument.strip_prefix('-') {
        Some(letters) => !letters.starts_with('-') && letters.contains('c'),
        None => true,
    }
}

/// What is likely, by those that have the terminal.
fn seems(front: &[&Process], leads: &Process) -> Option<Says> {
    let says = |status, words: String| Some(Says::new("processes", status, words));
    let name = &leads.name;
    // An agent that waits for its model, and one that waits for its user, look alike.
    let either = |words: String| Some(Says { what: "processes", words, ..Says::default() });
    let hears = |it: &&&Process| matches!(it.doing, Doing::Terminal | Doing::Socket) && it.keys;
    if let Some(it) = front.iter().find(hears) {
        return match (it.linked, it.endless) {
            (true, _) => either(format!("{} waits for keys, and for others beside", it.name)),
            (false, true) => says(Status::Idle, format!("{} waits for keys", it.name)),
            (false, false) => {
                says(Status::Idle, format!("{} looks for keys every now and then", it.name))
            }
        };
    }
    if let Some(it) = front.iter().find(|it| it.doing == Doing::Events) {
        return match (it.keys, it.linked) {
            (true, false) => {
                says(Status::Idle, format!("{} waits for keys, among others", it.name))
            }
            _ => either(format!("{} {}", it.name, it.in_words())),
        };
    }
    if let Some(it) = front.iter().find(|it| it.doing == Doing::Runs) {
        return says(Status::Working, format!("{} runs now and then", it.name));
    }
    match leads.doing {
        Doing::Listens => says(Status::Idle, format!("{name} {}", leads.in_words())),
        Doing::Timer
            if !front.iter().any(|it| matches!(it.doing, Doing::Pipe | Doing::Unknown)) =>
        {
            says(Status::Idle, format!("{name} {}", leads.in_words()))
        }
        _ => Some(Says {
            what: "processes",
            words: format!("{name} {}", leads.in_words()),
            ..Says::default()
        }),
    }
}

fn zombies(now: &Reading) -> Option<Says> {
    let dead: Vec<&Process> = now.processes.iter().filter(|it| !it.is_alive()).collect();
    let parent = dead.first().map(|it| it.parent)?;
    let name = now.processes.iter().find(|it| it.pid == parent).map_or("", |it| it.name.as_str());
    let words = format!(
        "{} that nobody asks how they ended, of {name} (pid {parent})",
        count(dead.len(), "process")
    );
    Some(Says { what: "zombies", cause: Some(Cause::Zombies), words, ..Says::default() })
}

/// What tells whether anything moved between two readings.
pub(super) fn moved(one: &Reading, other: &Reading) -> bool {
    let signs = |it: &Reading| {
        let signs = it.processes.iter().map(|it| (it.pid, it.doing, it.cpu, it.on.clone()));
        signs.collect::<Vec<_>>()
    };
    one.more != other.more || signs(one) != signs(other)
}

/// Whether any may have had a processor between two readings, however shortly.
pub(super) fn ran(one: &Reading, other: &Reading) -> bool {
    other.slept.is_empty() || one.slept != other.slept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::process::Full;

    fn process(pid: u32, name: &str, doing: Doing) -> Process {
        Process {
            pid,
            parent: 1,
            name: name.to_owned(),
            command: name.to_owned(),
            foreground: true,
            threads: 1,
            cpu: Duration::ZERO,
            doing,
            endless: true,
            keys: doing == Doing::Terminal,
            linked: false,
            on: None,
            call: None,
        }
    }

    fn reading(seconds: u64, processes: &[Process]) -> Reading {
        let at = Duration::from_secs(seconds);
        Reading { at, processes: processes.to_vec(), ..Reading::default() }
    }

    const RAW: TerminalUse = TerminalUse { lines: Some(false), read: None };
    const LINES: TerminalUse = TerminalUse { lines: Some(true), read: None };
    const LONG: Duration = Duration::from_secs(3600);

    fn front(all: &[Process], still_for: Duration, terminal: TerminalUse) -> Option<Status> {
        let (before, now) = (reading(0, all), reading(1, all));
        assess(&now, Some(&before), still_for, terminal).front.and_then(|it| it.status)
    }

    #[test]
    fn who_reads_the_terminal_is_told_apart_by_how() {
        let of = |name: &str, terminal| front(&[process(2, name, Doing::Terminal)], LONG, terminal);
        assert_eq!(of("bash", RAW), Some(Status::Idle));
        // A script's question.
        assert_eq!(of("bash", LINES), Some(Status::Waiting));
        assert_eq!(of("-sh", LINES), Some(Status::Idle));
        assert_eq!(of("python3", LINES), Some(Status::Waiting));
        assert_eq!(of("vim", RAW), Some(Status::Idle));
        for (command, status) in [
            ("sh ask.sh", Status::Waiting),
            ("sh -ec read", Status::Waiting),
            ("sh -i", Status::Idle),
            ("sh --login", Status::Idle),
        ] {
            let mut shell = process(2, "sh", Doing::Terminal);
            shell.command = command.to_owned();
            assert_eq!(front(&[shell], LONG, LINES), Some(status), "{command}");
        }
    }

    #[test]
    fn a_deadlock_is_one_only_when_all_wait_for_one_another_and_nothing_moves() {
        let of = |all: &[Process], still| front(all, still, RAW);
        let (shell, lock) = (process(2, "bash", Doing::Child), process(3, "python3", Doing::Lock));
        assert_eq!(of(&[shell.clone(), lock.clone()], DEADLOCK_AFTER), Some(Status::Stuck));
        assert_eq!(of(&[shell.clone(), lock.clone()], DEADLOCK_AFTER / 2), None);
        for other in [Doing::Socket, Doing::Timer, Doing::Events, Doing::Runs, Doing::Unknown] {
            let mut helper = process(4, "helper", other);
            helper.foreground = false;
            let all = [shell.clone(), lock.clone(), helper];
            assert_eq!(of(&all, LONG), None, "{other:?}");
        }
        let limited = Process { endless: false, ..lock };
        assert_eq!(of(&[limited], LONG), None);
        assert_eq!(of(&[shell], LONG), None);
    }

    #[test]
    fn who_reads_keys_beside_a_connection_of_another_thread_may_be_at_work() {
        let told = |it: Process, terminal| {
            let all = [it];
            let (before, now) = (reading(0, &all), reading(1, &all));
            let told = assess(&now, Some(&before), LONG, terminal);
            let status = |it: Option<Says>| it.map(|it| it.status);
            (status(told.front), status(told.seems))
        };
        let keys = process(2, "agent", Doing::Terminal);
        let both = Process { linked: true, ..keys.clone() };
        assert_eq!(told(keys, RAW), (Some(Some(Status::Idle)), None));
        assert_eq!(told(both.clone(), RAW), (None, Some(None)));
        // A line that is wanted is wanted, whatever else there is.
        assert_eq!(told(both, LINES), (Some(Some(Status::Waiting)), None));
        let looped =
            Process { keys: true, on: Some(KEYS.to_owned()), ..process(2, "agent", Doing::Events) };
        let both = Process { linked: true, ..looped.clone() };
        assert_eq!(told(looped, RAW), (Some(Some(Status::Idle)), None));
        assert_eq!(told(both, RAW), (None, Some(None)));
        // A connection that is kept beside the keys is no network that hangs.
        let kept = Process { keys: true, linked: true, ..process(2, "agent", Doing::Socket) };
        assert_eq!(told(kept, RAW), (None, Some(None)));
        // One of which not all was seen.
        let part = Process { endless: false, ..process(2, "agent", Doing::Terminal) };
        assert_eq!(told(part, RAW), (None, Some(Some(Status::Idle))));
    }

    #[test]
    fn who_runs_works_and_who_only_turns_a_sign_does_not() {
        let mut busy = process(2, "cc1", Doing::Events);
        let before = reading(0, std::slice::from_ref(&busy));
        busy.cpu = Duration::from_millis(200);
        let told =
            assess(&reading(1, std::slice::from_ref(&busy)), Some(&before), Duration::ZERO, RAW);
        assert_eq!(told.front.unwrap().status, Some(Status::Working));
        busy.cpu = Duration::from_millis(100);
        let told = assess(&reading(1, &[busy]), Some(&before), Duration::ZERO, RAW);
        assert_eq!(told.front, None);
        // One that gets little of a processor, and would take all of it, does not sleep by itself.
        let starved = [process(2, "cc1", Doing::Runs)];
        let of = |seconds, slept| {
            let slept = [(2, slept)].into();
            Reading { slept, ..reading(seconds, &starved) }
        };
        let status = |before, now| {
            let told = assess(&now, Some(&before), Duration::ZERO, RAW);
            (told.front.and_then(|it| it.status), told.seems.and_then(|it| it.status))
        };
        assert_eq!(status(of(0, 7), of(1, 7)), (Some(Status::Working), None));
        assert_eq!(status(of(0, 7), of(1, 8)), (None, Some(Status::Working)));
    }

    #[test]
    fn what_stands_still_is_stuck_only_after_a_while() {
        let of = |doing, still| front(&[process(2, "x", doing)], still, RAW);
        assert_eq!(of(Doing::Stopped, Duration::ZERO), None);
        assert_eq!(of(Doing::Stopped, Duration::from_secs(1)), Some(Status::Stuck));
        assert_eq!(of(Doing::Disk, DISK_STUCK_AFTER / 2), None);
        assert_eq!(of(Doing::Disk, DISK_STUCK_AFTER), Some(Status::Stuck));
        let socket = [process(2, "curl", Doing::Socket)];
        let seems = |still_for| {
            let now = reading(1, &socket);
            assess(&now, Some(&reading(0, &socket)), still_for, RAW).seems.and_then(|it| it.status)
        };
        assert_eq!(seems(NETWORK_STUCK_AFTER / 2), Some(Status::Working));
        assert_eq!(seems(NETWORK_STUCK_AFTER), Some(Status::Stuck));
        for never in [
            Doing::Socket,
            Doing::Timer,
            Doing::Listens,
            Doing::Events,
            Doing::Pipe,
            Doing::Unknown,
        ] {
            assert_eq!(of(never, LONG), None, "{never:?}");
        }
    }

    #[test]
    fn a_disk_that_is_full_twice_is_the_cause_where_all_stand_and_known_where_not() {
        let full = |free: bool| {
            let (place, files) = ("/tmp".to_owned(), None);
            let it = Full { place, size_bytes: 1 << 20, free_bytes: 0, files };
            (!free).then_some(it).into_iter().collect::<Vec<_>>()
        };
        let of = |doing, was_free, still_for| {
            let all = [process(2, "make", doing)];
            let before = Reading { full: full(was_free), ..reading(0, &all) };
            let now = Reading { full: full(false), ..reading(1, &all) };
            assess(&now, Some(&before), still_for, RAW)
        };
        let once = of(Doing::Pipe, true, LONG);
        assert_eq!((once.full, once.suspect), (None, true));
        let soon = of(Doing::Pipe, false, FULL_STUCK_AFTER / 2);
        assert_eq!((soon.full.unwrap().status, soon.suspect), (None, true));
        let told = of(Doing::Pipe, false, FULL_STUCK_AFTER).full.unwrap();
        assert_eq!((told.status, told.cause), (Some(Status::Stuck), Some(Cause::Full)));
        assert_eq!(told.words, "the disk of /tmp is full: 0 B of 1.0 M free");
        // Who sleeps, between two tries or just so, goes on by itself.
        for waits in [Doing::Terminal, Doing::Socket, Doing::Listens, Doing::Runs, Doing::Timer] {
            let told = of(waits, false, LONG).full.unwrap();
            assert_eq!((told.status, told.cause), (None, Some(Cause::Full)), "{waits:?}");
        }
        // What moves does not stand.
        assert_eq!(of(Doing::Pipe, false, Duration::ZERO).full.unwrap().status, None);
    }

    #[test]
    fn who_has_no_terminal_says_nothing() {
        let mut other = process(2, "server", Doing::Runs);
        other.foreground = false;
        let told = assess(&reading(1, &[other]), None, LONG, RAW);
        assert_eq!(told, Assessed::default());
    }
}
