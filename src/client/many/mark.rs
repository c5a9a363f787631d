//! The mark that things of one of several hubs bear: on the way in it is put onto every id and name, on the way out it is
//! taken off every id, and what is another hub's goes nowhere. Things of the first hub bear none, and are not touched.

use std::sync::{Arc, OnceLock, Weak};

use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::{AskId, ClientId, HubNumber, SandboxId, SessionId, SnapshotId},
    },
    model::{
        ask::Ask,
        change::Subject,
        event::Event,
        gauge::{Gauge, Gauges, GpuShare, HostGauge},
        history::Recording,
        rule::Proposal,
        sandbox::Sandbox,
        session::{Lease, Session},
        snapshot::Snapshot,
        status::Explained,
        timeline::{Happening, TimelinePage},
    },
    runtime::Runtime,
};

/// Parts the name of a thing from that of its context; in neither of them it can be.
const OF: char = '@';

/// Of one hub.
#[derive(Clone)]
pub(super) struct Mark {
    pub hub: HubNumber,
    /// Of its context.
    pub name: Arc<str>,
    /// Who we are to the console.
    us: ClientId,
    /// The hub, once it was reached: over TLS it has a say in who we are to it.
    reached: Arc<OnceLock<Weak<dyn Runtime>>>,
}

macro_rules! ids {
    ($($out:ident $home:ident: $id:ident,)*) => {$(
        fn $out(&self, id: &mut $id) {
            *id = id.clone().of_hub(self.hub);
        }

        /// As its hub calls it; refused when it is another's.
        pub(super) fn $home(&self, id: &$id) -> Outcome<$id> {
            if id.hub() == self.hub { Ok(id.at_home()) } else { Err(strange()) }
        }
    )*};
}

fn strange() -> Fault {
    Fault::bug("something of one hub was on its way to another; nothing was done")
}

impl Mark {
    ids! {
        put_sandbox sandbox: SandboxId,
        put_session session: SessionId,
        put_snapshot snapshot: SnapshotId,
        put_ask ask: AskId,
    }

    pub(super) fn new(hub: HubNumber, name: &str, us: ClientId) -> Self {
        Self { hub, name: name.into(), us, reached: Arc::default() }
    }

    /// It was reached, once and for all.
    pub(super) fn reached(&self, runtime: &Arc<dyn Runtime>) {
        // Whoever reaches it does so once.
        drop(self.reached.set(Arc::downgrade(runtime)));
    }

    fn us_there(&self) -> Option<ClientId> {
        self.reached.get()?.upgrade()?.client()
    }

    pub(super) fn is_first(&self) -> bool {
        self.hub == HubNumber::FIRST
    }

    /// A name, or one with an ordinal behind it, as people tell it from those of other hubs.
    fn put_name(&self, name: &mut String) {
        if !name.is_empty() {
            let plain = std::mem::take(name);
            *name = match plain.split_once('/') {
                Some((of, ordinal)) => format!("{of}{OF}{}/{ordinal}", self.name),
                None => format!("{plain}{OF}{}", self.name),
            };
        }
    }

    /// An id with its mark, or a name, as its hub knows it.
    pub(super) fn word(&self, word: &str) -> String {
        if self.is_first() {
            return word.to_owned();
        }
        let number = format!("{}{OF}", self.hub.0);
        let name = format!("{OF}{}", self.name);
        let id = word.strip_prefix(number.as_str());
        id.or_else(|| word.strip_suffix(name.as_str())).unwrap_or(word).to_owned()
    }

    pub(super) fn subject(&self, of: Subject) -> Outcome<Subject> {
        Ok(match of {
            Subject::Sandbox(id) => Subject::Sandbox(self.sandbox(&id)?),
            Subject::Snapshot(id) => Subject::Snapshot(self.snapshot(&id)?),
        })
    }

    /// What its hub refused, with whose words these are.
    pub(super) fn fault(&self, fault: Fault) -> Fault {
        // What is there no more, or is wrong, is said of a thing that has its hub in its name.
        match fault.kind() {
            Kind::Lost | Kind::Late | Kind::Denied if !self.is_first() => fault.context(&self.name),
            _ => fault,
        }
    }

    /// What a hub said, with its mark.
    pub(super) fn put<T: Marked>(&self, mut it: T) -> T {
        if !self.is_first() {
            it.mark(self);
        }
        it
    }
}

/// What bears a mark.
pub(super) trait Marked {
    fn mark(&mut self, with: &Mark);
}

impl<T: Marked> Marked for Vec<T> {
    fn mark(&mut self, with: &Mark) {
        self.iter_mut().for_each(|it| it.mark(with));
    }
}

impl<T: Marked + Clone> Marked for Arc<T> {
    fn mark(&mut self, with: &Mark) {
        // What came over a wire is nobody else's, and is not copied.
        Arc::make_mut(self).mark(with);
    }
}

impl Marked for Session {
    fn mark(&mut self, with: &Mark) {
        with.put_session(&mut self.id);
        with.put_sandbox(&mut self.sandbox);
        self.lease.iter_mut().for_each(|it| it.mark(with));
    }
}

impl Marked for Lease {
    fn mark(&mut self, with: &Mark) {
        if with.us_there().as_ref() == Some(&self.holder) {
            self.holder = with.us.clone();
        }
    }
}

impl Marked for Ask {
    fn mark(&mut self, with: &Mark) {
        with.put_ask(&mut self.asked.id);
        self.asked.session.iter_mut().for_each(|it| with.put_session(it));
        with.put_sandbox(&mut self.sandbox);
        with.put_name(&mut self.sandbox_name);
        let kept = self.decision.iter_mut().filter_map(|it| it.besides.snapshot.as_mut());
        kept.for_each(|it| with.put_snapshot(it));
    }
}

impl Marked for Sandbox {
    fn mark(&mut self, with: &Mark) {
        with.put_sandbox(&mut self.id);
        with.put_name(&mut self.name);
        self.sessions.mark(with);
        self.asks.mark(with);
        self.moment.iter_mut().for_each(|it| with.put_snapshot(it));
    }
}

impl Marked for Snapshot {
    fn mark(&mut self, with: &Mark) {
        with.put_snapshot(&mut self.id);
        with.put_sandbox(&mut self.sandbox);
        with.put_name(&mut self.sandbox_name);
        self.parent.iter_mut().for_each(|it| with.put_snapshot(it));
    }
}

impl Marked for Recording {
    fn mark(&mut self, with: &Mark) {
        with.put_session(&mut self.session);
        with.put_name(&mut self.sandbox_name);
        with.put_name(&mut self.session_name);
    }
}

impl Marked for Explained {
    fn mark(&mut self, with: &Mark) {
        with.put_session(&mut self.session);
    }
}

impl Marked for Proposal {
    fn mark(&mut self, with: &Mark) {
        for it in self.drafts.iter_mut().flat_map(|it| &mut it.reach.matched) {
            with.put_ask(&mut it.ask);
            with.put_sandbox(&mut it.sandbox);
            with.put_name(&mut it.sandbox_name);
        }
    }
}

impl Marked for Happening {
    fn mark(&mut self, with: &Mark) {
        self.sandbox.iter_mut().for_each(|it| with.put_sandbox(it));
        self.session.iter_mut().for_each(|it| with.put_session(it));
        self.ask.iter_mut().for_each(|it| with.put_ask(it));
        self.snapshot.iter_mut().for_each(|it| with.put_snapshot(it));
        if let Some(name) = &mut self.sandbox_name {
            let plain = name.clone();
            with.put_name(name);
            // A line that begins with whom it is about still does.
            if let Some(rest) = self.text.strip_prefix(&plain)
                && rest.starts_with([' ', ':', '/'])
            {
                self.text = format!("{name}{rest}");
            }
        }
    }
}

impl Marked for TimelinePage {
    fn mark(&mut self, with: &Mark) {
        self.happenings.mark(with);
    }
}

impl Marked for HostGauge {
    fn mark(&mut self, with: &Mark) {
        let of = self.gpus.iter_mut().flat_map(|it| &mut it.processes);
        of.filter_map(|it| it.sandbox.as_mut()).for_each(|it| with.put_sandbox(it));
    }
}

impl Marked for Gauge {
    fn mark(&mut self, with: &Mark) {
        with.put_sandbox(&mut self.sandbox);
    }
}

impl Marked for Gauges {
    fn mark(&mut self, with: &Mark) {
        self.host.mark(with);
        self.sandboxes.mark(with);
        // Its own machine has other GPUs by the same numbers: what is told of one comes along.
        for share in self.sandboxes.iter_mut().flat_map(|it| &mut it.gpus) {
            let whole = share.whole(&self.host.gpus).cloned();
            if let (None, Some(gpu)) = (&share.own, whole) {
                *share = GpuShare { own: Some(Box::new(gpu)), ..share.clone() };
            }
        }
    }
}

impl Marked for Event {
    fn mark(&mut self, with: &Mark) {
        match self {
            Self::Snapshot { sandboxes, .. } | Self::Part { sandboxes, .. } => sandboxes.mark(with),
            Self::Changed { sandbox, .. } => sandbox.mark(with),
            Self::Removed { id, .. } => with.put_sandbox(id),
            Self::Notice { notice, .. } => match &mut notice.sandbox {
                Some(it) => with.put_sandbox(it),
                // It is about the hub itself.
                None => notice.text = format!("{}: {}", with.name, notice.text),
            },
            Self::Said { session, .. } => with.put_session(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::clock::Timestamp, model::timeline::Kind as What};

    fn mark(hub: u32) -> Mark {
        Mark::new(HubNumber(hub), "work", ClientId::parse("here").unwrap())
    }

    #[test]
    fn what_is_another_hub_s_is_refused_on_the_way_out() {
        let id = SandboxId::parse("box").unwrap();
        let marked = id.clone().of_hub(HubNumber(2));
        assert_eq!(mark(2).sandbox(&marked), Ok(id.clone()));
        for (of, id) in [(1, &marked), (0, &marked), (2, &id)] {
            assert_eq!(mark(of).sandbox(id).unwrap_err().kind(), Kind::Bug);
        }
        assert_eq!(mark(0).sandbox(&id), Ok(id));
    }

    #[test]
    fn a_name_says_whose_it_is_and_a_typed_one_is_read_back() {
        let name = |of: &str| {
            let mut name = of.to_owned();
            mark(2).put_name(&mut name);
            name
        };
        assert_eq!((name("box"), name("box/3")), ("box@work".into(), "box@work/3".into()));
        // A hub that gives its own things the names of another's is not believed.
        assert_eq!(name("box@home"), "box@home@work");
        for (typed, known) in [("box@work", "box"), ("2@x9", "x9"), ("box", "box"), ("3@x", "3@x")]
        {
            assert_eq!(mark(2).word(typed), known);
        }
        assert_eq!(mark(0).word("box@work"), "box@work");
    }

    #[test]
    fn a_line_about_a_sandbox_still_begins_with_it() {
        let of = |text: &str| Happening {
            sandbox_name: Some("box".to_owned()),
            ..Happening::new(Timestamp(1), What::Status, "x.y", text)
        };
        for (text, about, words) in [
            ("box/2 ended", "box@work/2", "ended"),
            ("box: low", "box@work", "low"),
            ("boxes", "box@work", "boxes"),
        ] {
            let it = mark(1).put(of(text));
            let (of, rest) = it.parts();
            // With an ordinal the mark stands before it.
            assert_eq!((of.unwrap(), rest.as_str()), (about, words));
        }
    }
}
