//! Verbs that look at or steer what already runs: ls, send, screen, wait, pause, resume, stop, rm.

use super::{
    args::{LsArgs, RmArgs, ScreenArgs, ScreenForm, SendArgs, StopArgs, WaitArgs},
    json::{SandboxView, ScreenView},
    out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        text, units,
    },
    config::contexts::ContextName,
    model::{
        replay::Moment,
        sandbox::{Sandbox, State, WorkspaceMode},
        session::{Session, Status},
    },
    runtime::{LeaseVerb, Runtime, ScreenShot},
    vt::screen::Screen,
};

pub async fn ls(runtime: &dyn Runtime, context: &ContextName, args: LsArgs) -> Outcome<out::Code> {
    let mut all = runtime.list().await?;
    let none = all.is_empty();
    let labels = super::run::labels(args.label);
    all.retain(|it| labels.iter().all(|(key, value)| it.labels.get(key) == Some(value)));
    if !args.sandboxes.is_empty() {
        let named: Vec<_> =
            all_named(&all, &args.sandboxes)?.into_iter().map(|it| it.id.clone()).collect();
        all.retain(|it| named.contains(&it.id));
    }
    let before = all.len();
    let whole = args.all || !args.sandboxes.is_empty();
    all.retain(|it| whole || !is_over(it));
    if args.json {
        let views: Vec<SandboxView<'_>> =
            all.iter().map(|it| SandboxView::of(context, it)).collect();
        out::json(&views)?;
        return Ok(out::DONE);
    }
    let hidden = before - all.len();
    if all.is_empty() && hidden == 0 {
        out::tell(match none {
            true => "no sandboxes; sandwatch run starts one",
            false => "no sandbox has these labels",
        });
        return Ok(out::DONE);
    }
    let mut table =
        Table::new(&["NAME", "STATUS", "QUIET", "AGE", "ISOLATION", "WORKSPACE", "COMMAND"]);
    for sandbox in &all {
        rows_of(sandbox, &mut table);
    }
    if !all.is_empty() {
        out::print(&table.render(paint::wanted()))?;
    }
    for it in &all {
        let elsewhere = it.sessions.iter().filter(|it| it.asks_elsewhere());
        for note in elsewhere.filter_map(|of| of.asking_note(&it.name)) {
            out::tell(&text::visible(&note));
        }
    }
    if hidden > 0 {
        out::tell(&format!("{hidden} stopped; --all shows them"));
    }
    Ok(out::DONE)
}

/// Nothing runs in it, and nothing will.
fn is_over(sandbox: &Sandbox) -> bool {
    matches!(sandbox.state, State::Stopped | State::Gone)
}

fn rows_of(sandbox: &Sandbox, table: &mut Table) {
    let age = units::human_duration(clock::wall().since(sandbox.created_at));
    let place = match sandbox.workspace.mode {
        WorkspaceMode::None => "none".to_owned(),
        mode => format!("{}:{}", sandbox.workspace.path.display(), mode.word()),
    };
    let isolation = sandbox.isolation.map_or("-", crate::model::sandbox::Isolation::word);
    if sandbox.sessions.is_empty() {
        let (word, tone) = state_of(sandbox);
        table.row(vec![
            sandbox.name.clone().into(),
            Cell::new(&word, tone),
            "-".into(),
            age.clone().into(),
            isolation.into(),
            place.clone().into(),
            "-".into(),
        ]);
    }
    for session in &sandbox.sessions {
        let (word, tone) = status_of(sandbox, session);
        let age = units::human_duration(clock::wall().since(session.started_at));
        table.row(vec![
            session.name(&sandbox.name).into(),
            Cell::new(&word, tone),
            quiet_for(session).into(),
            age.into(),
            isolation.into(),
            place.clone().into(),
            command_of(&session.command).into(),
        ]);
    }
}

/// For how long it has neither printed nor ended.
fn quiet_for(session: &Session) -> String {
    match session.status {
        Status::Starting | Status::Working => "now".to_owned(),
        _ => units::human_duration(clock::wall().since(session.last_sign())),
    }
}

/// What runs in a session; one that was given no command runs a shell.
pub fn command_of(command: &[String]) -> String {
    if command.is_empty() { "shell".to_owned() } else { command.join(" ") }
}

fn state_of(sandbox: &Sandbox) -> (String, Tone) {
    let tone = match sandbox.state {
        State::Running => Tone::Good,
        State::Failed | State::Gone => Tone::Bad,
        State::Paused | State::Unknown => Tone::Warn,
        State::Creating | State::Stopped => Tone::Dim,
    };
    (sandbox.state.word().to_owned(), tone)
}

/// The session's status while its sandbox runs; else the sandbox's state, which explains it.
fn status_of(sandbox: &Sandbox, session: &Session) -> (String, Tone) {
    match (session.exit, sandbox.state) {
        (Some(exit), _) => {
            let tone = if exit.code() == 0 { Tone::Dim } else { Tone::Bad };
            (format!("exited {}", exit.code()), tone)
        }
        (None, State::Running) => {
            let tone = match session.status {
                Status::Working => Tone::Good,
                Status::Waiting | Status::Stuck => Tone::Warn,
                Status::Starting | Status::Idle | Status::Exited => Tone::Plain,
                Status::Unknown => Tone::Dim,
            };
            (super::explain::status_word(session.status).unwrap_or("-").to_owned(), tone)
        }
        (None, _) => state_of(sandbox),
    }
}

/// Types into a session, encoded by what its program asked of its terminal.
pub async fn send(runtime: &dyn Runtime, args: SendArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let (sandbox, session) = resolve::session(&all, &args.session)?;
    if sandbox.state == State::Paused {
        // It would take effect at some later time, all at once.
        return Err(Fault::busy(format!("typing into {}: it is paused", sandbox.name))
            .hint(format!("sandwatch resume {} lets it run on", sandbox.name)));
    }
    let shot = runtime.screen(&session.id).await?;
    let modes = Screen::from_keyframe(shot.size, &shot.state).modes();
    let bytes = match args.literal {
        true => super::typing::literal(&args.keys, &modes),
        false => super::typing::encode(&args.keys, &modes)?,
    };
    let mut sent = Ok(());
    for piece in bytes.chunks(crate::base::limits::INPUT_BYTES_MAX) {
        sent = runtime.input(&session.id, bytes::Bytes::copy_from_slice(piece)).await;
        if sent.is_err() {
            break;
        }
    }
    // Typing took the keyboard. Nobody is at it any more; not ours or gone with the program is fine.
    if let Err(fault) = runtime.lease(&session.id, LeaseVerb::Release).await {
        tracing::debug!(%fault, "the keyboard was not given back");
    }
    sent.map(|()| out::DONE)
}

pub async fn screen(runtime: &dyn Runtime, args: ScreenArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let found = resolve::session(&all, &args.session).map(|it| it.1.id.clone());
    let (id, shot, at) = match args.at {
        None => {
            let id = found?;
            let shot = runtime.screen(&id).await?;
            (id, shot, None)
        }
        Some(at) => {
            let id = match found {
                Err(fault) if fault.kind() == Kind::Absent => {
                    let recordings = runtime.recordings().await?;
                    resolve::recording(&recordings, &args.session)
                        .map_err(|_| fault)?
                        .session
                        .clone()
                }
                found => found?,
            };
            let it = runtime.replay(&id, Moment::At(at)).await?;
            it.holds(at).map_err(|fault| fault.context(&args.session))?;
            let shot =
                ScreenShot { offset: it.offset, size: it.size, state: it.state, title: None };
            (id, shot, Some(it.at))
        }
    };
    let screen = Screen::from_keyframe(shot.size, &shot.state);
    match args.form() {
        ScreenForm::Json => out::json(&ScreenView::new(&id, &shot, &screen, at))?,
        ScreenForm::Ansi => out::print(&paint::screen(&screen))?,
        ScreenForm::Text => {
            let lines = screen.lines();
            let end = lines.iter().rposition(|it| !it.is_empty()).map_or(0, |at| at + 1);
            let terminal = out::stdout_is_terminal();
            for line in lines.iter().take(end) {
                let line = if terminal { text::visible(line) } else { line.clone() };
                out::print(&format!("{line}\n"))?;
            }
        }
    }
    Ok(out::DONE)
}

pub async fn wait(runtime: &dyn Runtime, args: WaitArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let (_, session) = resolve::session(&all, &args.session)?;
    runtime.wait(&session.id, args.what, args.timeout).await?;
    Ok(out::DONE)
}

/// What to do to each of several sandboxes.
pub enum Deed {
    Pause,
    Resume,
    Stop(std::time::Duration),
    Remove,
}

impl Deed {
    async fn to(&self, runtime: &dyn Runtime, sandbox: &Sandbox) -> Outcome<()> {
        match self {
            Self::Pause => runtime.pause(&sandbox.id).await,
            Self::Resume => runtime.resume(&sandbox.id).await,
            Self::Stop(grace) => runtime.stop(&sandbox.id, *grace).await,
            Self::Remove => runtime.remove(&sandbox.id).await,
        }
    }
}

/// Nothing is done unless every name is known.
pub async fn each(runtime: &dyn Runtime, names: &[String], deed: Deed) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    do_to(runtime, all_named(&all, names)?, deed).await
}

/// Each is tried, and the first failure decides the exit code.
async fn do_to(runtime: &dyn Runtime, found: Vec<&Sandbox>, deed: Deed) -> Outcome<out::Code> {
    let mut code = out::DONE;
    for sandbox in found {
        if let Err(fault) = deed.to(runtime, sandbox).await {
            let failed = out::report(&fault);
            code = if code == out::DONE { failed } else { code };
        }
    }
    Ok(code)
}

fn all_named<'a>(all: &'a [Sandbox], names: &[String]) -> Outcome<Vec<&'a Sandbox>> {
    let mut found: Vec<&Sandbox> = Vec::new();
    for name in names {
        let sandbox = resolve::sandbox(all, name)?;
        if !found.iter().any(|it| it.id == sandbox.id) {
            found.push(sandbox);
        }
    }
    Ok(found)
}

/// Files outlive a stop, so only one that was aimed at all of them is asked about.
pub async fn stop(runtime: &dyn Runtime, args: StopArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    if !args.all {
        return do_to(runtime, all_named(&all, &args.sandboxes)?, Deed::Stop(args.grace)).await;
    }
    let found: Vec<&Sandbox> =
        all.iter().filter(|it| !is_over(it) && it.state != State::Failed).collect();
    if found.is_empty() {
        out::tell("no sandbox runs");
        return Ok(out::DONE);
    }
    if !args.yes {
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        let what = format!("stop {}?", names.join(", "));
        sure("stop --all asks before it ends them", &what, "nothing was stopped")?;
    }
    do_to(runtime, found, Deed::Stop(args.grace)).await
}

/// Removal can't be undone: a terminal is asked, a script says `--yes`.
pub async fn rm(runtime: &dyn Runtime, args: RmArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let found = match (args.all, args.stopped) {
        (true, _) => all.iter().collect(),
        (_, true) => all.iter().filter(|it| is_over(it)).collect(),
        _ => all_named(&all, &args.sandboxes)?,
    };
    if found.is_empty() {
        out::tell("there is no such sandbox; nothing was removed");
        return Ok(out::DONE);
    }
    if !args.yes {
        let losses: Vec<String> = found.iter().map(|it| loss(it)).collect();
        let what = format!("remove {}?", losses.join("; "));
        sure("rm asks before it removes", &what, "nothing was removed")?;
    }
    do_to(runtime, found, Deed::Remove).await
}

/// Asks; without a clear yes, or somebody to give it, nothing is done.
pub(super) fn sure(asks: &str, question: &str, otherwise: &str) -> Outcome<()> {
    if !out::on_terminal() {
        return Err(Fault::invalid(format!("{asks}, and nobody is there to ask")).hint("add --yes"));
    }
    if out::confirm(question)? { Ok(()) } else { Err(Fault::denied(otherwise)) }
}

/// What removing this one loses, in words.
fn loss(sandbox: &Sandbox) -> String {
    let running = sandbox.sessions.iter().filter(|it| it.exit.is_none()).count();
    let mut words = vec![sandbox.name.clone()];
    if running > 0 {
        words.push(format!("({running} running)"));
    }
    if sandbox.workspace.mode == WorkspaceMode::Cow {
        words.push("and the changes it keeps apart".to_owned());
    }
    words.join(" ")
}
