//! What programs of one sandbox wait for an answer to. It is kept where the programs are: a hub that dies takes no
//! ask along, and the next one finds them all in its first report.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::feed::Feed;
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{AskId, SessionId},
        limits::{
            ALSO_SHOWN_MAX, ASK_EVERY_MIN, ASK_WITHIN_MAX, ASKS_BURST, ASKS_BYTES_MAX,
            ASKS_PENDING_MAX, LINE_BYTES_MAX,
        },
        text::{count, cut},
    },
    model::ask::{Answer, Asked, Request},
};

/// The asks that wait.
#[derive(Default)]
pub struct Asks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Denied unseen.
    refused: u64,
    /// What is left of a burst, as of `clock::monotonic`; `None` = all of it.
    burst: Option<(f64, Duration)>,
}

/// What is asked, and by whom.
#[derive(Clone, Debug)]
pub struct Plea {
    pub request: Request,
    /// `None` = by no session's program.
    pub session: Option<SessionId>,
    /// What the host knows of it beside the request.
    pub about: Vec<(String, String)>,
    /// It can be done in other words than those it is asked in.
    pub editable: bool,
}

/// What the host knows of who asks, by which askers are told apart.
fn command(about: &[(String, String)]) -> Option<&str> {
    about.iter().find(|(key, _)| key == "command").map(|(_, it)| it.as_str())
}

/// What is answered, and in which other words it is allowed.
pub type Said = (Answer, Option<String>);
type Told = watch::Receiver<Option<Outcome<Said>>>;

struct Waiting {
    asked: Asked,
    /// How much was known of the first one.
    first: usize,
    answer: watch::Sender<Option<Outcome<Said>>>,
}

impl Asks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that wait, oldest first.
    pub fn pending(&self) -> Vec<Asked> {
        self.lock().waiting.iter().map(|it| it.asked.clone()).collect()
    }

    /// What a person should know of those that nobody saw.
    pub fn note(&self) -> Option<String> {
        let refused = self.lock().refused;
        (refused > 0).then(|| format!("{} denied unseen: too many at once", count(refused, "ask")))
    }

    /// Waits for an answer. `Late` when nobody gave one in time, `Busy` when too much is asked already: both deny.
    /// Whoever drops this waits no more.
    pub async fn ask(
        self: &Arc<Self>,
        feed: &Arc<Feed>,
        plea: Plea,
        within: Duration,
    ) -> Outcome<Said> {
        let joined = self.join(plea, within);
        match &joined {
            // There are only so many of these, as `may_ask` has it.
            Ok(it) if it.3 => feed.changed_now(),
            _ => feed.changed(),
        }
        let (id, mut answered, left, _) = joined?;
        let _leaves = Asker { asks: Arc::clone(self), feed: Arc::clone(feed), id };
        match tokio::time::timeout(left, answered.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => match &*answer {
                Some(answer) => answer.clone(),
                None => Err(Fault::bug("an answer that is none")),
            },
            Ok(Err(_)) => Err(Fault::lost("the sandbox ends")),
            Err(_) => Err(Fault::late("nobody answered in time")),
        }
    }

    /// Begins to wait, beside others that ask for the very same if there are any; whether there are none is told last.
    fn join(&self, plea: Plea, within: Duration) -> Outcome<(AskId, Told, Duration, bool)> {
        let Plea { request, session, about, editable } = plea;
        let (now, within) = (clock::wall(), within.min(ASK_WITHIN_MAX));
        let mut state = self.lock();
        // Who shows another command is another asker: nobody allows one by what another is seen to do.
        let same = |it: &&mut Waiting| {
            let asked = &it.asked;
            asked.request == request
                && asked.session == session
                && asked.editable == editable
                && command(&asked.about) == command(&about)
        };
        if let Some(it) = state.waiting.iter_mut().find(same) {
            it.asked.askers += 1;
            it.also(&about);
            // Who came later waits no longer than the ask that is shown.
            let left = Duration::from_millis(
                it.asked.deadline_at.0.saturating_sub(now.0).max(0).cast_unsigned(),
            );
            return Ok((it.asked.id.clone(), it.answer.subscribe(), left.min(within), false));
        }
        let bytes: usize = state.waiting.iter().map(|it| it.asked.request.bytes()).sum();
        let full = state.waiting.len() >= ASKS_PENDING_MAX
            || bytes + request.bytes() > ASKS_BYTES_MAX
            || !state.may_ask(clock::monotonic());
        if full {
            state.refused += 1;
            return Err(Fault::busy("too much is asked at once, so nobody was asked"));
        }
        let (answer, answered) = watch::channel(None);
        let deadline = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let asked = Asked {
            id: AskId::random(),
            request,
            session,
            created_at: now,
            deadline_at: Timestamp(now.0.saturating_add(deadline)),
            askers: 1,
            about,
            editable,
        };
        let id = asked.id.clone();
        let first = asked.about.len();
        state.waiting.push(Waiting { asked, first, answer });
        Ok((id, answered, within, true))
    }

    /// Answers all who ask for it. Other words are for those alone who said that they can do with them.
    pub fn answer(
        &self,
        id: &AskId,
        answer: Answer,
        edit: Option<String>,
    ) -> Outcome<Option<SessionId>> {
        let state = self.lock();
        let found = state.waiting.iter().find(|it| it.asked.id == *id);
        let found = found.ok_or_else(|| Fault::absent(format!("no ask waits by that id: {id}")))?;
        if edit.is_some() && !found.asked.editable {
            return Err(Fault::unsupported("who asks can do it in no other words"));
        }
        found.say(Ok((answer, edit)));
        Ok(found.asked.session.clone())
    }

    /// What a session asks for, this or all of it, was answered elsewhere: nobody need wait any more.
    pub fn over(&self, session: Option<&SessionId>, request: Option<&Request>) {
        let state = self.lock();
        let meant = |it: &&Waiting| {
            it.asked.session.as_ref() == session
                && request.is_none_or(|one| it.asked.request == *one)
        };
        for it in state.waiting.iter().filter(meant) {
            it.say(Err(Fault::lost("it was answered elsewhere")));
        }
    }

    /// One asker less; with the last one the ask is gone.
    fn leave(&self, id: &AskId) {
        let mut state = self.lock();
        if let Some(it) = state.waiting.iter_mut().find(|it| it.asked.id == *id) {
            it.asked.askers -= 1;
        }
        state.waiting.retain(|it| it.asked.askers > 0);
    }
}

impl Waiting {
    /// Shows of one more asker what is not shown of another; beyond a bound, only that there is more. How many those are
    /// is not told here: what a person has read changes a few times at most, or nobody could ever answer a program that
    /// goes on asking.
    fn also(&mut self, about: &[(String, String)]) {
        const ALSO: &str = "also";
        const MORE: &str = "and more";
        let shown = &mut self.asked.about;
        let others = shown.len().saturating_sub(self.first);
        let known = shown.get(..self.first).unwrap_or_default();
        let news: Vec<&str> = about
            .iter()
            .filter(|it| !known.contains(it))
            .map(|(_, words)| words.as_str())
            .collect();
        let entry = (ALSO.to_owned(), cut(&news.join("; "), LINE_BYTES_MAX).to_owned());
        if news.is_empty() || shown.contains(&entry) || others > ALSO_SHOWN_MAX {
            return;
        }
        shown.push(if others < ALSO_SHOWN_MAX {
            entry
        } else {
            (ALSO.to_owned(), MORE.to_owned())
        });
    }

    /// The first to say something decides.
    fn say(&self, what: Outcome<Said>) {
        self.answer.send_if_modified(|it| {
            let first = it.is_none();
            it.get_or_insert(what);
            first
        });
    }
}

impl State {
    /// A burst, and then one after the other.
    fn may_ask(&mut self, now: Duration) -> bool {
        let most = f64::from(ASKS_BURST);
        let left = self.burst.map_or(most, |(left, at)| {
            let more = now.saturating_sub(at).as_secs_f64() / ASK_EVERY_MIN.as_secs_f64();
            (left + more).min(most)
        });
        let may = left >= 1.0;
        self.burst = Some((if may { left - 1.0 } else { left }, now));
        may
    }
}

/// Somebody who waits.
struct Asker {
    asks: Arc<Asks>,
    feed: Arc<Feed>,
    id: AskId,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.asks.leave(&self.id);
        self.feed.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::fault::Kind,
        model::ask::{AskKind, Scope, Verdict},
    };

    fn request(subject: &str) -> Request {
        let subject = subject.to_owned();
        Request { kind: AskKind::Exec, subject, details: Vec::new(), reason: None, agent: None }
    }

    fn plea(subject: &str) -> Plea {
        Plea { request: request(subject), session: None, about: Vec::new(), editable: false }
    }

    fn allow() -> Answer {
        Answer { verdict: Verdict::Allow, scope: Scope::Once, message: None }
    }

    #[tokio::test]
    async fn the_very_same_is_asked_once_and_all_who_ask_are_answered() {
        let (asks, feed) = (Arc::<Asks>::default(), Arc::<Feed>::default());
        let ask = |subject: &str| {
            let (asks, feed, plea) = (Arc::clone(&asks), Arc::clone(&feed), plea(subject));
            tokio::spawn(async move { asks.ask(&feed, plea, ASK_WITHIN_MAX).await })
        };
        let (one, two, other) = (ask("make"), ask("make"), ask("rm"));
        while asks.pending().iter().map(|it| it.askers).sum::<u32>() < 3 {
            tokio::task::yield_now().await;
        }
        let pending = asks.pending();
        assert_eq!(pending.iter().map(|it| it.askers).collect::<Vec<_>>(), [2, 1]);
        let edited = asks.answer(&pending[0].id, allow(), Some("make it".to_owned()));
        assert_eq!(edited.unwrap_err().kind(), Kind::Unsupported);
        asks.answer(&pending[0].id, allow(), None).unwrap();
        // The first answer counts.
        let deny = Answer { verdict: Verdict::Deny, ..allow() };
        asks.answer(&pending[0].id, deny, None).unwrap();
        let allowed = (allow(), None);
        assert_eq!(one.await.unwrap().unwrap(), allowed);
        assert_eq!(two.await.unwrap().unwrap(), allowed);
        asks.over(None, Some(&request("nothing")));
        asks.over(Some(&SessionId::random()), None);
        assert_eq!(asks.pending().len(), 1);
        let third = ask("third");
        while asks.pending().len() < 2 {
            tokio::task::yield_now().await;
        }
        asks.over(None, Some(&request("third")));
        assert_eq!(third.await.unwrap().unwrap_err().kind(), Kind::Lost);
        other.abort();
        assert!(other.await.is_err());
        assert_eq!(asks.pending(), []);
        let late = asks.answer(&pending[0].id, allow(), None);
        assert_eq!(late.unwrap_err().kind(), Kind::Absent);
    }

    #[test]
    fn who_shows_another_command_is_asked_about_apart_and_what_else_differs_is_shown() {
        let asks = Asks::default();
        let join = |command: &str, says: &str| {
            let about = [("command", command), ("it says", says)];
            let about = about.map(|(key, it)| (key.to_owned(), it.to_owned())).into();
            asks.join(Plea { about, ..plea("a.example:80") }, ASK_WITHIN_MAX).unwrap().0
        };
        let first = join("python3 good.py", "GET /one");
        assert_eq!(join("python3 good.py", "GET /one"), first);
        assert_ne!(join("python3 evil.py", "GET /one"), first);
        for number in 0..ALSO_SHOWN_MAX + 3 {
            assert_eq!(join("python3 good.py", &format!("POST /{number}")), first);
        }
        let pending = asks.pending();
        assert_eq!(pending.len(), 2);
        let shown: Vec<&str> = pending[0].about.iter().map(|(_, it)| it.as_str()).collect();
        assert_eq!(shown[..3], ["python3 good.py", "GET /one", "POST /0"]);
        assert_eq!(shown.last(), Some(&"and more"));
        assert_eq!(shown.len(), 2 + ALSO_SHOWN_MAX + 1);
        // Whoever comes now changes nothing of what a person reads, but with another command.
        for number in 0..100 {
            assert_eq!(join("python3 good.py", &format!("PUT /{number}")), first);
        }
        let now = asks.pending();
        let read = |it: &Asked| Asked { askers: 0, ..it.clone() };
        assert_eq!((now.len(), read(&now[0])), (2, read(&pending[0])));
        assert_eq!(now[0].askers, pending[0].askers + 100);
        assert_ne!(join("python3 bad.py", "GET /one"), first);
        assert_eq!(asks.pending().len(), 3);
    }

    #[tokio::test]
    async fn what_nobody_answers_or_nobody_can_read_is_denied() {
        let (asks, feed) = (Arc::<Asks>::default(), Arc::<Feed>::default());
        let late = asks.ask(&feed, plea("x"), Duration::ZERO).await;
        assert_eq!(late.unwrap_err().kind(), Kind::Late);
        assert_eq!((asks.pending(), asks.note()), (Vec::new(), None));
        let mut kinds = Vec::new();
        for number in 0..1000 {
            let asked = asks.ask(&feed, plea(&number.to_string()), Duration::ZERO);
            kinds.push(asked.await.unwrap_err().kind());
        }
        assert!(kinds.iter().filter(|it| **it == Kind::Late).count() <= 20);
        assert!(asks.note().unwrap().contains("denied unseen"));
        let held: Vec<_> = (0..100)
            .map(|it| asks.join(plea(&format!("{it}{}", "x".repeat(40_000))), ASK_WITHIN_MAX))
            .collect();
        assert!(held.iter().filter(|it| it.is_ok()).count() <= 4);
    }
}
