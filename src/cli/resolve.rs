//! From what a person typed (a name, an id, a unique prefix of an id) to one sandbox or session.

use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::NAME_BYTES_MAX,
        text,
    },
    model::{
        ask::Ask,
        history::Recording,
        sandbox::Sandbox,
        session::{Session, Status},
        snapshot::Snapshot,
    },
};

/// Candidates listed in an error about an ambiguous prefix.
const CANDIDATES_MAX: usize = 8;

/// Something that can be named on the command line.
struct Named<'a, T> {
    name: String,
    id: &'a str,
    it: T,
}

/// An exact name wins over an exact id, and that over a prefix of ids.
fn find<T>(what: &str, typed: &str, all: Vec<Named<'_, T>>) -> Outcome<T> {
    if let Some(at) = all
        .iter()
        .position(|it| it.name == typed)
        .or_else(|| all.iter().position(|it| it.id == typed))
    {
        return all.into_iter().nth(at).map(|it| it.it).ok_or_else(|| absent(what, typed, false));
    }
    let any = !all.is_empty();
    let mut hits: Vec<_> =
        all.into_iter().filter(|it| !typed.is_empty() && it.id.starts_with(typed)).collect();
    if hits.len() > 1 {
        let mut list: Vec<String> =
            hits.iter().take(CANDIDATES_MAX).map(|it| format!("{} ({})", it.name, it.id)).collect();
        if hits.len() > CANDIDATES_MAX {
            list.push(format!("and {} more", hits.len() - CANDIDATES_MAX));
        }
        return Err(Fault::invalid(format!("{what} is ambiguous: {}", shown(typed)))
            .hint(format!("it could be {}", list.join(", "))));
    }
    hits.pop().map(|it| it.it).ok_or_else(|| absent(what, typed, any))
}

/// What was typed, safe and short enough for an error.
fn shown(typed: &str) -> String {
    text::clip(&text::visible(typed), 2 * NAME_BYTES_MAX)
}

fn absent(what: &str, typed: &str, any: bool) -> Fault {
    let hint = match (what, any) {
        ("snapshot", true) => "sandwatch snapshot ls shows what there is",
        ("snapshot", false) => "there are no snapshots; sandwatch snapshot create takes one",
        ("ask", true) => "sandwatch approvals ls --all shows what there is",
        ("ask", false) => "nothing has been asked yet",
        ("recording", true) => "sandwatch recordings ls shows what there is",
        ("recording", false) => "nothing has been recorded yet",
        (_, true) => "sandwatch ls --all shows what there is",
        (_, false) => "there are no sandboxes; sandwatch run starts one",
    };
    Fault::absent(format!("no such {what}: {}", shown(typed))).hint(hint)
}

pub fn sandbox<'a>(all: &'a [Sandbox], typed: &str) -> Outcome<&'a Sandbox> {
    let named = all.iter().map(|it| Named { name: it.name.clone(), id: it.id.as_str(), it });
    find("sandbox", typed, named.collect()).map_err(|fault| {
        // A session's name begins with its sandbox's.
        let of = typed.split_once('/').map(|it| it.0);
        match all.iter().find(|it| Some(it.name.as_str()) == of) {
            Some(of) => {
                fault.hint(format!("that names a session; its sandbox is {}", shown(&of.name)))
            }
            None => fault,
        }
    })
}

/// By its id: a sandbox may have many.
pub fn ask<'a>(all: &'a [Ask], typed: &str) -> Outcome<&'a Ask> {
    let id = |it: &'a Ask| it.asked.id.as_str();
    let named = all.iter().map(|it| Named { name: id(it).to_owned(), id: id(it), it });
    find("ask", typed, named.collect())
}

/// A sandbox's name is its first session's; a sandbox's id means its oldest session that runs.
pub fn session<'a>(all: &'a [Sandbox], typed: &str) -> Outcome<(&'a Sandbox, &'a Session)> {
    let mut named = Vec::new();
    for sandbox in all {
        for session in &sandbox.sessions {
            let it = (sandbox, session);
            named.push(Named { name: session.name(&sandbox.name), id: session.id.as_str(), it });
        }
    }
    match find("session", typed, named) {
        Err(fault) if fault.kind() == Kind::Absent => {
            let Ok(found) = sandbox(all, typed) else {
                return Err(absent("session", typed, !all.is_empty()));
            };
            first_session(found)
        }
        found => found,
    }
}

fn first_session(sandbox: &Sandbox) -> Outcome<(&Sandbox, &Session)> {
    let alive = sandbox.sessions.iter().find(|it| it.status != Status::Exited);
    alive.or_else(|| sandbox.sessions.first()).map(|it| (sandbox, it)).ok_or_else(|| {
        Fault::absent(format!("sandbox has no session: {}", text::visible(&sandbox.name)))
            .hint(format!("sandwatch shell {} opens one", text::visible(&sandbox.name)))
    })
}

/// A snapshot, where a sandbox is named already: its own of that name, else any that `snapshot` finds.
pub fn snapshot_for<'a>(
    all: &'a [Snapshot],
    sandbox: &crate::base::id::SandboxId,
    typed: &str,
) -> Outcome<&'a Snapshot> {
    let own = |it: &&Snapshot| it.sandbox == *sandbox && it.name.as_deref() == Some(typed);
    all.iter().rev().find(own).map_or_else(|| snapshot(all, typed), Ok)
}

/// A name, also behind its sandbox's and a slash; the newest of a name that several have.
pub fn snapshot<'a>(all: &'a [Snapshot], typed: &str) -> Outcome<&'a Snapshot> {
    let mut named = Vec::new();
    for it in all.iter().rev() {
        let id = it.id.as_str();
        match &it.name {
            Some(name) => {
                named.push(Named { name: name.clone(), id, it });
                named.push(Named { name: format!("{}/{name}", it.sandbox_name), id, it });
            }
            None => named.push(Named { name: it.sandbox_name.clone(), id, it }),
        }
    }
    let same = |it: &&Snapshot| it.name.as_deref() == Some(typed);
    let owners: std::collections::BTreeSet<_> =
        all.iter().filter(same).map(|it| &it.sandbox).collect();
    if owners.len() > 1 {
        let names = all.iter().filter(same).map(|it| format!("{}/{typed}", it.sandbox_name));
        let names: Vec<String> = names.take(CANDIDATES_MAX).collect();
        return Err(Fault::invalid(format!("snapshot is ambiguous: {}", shown(typed)))
            .hint(format!("it could be {}", names.join(", "))));
    }
    // What has no name can't be found by its sandbox's.
    named.retain(|it| it.it.name.is_some() || it.name != typed);
    named.dedup_by(|one, two| one.id == two.id && one.name != typed && two.name != typed);
    find("snapshot", typed, named)
}

/// Recordings outlive sandboxes, so names may repeat: the newest of a name is meant.
pub fn recording<'a>(all: &'a [Recording], typed: &str) -> Outcome<&'a Recording> {
    let mut newest: Vec<&Recording> = all.iter().collect();
    newest.sort_by_key(|it| std::cmp::Reverse(it.started_at));
    let named = newest.into_iter().map(|it| Named {
        name: it.session_name.clone(),
        id: it.session.as_str(),
        it,
    });
    find("recording", typed, named.collect())
}
