//! One attachment to the terminal, by one `ssh`, from its beginning to its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout},
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    flow::Flow,
    ssh::{self, Part, Said, listen, start},
    terminal::{Keyboard, Terminal},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{
            GATEWAY_REPLAY_FIRST_WITHIN, GATEWAY_REPLAY_QUIET, GATEWAY_REPLAY_WITHIN,
            GATEWAY_TYPED_BYTES_MAX, PTY_CHUNK_BYTES_MAX, RETRY_AFTER_MIN,
        },
    },
    driver::openshell::tunnel,
};

/// How long a typist who holds no keyboard stays one: for a line that somebody sent.
const STAYS: Duration = Duration::from_secs(2);

/// How one attachment ended.
pub enum End {
    /// It is wanted otherwise.
    Otherwise,
    /// With this code, after so many words on its standard error.
    Ended(i32, String),
}

/// One attachment. `pause` begins anew once its terminal is seen.
pub async fn attach(flow: &mut Flow, pause: &mut Duration) -> Outcome<End> {
    let remote = Arc::clone(&flow.remote);
    let types = flow.begin();
    let way = tunnel::open(&remote).await?;
    let mut terminal = match *flow.size.borrow_and_update() {
        Some(size) if types => Some(Terminal::open(size)?),
        _ => None,
    };
    let reads = if types { Part::Types } else { Part::Watches };
    let mut ssh = start(&way.command(&remote.ways), reads, terminal.as_mut())?;
    let (output, errors) = (ssh.stdout.take(), ssh.stderr.take());
    let (Some(output), Some(errors)) = (output, errors) else {
        return Err(Fault::bug("ssh has no pipes"));
    };
    // Kept by who only watches, too: its end would be a word to the other side.
    let keyboard = Keyboard { terminal, pipe: ssh.stdin.take(), types };
    let (words, said) = watch::channel(Said::default());
    tokio::spawn(listen(errors, words));
    let (reaches, reached) = oneshot::channel();
    let carried = tokio::spawn(way.carry(Arc::clone(&remote), reaches));
    let _ends = Ends(carried.abort_handle());
    flow.tail.attached();
    let pump =
        Pump { flow, keyboard, ssh, said, pause, seen: false, replayed: Replayed::default() };
    let end = pump.run(output, reached).await;
    flow.end();
    if !matches!(end, Ok(End::Ended(..))) {
        return end;
    }
    // What broke the way is said by the way, and `ssh` only knows that it is broken.
    let broke = timeout(Duration::from_millis(200), carried).await;
    if let Ok(Ok(Err(fault))) = broke {
        return Err(fault);
    }
    end
}

/// Ends a task with this.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How far what is sent again has come.
#[derive(Default)]
struct Replayed {
    /// When it counts as all, if nothing more comes; `None` = the gateway has not been reached yet.
    until: Option<Instant>,
    /// And when it does, whatever comes.
    at_most: Option<Instant>,
}

impl Replayed {
    /// The first of it is waited for.
    fn waits(&mut self) {
        (self.until, self.at_most) = (Some(Instant::now() + GATEWAY_REPLAY_FIRST_WITHIN), None);
    }

    /// Something of it came; tells whether that is all.
    fn came(&mut self) -> bool {
        let now = Instant::now();
        let at_most = *self.at_most.get_or_insert(now + GATEWAY_REPLAY_WITHIN);
        self.until = Some(at_most.min(now + GATEWAY_REPLAY_QUIET));
        now >= at_most
    }
}

/// Passes on what is printed and what is typed.
struct Pump<'a> {
    flow: &'a mut Flow,
    keyboard: Keyboard,
    ssh: Child,
    said: watch::Receiver<Said>,
    pause: &'a mut Duration,
    /// Its terminal is seen: a typist waits until it is known whether there is one.
    seen: bool,
    replayed: Replayed,
}

impl Pump<'_> {
    async fn run(
        mut self,
        mut output: ChildStdout,
        mut reached: oneshot::Receiver<()>,
    ) -> Outcome<End> {
        let (mut buffer, mut keys) =
            (vec![0; PTY_CHUNK_BYTES_MAX], vec![0; GATEWAY_TYPED_BYTES_MAX]);
        let (mut typed_at, mut listens, mut waits) = (Instant::now(), true, true);
        let types = self.keyboard.types;
        loop {
            if self.seen && types && !self.flow.pending.is_empty() {
                typed_at = Instant::now();
                self.flow.type_in(&mut self.keyboard).await?;
            }
            let (stays, flow) = (typed_at + STAYS, &mut *self.flow);
            let (owned_until, again_at) = (flow.wanted.owned_until(), flow.again_at);
            // What is said goes before what is typed: it may be that nobody reads that.
            let otherwise = tokio::select! {
                biased;
                changed = self.said.changed(), if listens => {
                    listens = changed.is_ok();
                    let owned = types && self.said.borrow_and_update().owned;
                    if owned {
                        flow.is_owned();
                    }
                    owned
                }
                _ = &mut reached, if waits => {
                    waits = false;
                    self.replayed.waits();
                    false
                }
                changed = flow.size.changed(), if types => match changed {
                    Ok(()) => !self.resize(),
                    Err(_) => return self.ended().await,
                },
                count = flow.keys.read(&mut keys), if flow.pending.is_empty() => match count {
                    Ok(count @ 1..) => flow.typed(keys.get(..count).unwrap_or_default(), types),
                    _ => return self.ended().await,
                },
                changed = flow.held.changed() => {
                    let held = *flow.held.borrow_and_update();
                    changed.is_ok() && held && !types && flow.may_begin()
                }
                () = until(again_at), if !types => flow.is_again(),
                () = until(owned_until), if self.seen => {
                    flow.is_free();
                    false
                }
                () = sleep_until(stays), if types && self.seen && !*flow.held.borrow() => true,
                count = output.read(&mut buffer) => match count {
                    Ok(count @ 1..) => {
                        self.print(buffer.get(..count).unwrap_or_default()).await?;
                        false
                    }
                    _ => return self.ended().await,
                },
                () = until(self.replayed.until), if flow.tail.is_looking() || !self.seen => {
                    self.is_seen().await;
                    self.replayed.waits();
                    let news = self.flow.tail.all();
                    self.flow.print(&news).await?;
                    false
                }
            };
            if otherwise {
                return Ok(End::Otherwise);
            }
        }
    }

    async fn print(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.is_seen().await;
        let is_all = self.replayed.came();
        let news = self.flow.tail.take(bytes);
        self.flow.print(&news).await?;
        if is_all {
            let news = self.flow.tail.all();
            self.flow.print(&news).await?;
        }
        Ok(())
    }

    async fn is_seen(&mut self) {
        if !std::mem::replace(&mut self.seen, true) {
            *self.pause = RETRY_AFTER_MIN;
            self.flow.is_seen(self.keyboard.types).await;
        }
    }

    /// It is to be as large as is wanted; `false` = it takes another attachment for that.
    fn resize(&mut self) -> bool {
        let size = *self.flow.size.borrow_and_update();
        let (Some(size), Some(terminal)) = (size, &self.keyboard.terminal) else { return false };
        terminal.resize(size, self.ssh.id());
        true
    }

    async fn ended(mut self) -> Outcome<End> {
        let (code, said) = ssh::ended(&mut self.ssh, &mut self.said).await;
        if self.keyboard.types && said.owned {
            self.flow.is_owned();
            return Ok(End::Otherwise);
        }
        Ok(End::Ended(code, said.last.trim().to_owned()))
    }
}

/// Waits for a moment, if there is one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
