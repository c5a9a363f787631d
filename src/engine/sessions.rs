//! Sessions of a sandbox: starting them, watching them, typing into them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio_stream::Stream;

use super::{
    Inner,
    audit::words::{by_client, keyboard, left, now},
    fleet::{Entry, make_room},
    lease,
    verbs::unfit,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        id::{ClientId, SandboxId, SessionId},
        limits::{INPUT_BYTES_MAX, SESSIONS_PER_SANDBOX_MAX},
        units::Size,
    },
    model::{
        audit::Action,
        output::{Output, OutputRequest},
        sandbox::State,
        session::{Lease, Session, SessionSpec},
    },
    runtime::{BoxStream, ExecOutput, Identity, LeaseVerb, Nudge},
    session::seat::Seat,
};

/// Something that must be known to go on for as long as a stream lives.
struct Held<S, G> {
    stream: S,
    _guard: G,
}

impl<S: Stream + Unpin, G: Unpin> Stream for Held<S, G> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(context)
    }
}

/// Counts one program without a PTY; its end may be the end of the sandbox's work.
struct ExecGuard {
    engine: std::sync::Weak<Inner>,
    id: SandboxId,
    counted: Option<Arc<()>>,
}

impl Drop for ExecGuard {
    fn drop(&mut self) {
        drop(self.counted.take());
        if let (Some(engine), Ok(runtime)) =
            (self.engine.upgrade(), tokio::runtime::Handle::try_current())
        {
            let id = self.id.clone();
            runtime.spawn(async move { engine.end_of_work(&id).await });
        }
    }
}

impl Inner {
    /// Starts another session.
    pub(super) async fn open(
        self: &Arc<Self>,
        id: &SandboxId,
        spec: SessionSpec,
    ) -> Outcome<Session> {
        let verbs = self.fleet().get(id)?.verbs.clone();
        let _held = verbs.lock().await;
        let seat = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            let live = entry.sandbox.sessions.iter().filter(|it| it.exit.is_none()).count();
            if live >= SESSIONS_PER_SANDBOX_MAX {
                let name = &entry.sandbox.name;
                return Err(Fault::busy(format!(
                    "sandbox {name} has {SESSIONS_PER_SANDBOX_MAX} sessions already"
                )));
            }
            fit_to_start(entry)?;
            entry.seat()?
        };
        let session = seat.open(SessionId::random(), spec).await?;
        {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(id)?;
            if entry.session(&session.id).is_none() {
                let sessions = &mut entry.sandbox_mut().sessions;
                sessions.push(session.clone());
                make_room(sessions);
            }
        }
        self.touch(id);
        self.persist_or_notice(id).await;
        Ok(session)
    }

    /// Runs a program without a PTY.
    pub(super) async fn exec(
        self: &Arc<Self>,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        let (seat, counted) = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            if !entry.sandbox.capabilities.exec {
                let driver = &entry.sandbox.driver;
                return Err(Fault::unsupported(format!(
                    "the {driver} driver can't run a program without a terminal"
                )));
            }
            fit_to_start(entry)?;
            (entry.seat()?, entry.execs.clone())
        };
        let guard =
            ExecGuard { engine: Arc::downgrade(self), id: id.clone(), counted: Some(counted) };
        self.attention.notify_one();
        self.pulse(id, &seat).await?;
        let stream = seat.exec(spec, stdin).await?;
        Ok(Box::pin(Held { stream, _guard: guard }))
    }

    /// Watches a session, living or ended; one whose host is gone is read from its journal.
    pub(super) async fn output(
        self: &Arc<Self>,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        match self.seat_of(id) {
            Ok((sandbox, Some(seat), watchers)) => {
                self.attention.notify_one();
                self.pulse(&sandbox, &seat).await?;
                let stream = seat.output(id, request).await?;
                Ok(Box::pin(Held { stream, _guard: watchers }))
            }
            Ok((_, None, _)) => self.past_output(id, request).await,
            // Its sandbox was removed, or it made room for a newer session.
            Err(fault) if fault.kind() == Kind::Absent => self.past_output(id, request).await,
            Err(fault) => Err(fault),
        }
    }

    fn seat_of(&self, id: &SessionId) -> Outcome<(SandboxId, Option<Arc<dyn Seat>>, Arc<()>)> {
        let fleet = self.fleet();
        let entry = fleet.of_session(id)?;
        Ok((entry.sandbox.id.clone(), entry.seat.clone(), entry.watchers.clone()))
    }

    /// Types into a session; takes its keyboard if that is free.
    pub(super) async fn input(
        self: &Arc<Self>,
        id: &SessionId,
        who: &Identity,
        bytes: Bytes,
    ) -> Outcome<()> {
        fits(&bytes)?;
        let now = clock::wall();
        let (seat, taken) = {
            let mut fleet = self.fleet();
            let sandbox = fleet.of_session(id)?.sandbox.id.clone();
            let entry = fleet.get_mut(&sandbox)?;
            living(entry, id)?;
            let seat = entry.seat()?;
            let news = hold(entry, id, who, now)?;
            if news == Some(News::Taken) {
                self.note_step(entry, id, who, Action::KeyboardTaken, None);
            }
            (seat, news.map(|_| sandbox))
        };
        if let Some(sandbox) = taken {
            self.lease_changed(sandbox, id.clone(), seat.clone());
        }
        seat.input(id, bytes).await
    }

    /// Types a line or an interrupt for somebody who does not step in: whoever has the keyboard keeps it.
    pub(super) async fn nudge(&self, id: &SessionId, who: &Identity, what: &Nudge) -> Outcome<()> {
        let (action, said) = match what {
            Nudge::Line(line) => (Action::KeyboardLineSent, Some(line.len() as u64)),
            Nudge::Interrupt => (Action::KeyboardInterrupted, None),
        };
        let bytes = match what {
            Nudge::Line(line) => Bytes::from(format!("{line}\r")),
            Nudge::Interrupt => Bytes::from_static(b"\x03"),
        };
        fits(&bytes)?;
        let (seat, act) = {
            let fleet = self.fleet();
            let entry = fleet.of_session(id)?;
            living(entry, id)?;
            if entry.sandbox.state == State::Paused {
                let name = &entry.sandbox.name;
                return Err(Fault::busy(format!("{name} is paused: nothing is sent"))
                    .hint(format!("resume it first: sandwatch resume {name}")));
            }
            let now = clock::wall();
            let lease = entry.session(id).and_then(|it| it.lease.as_ref());
            if let Some(held) = lease::current(lease, now).filter(|it| it.holder != who.client) {
                return Err(lease::refusal(held, now));
            }
            let act = by_client(who, action, &name_of(entry, id)).with_any("bytes", said);
            (entry.seat()?, keyboard(act, id, &entry.sandbox))
        };
        seat.input(id, bytes).await?;
        self.notes.note(now(act));
        Ok(())
    }

    /// Resizes for whoever may type; for an observer it changes nothing.
    pub(super) async fn resize(&self, id: &SessionId, who: &Identity, size: Size) -> Outcome<()> {
        let seat = {
            let fleet = self.fleet();
            let entry = fleet.of_session(id)?;
            let Some(session) = entry.session(id).filter(|it| it.exit.is_none()) else {
                return Ok(());
            };
            let (lease, now) = (session.lease.as_ref(), clock::wall());
            if !lease::may_type(lease, who, now) {
                return Ok(());
            }
            // Elsewhere others look at it too: it is left as it is unless somebody here has stepped in.
            if entry.elsewhere && lease::current(lease, now).is_none() {
                return Ok(());
            }
            entry.seat()?
        };
        seat.resize(id, size).await
    }

    /// Takes, takes over or gives back the keyboard.
    pub(super) fn lease(
        self: &Arc<Self>,
        id: &SessionId,
        who: &Identity,
        verb: LeaseVerb,
    ) -> Outcome<Option<Lease>> {
        let now = clock::wall();
        let mut fleet = self.fleet();
        let sandbox = fleet.of_session(id)?.sandbox.id.clone();
        let entry = fleet.get_mut(&sandbox)?;
        if verb != LeaseVerb::Release {
            living(entry, id)?;
        }
        let seat = entry.seat.clone();
        let Some(session) = entry.session_mut(id) else { return Ok(None) };
        let after = lease::decide(session.lease.as_ref(), who, verb, now)?;
        let before = lease::current(session.lease.as_ref(), now).cloned();
        let holder = |it: &Option<Lease>| it.as_ref().map(|it| it.holder.clone());
        let used = |it: &Option<Lease>| it.as_ref().map(|it| it.used_at);
        let moved = holder(&session.lease) != holder(&after)
            || used(&session.lease)
                .zip(used(&after))
                .is_some_and(|(before, now)| lease::is_worth_telling(before, now));
        session.lease.clone_from(&after);
        if holder(&before) != holder(&after) {
            let (action, from) = match (&before, &after) {
                (Some(other), Some(_)) => (Action::KeyboardTakenOver, Some(&other.holder_name)),
                (None, _) => (Action::KeyboardTaken, None),
                (_, None) => (Action::KeyboardGivenBack, None),
            };
            self.note_step(entry, id, who, action, from.map(String::as_str));
        }
        drop(fleet);
        if let (true, Some(seat)) = (moved, seat) {
            self.lease_changed(sandbox, id.clone(), seat);
        }
        Ok(after)
    }

    /// Has the audit record say that somebody stepped in or out; `from` is whom they took it from.
    fn note_step(
        &self,
        entry: &Entry,
        id: &SessionId,
        who: &Identity,
        action: Action,
        from: Option<&str>,
    ) {
        let act = by_client(who, action, &name_of(entry, id));
        self.notes.note(keyboard(act, id, &entry.sandbox).with_any("taken_from", from));
    }

    /// Tells that a keyboard changed hands, and has the seat and the registry remember it.
    fn lease_changed(self: &Arc<Self>, sandbox: SandboxId, id: SessionId, seat: Arc<dyn Seat>) {
        self.touch(&sandbox);
        self.deadlines.notify_one();
        let turn = {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(&sandbox) else { return };
            if !entry.lease_news.insert(id.clone()) {
                // Whoever waits for the turn tells this too.
                return;
            }
            entry.lease_turn.clone()
        };
        let engine = self.clone();
        tokio::spawn(async move {
            // One after the other, and each as things stand then: the seat's last word is the newest.
            let held = turn.lock().await;
            let lease = match engine.fleet().get_mut(&sandbox) {
                Ok(entry) => {
                    entry.lease_news.remove(&id);
                    entry.session(&id).and_then(|it| it.lease.clone())
                }
                Err(_) => return,
            };
            if let Err(fault) = seat.set_lease(&id, lease).await {
                tracing::warn!(session = %id, %fault, "the seat did not take note of a lease");
            }
            drop(held);
            engine.persist_or_notice(&sandbox).await;
        });
    }

    /// Frees every keyboard that `free` says is free, and tells.
    fn release_where(self: &Arc<Self>, why: &str, free: impl Fn(&Lease) -> bool) {
        let mut changed = Vec::new();
        {
            let mut fleet = self.fleet();
            let held: Vec<_> = fleet
                .entries()
                .flat_map(|entry| entry.sandbox.sessions.iter())
                .filter(|it| it.lease.as_ref().is_some_and(&free))
                .map(|it| (it.sandbox.clone(), it.id.clone()))
                .collect();
            for (sandbox, id) in held {
                let Ok(entry) = fleet.get_mut(&sandbox) else { continue };
                let lease = entry.session_mut(&id).and_then(|it| it.lease.take());
                if let Some(lease) = lease {
                    let act = left(&lease, &name_of(entry, &id), why);
                    self.notes.note(keyboard(act, &id, &entry.sandbox));
                }
                changed.push((sandbox, id, entry.seat.clone()));
            }
        }
        for (sandbox, id, seat) in changed {
            match seat {
                Some(seat) => self.lease_changed(sandbox, id, seat),
                None => self.touch(&sandbox),
            }
        }
    }

    pub(super) fn release_all(self: &Arc<Self>, client: &ClientId) {
        self.release_where("its client is gone", |it| it.holder == *client);
    }

    pub(super) fn release_idle(self: &Arc<Self>) {
        let now = clock::wall();
        self.release_where("it was not used", |it| lease::current(Some(it), now).is_none());
    }
}

fn name_of(entry: &Entry, id: &SessionId) -> String {
    entry.session(id).map_or_else(|| id.to_string(), |it| it.name(&entry.sandbox.name))
}

/// What is worth telling of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// The keyboard changed hands.
    Taken,
    /// It is used, and whoever remembers that heard of it long ago.
    Used,
}

/// Whether it is one piece of input.
fn fits(bytes: &Bytes) -> Outcome<()> {
    match bytes.len() {
        0..=INPUT_BYTES_MAX => Ok(()),
        many => {
            Err(Fault::invalid(format!("input is longer than {INPUT_BYTES_MAX} bytes: {many}")))
        }
    }
}

/// A session that can be typed into, or why not.
fn living(entry: &Entry, id: &SessionId) -> Outcome<()> {
    let session =
        entry.session(id).ok_or_else(|| Fault::absent(format!("no such session: {id}")))?;
    if session.exit.is_none() && session.exited_at.is_none() {
        return Ok(());
    }
    let name = session.name(&entry.sandbox.name);
    Err(Fault::failed(format!("session {name} has ended")))
}

fn fit_to_start(entry: &Entry) -> Outcome<()> {
    match entry.sandbox.state {
        State::Running if !entry.removing => Ok(()),
        State::Paused => {
            let name = &entry.sandbox.name;
            Err(unfit(&entry.sandbox, "entered")
                .hint(format!("resume it first: sandwatch resume {name}")))
        }
        _ => Err(unfit(&entry.sandbox, "entered")),
    }
}

/// Takes or renews the keyboard for a key.
fn hold(
    entry: &mut Entry,
    id: &SessionId,
    who: &Identity,
    now: Timestamp,
) -> Outcome<Option<News>> {
    let Some(session) = entry.session(id) else { return Ok(None) };
    let held = lease::current(session.lease.as_ref(), now);
    let same = held.is_some_and(|it| it.holder == who.client);
    // Renewing to the second is enough, and spares a copy of the sandbox for every key.
    if same && held.is_some_and(|it| now.since(it.used_at).as_secs() == 0) {
        return Ok(None);
    }
    let news = match held.filter(|_| same) {
        None => Some(News::Taken),
        Some(it) => lease::is_worth_telling(it.used_at, now).then_some(News::Used),
    };
    let after = lease::decide(session.lease.as_ref(), who, LeaseVerb::Take, now)?;
    if let Some(session) = entry.session_mut(id) {
        session.lease = after;
    }
    Ok(news)
}
