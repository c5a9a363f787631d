//! The words over the picture: a lost hub, what has just been said, and output that was left out.
//! Pure: the time is told.

use std::time::Duration;

use crate::{
    base::{
        text::visible,
        units::{human_bytes, human_duration},
    },
    runtime::Link,
};

/// How long words stay.
const MESSAGE_FOR: Duration = Duration::from_secs(4);

/// What is to be said, and until when.
#[derive(Debug, Default)]
pub(super) struct Status {
    message: Option<(String, Duration)>,
    /// Bytes left out lately.
    skipped: Option<(u64, Duration)>,
    /// Since when there is no hub, and why.
    down: Option<(Duration, String)>,
    paused: bool,
}

impl Status {
    pub(super) fn say(&mut self, words: impl Into<String>, now: Duration) {
        self.message = Some((words.into(), now + MESSAGE_FOR));
    }

    pub(super) fn unsay(&mut self) {
        self.message = None;
    }

    pub(super) fn paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Counts output that was never shown.
    pub(super) fn skipped(&mut self, bytes: u64, now: Duration) {
        let before = self.skipped.as_ref().map_or(0, |it| it.0);
        if bytes > 0 {
            self.skipped = Some((before.saturating_add(bytes), now + MESSAGE_FOR));
        }
    }

    /// Takes how the hub is reached; tells whether it is reached again.
    pub(super) fn link(&mut self, link: &Link) -> bool {
        match link {
            Link::Down { since, reason, .. } => self.down = Some((*since, reason.clone())),
            Link::Up { .. } => return self.down.take().is_some(),
            Link::Connecting => {}
        }
        false
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// All there is to say now.
    pub(super) fn words(&mut self, now: Duration) -> Option<String> {
        self.message.take_if(|it| it.1 <= now);
        self.skipped.take_if(|it| it.1 <= now);
        // What is said of a key first: a reason may be longer than the line.
        let mut parts: Vec<String> = self.message.iter().map(|it| visible(&it.0)).collect();
        if let Some((since, reason)) = &self.down {
            let age = human_duration(now.saturating_sub(*since));
            parts.push(format!("NO HUB {age}: {}", visible(reason)));
        }
        if self.paused {
            parts.push("PAUSED: what is typed waits until it is resumed".to_owned());
        }
        if let Some((bytes, _)) = self.skipped {
            parts.push(format!("{} of output were skipped", human_bytes(bytes)));
        }
        (!parts.is_empty()).then(|| parts.join(" · "))
    }

    /// How long until the words change by themselves; `None` = they don't.
    pub(super) fn until_change(&self, now: Duration) -> Option<Duration> {
        let message = self.message.as_ref().map(|it| it.1.saturating_sub(now));
        let skipped = self.skipped.as_ref().map(|it| it.1.saturating_sub(now));
        let age = self.down.as_ref().map(|it| until_older(now.saturating_sub(it.0)));
        message.into_iter().chain(skipped).chain(age).min()
    }
}

/// How long until an age reads differently.
fn until_older(age: Duration) -> Duration {
    let step = if age < Duration::from_secs(60) { 1 } else { 60 };
    let next = (age.as_secs() / step + 1) * step;
    Duration::from_secs(next).saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Trips;

    const AT: Duration = Duration::from_secs(100);

    fn down(reason: &str) -> Link {
        Link::Down { since: AT, reason: reason.to_owned(), next_try: AT }
    }

    #[test]
    fn a_lost_hub_is_told_and_its_seconds_are_counted() {
        let mut status = Status::default();
        assert_eq!((status.words(AT), status.until_change(AT)), (None, None));
        assert!(!status.link(&down("it is gone")));
        assert_eq!(status.words(AT).unwrap(), "NO HUB 0s: it is gone");
        let late = AT + Duration::from_millis(2_300);
        assert_eq!(status.words(late).unwrap(), "NO HUB 2s: it is gone");
        assert_eq!(status.until_change(late), Some(Duration::from_millis(700)));
        let later = AT + Duration::from_secs(61);
        assert_eq!(status.until_change(later), Some(Duration::from_secs(59)));
        assert!(status.link(&Link::Up(Trips::default())));
        assert!(!status.link(&Link::Up(Trips::default())));
        assert_eq!((status.words(later), status.until_change(later)), (None, None));
    }

    #[test]
    fn words_go_in_their_time_and_what_was_left_out_adds_up() {
        let mut status = Status::default();
        status.skipped(0, AT);
        assert_eq!(status.words(AT), None);
        status.say("a\x1bb", AT);
        status.skipped(1000, AT);
        status.skipped(500, AT + MESSAGE_FOR / 2);
        let words = status.words(AT).unwrap();
        let skipped = format!("{} of output were skipped", human_bytes(1500));
        assert_eq!(words, format!("{} · {skipped}", visible("a\x1bb")));
        assert_eq!(status.until_change(AT), Some(MESSAGE_FOR));
        assert_eq!(status.words(AT + MESSAGE_FOR).unwrap(), skipped);
        assert_eq!(status.words(AT + 2 * MESSAGE_FOR), None);
    }
}
