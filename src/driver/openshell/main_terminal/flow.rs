//! What flows through all attachments to one program: what is printed, on and on, and what is typed, which goes to what is
//! seen or nowhere.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
    time::{Instant, timeout},
};

use super::{Wanted, guard::Guard, terminal::Keyboard};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{GATEWAY_TYPED_BYTES_MAX, RETRY_AFTER_MIN},
        units::Size,
    },
    driver::openshell::{remote::Remote, replay::Tail},
};

/// How soon a keyboard that was ours is free there again.
const LETS_GO_WITHIN: Duration = Duration::from_secs(15);
/// How long one that is not free yet is left alone: meanwhile it is watched.
const AGAIN_AFTER: Duration = RETRY_AFTER_MIN.saturating_mul(5);

pub struct Flow {
    pub remote: Arc<Remote>,
    pub wanted: Arc<Wanted>,
    pub held: watch::Receiver<bool>,
    output: DuplexStream,
    pub keys: DuplexStream,
    /// As who typed last had it; `None` = nobody here has said, and it stays as it is.
    pub size: watch::Receiver<Option<Size>>,
    pub tail: Tail,
    /// Typed, and not passed on yet.
    pub pending: Vec<u8>,
    guard: Guard,
    /// It is attached to by us as who types.
    pub types: bool,
    /// When it was last.
    typed_until: Option<Instant>,
    /// When that is tried once more, after our own keyboard was not free yet.
    pub again_at: Option<Instant>,
    /// It was said that what is typed goes nowhere.
    refused: bool,
}

impl Flow {
    pub fn new(
        remote: Arc<Remote>,
        wanted: Arc<Wanted>,
        (output, keys): (DuplexStream, DuplexStream),
        size: watch::Receiver<Option<Size>>,
    ) -> Self {
        Self {
            held: wanted.held.subscribe(),
            remote,
            wanted,
            output,
            keys,
            size,
            tail: Tail::default(),
            pending: Vec::new(),
            guard: Guard::default(),
            types: false,
            typed_until: None,
            again_at: None,
            refused: false,
        }
    }

    /// Begins another attachment; tells whether it is one to type.
    pub fn begin(&mut self) -> bool {
        self.types = false;
        (*self.held.borrow_and_update() || !self.pending.is_empty())
            && !self.wanted.is_owned()
            && self.again_at.is_none_or(|it| it <= Instant::now())
    }

    /// Ends one.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.types) {
            self.typed_until = Some(Instant::now());
        }
    }

    pub async fn print(&mut self, bytes: &[u8]) -> Outcome<()> {
        let printed = self.output.write_all(bytes).await;
        printed.map_err(|error| Fault::io("passing on what it prints", &error))
    }

    /// Its terminal is seen, by who types if that is said.
    pub async fn is_seen(&mut self, types: bool) {
        self.types = types;
        if !self.wanted.is_attached() {
            self.drain().await;
            self.refused = false;
            self.wanted.attached.store(true, Ordering::Release);
        }
        self.note_over();
    }

    /// What was the matter is over, unless somebody else types.
    pub fn note_over(&self) {
        let owned = self.wanted.is_owned();
        self.remote.differs(|seen| !owned && seen.terminal.take().is_some());
    }

    /// Its terminal is not seen any more: what is typed from now on is refused, and what was typed goes nowhere.
    pub fn lost(&mut self) {
        self.wanted.attached.store(false, Ordering::Release);
        (self.types, self.again_at) = (false, None);
        if !self.pending.is_empty() {
            self.refuse();
        }
    }

    /// Says that what was typed goes nowhere, once for each time that the terminal is not seen.
    pub fn refuse(&mut self) {
        self.pending.clear();
        if !std::mem::replace(&mut self.refused, true) {
            self.remote
                .log
                .say("what was typed last did not all arrive: its terminal was not seen any more");
        }
    }

    /// Something was typed; tells whether it takes another attachment to pass it on.
    pub fn typed(&mut self, bytes: &[u8], types: bool) -> bool {
        if !self.wanted.is_attached() {
            self.refuse();
            return false;
        }
        self.pending.extend_from_slice(bytes);
        !types && self.may_begin()
    }

    /// Takes what was typed and refuses it, on and on.
    pub async fn refuse_typed(&mut self) {
        let mut keys = vec![0; GATEWAY_TYPED_BYTES_MAX];
        while let Ok(1..) = self.keys.read(&mut keys).await {
            self.refuse();
        }
        // Nobody types any more.
        std::future::pending::<()>().await;
    }

    /// The same with what is there already.
    async fn drain(&mut self) {
        drop(timeout(Duration::ZERO, self.refuse_typed()).await);
    }

    /// Passes on what was typed. What is lost on the way is kept, for whoever says that it is lost.
    pub async fn type_in(&mut self, keyboard: &mut Keyboard) -> Outcome<()> {
        let passed = self.guard.pass(&self.pending, &self.remote);
        keyboard.type_in(&passed).await?;
        self.pending.clear();
        Ok(())
    }

    /// Somebody else types there: it is only watched from here. Where that is ourselves, a moment ago, what was typed waits for
    /// a little while.
    pub fn is_owned(&mut self) {
        self.types = false;
        if self.typed_until.is_some_and(|it| it.elapsed() < LETS_GO_WITHIN) {
            self.again_at = Some(Instant::now() + AGAIN_AFTER);
            return;
        }
        *self.wanted.owned() = Some(Instant::now());
        self.drop_typed();
        let words = "somebody else types into it by the gateway; it is only watched here";
        self.remote.differs(|seen| seen.terminal.replace(words.to_owned()).is_none());
    }

    /// It counts no more that somebody else typed.
    pub fn is_free(&mut self) {
        *self.wanted.owned() = None;
        self.note_over();
    }

    /// Whether it is to be attached to as who types, now that something was typed or somebody stepped in.
    pub fn may_begin(&mut self) -> bool {
        if self.wanted.is_owned() {
            self.drop_typed();
            return false;
        }
        self.again_at.is_none()
    }

    /// It is worth another try, if anybody wants to type still.
    pub fn is_again(&mut self) -> bool {
        self.again_at = None;
        *self.held.borrow() || !self.pending.is_empty()
    }

    /// What was typed goes nowhere; whoever types next is told so at once.
    fn drop_typed(&mut self) {
        if !self.pending.is_empty() {
            self.pending.clear();
            self.remote.log.say("what was typed did not arrive: somebody else types");
        }
    }
}
