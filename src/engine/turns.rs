//! Work that blocks on files: on threads for that, few at a time, and no more of it than somebody takes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tokio_stream::StreamExt;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::PIECES_AHEAD_MAX,
    },
    runtime::BoxStream,
    session::unfold::unfold,
};

/// Reads a few pieces whenever they are asked for, when it is its turn: no thread waits for who takes
/// them.
pub(super) fn on_demand<T: Send + 'static>(
    readers: &Arc<Semaphore>,
    pieces: impl Iterator<Item = Outcome<T>> + Send + 'static,
) -> BoxStream<Outcome<T>> {
    let readers = Arc::clone(readers);
    unfold((Some(pieces), VecDeque::new()), move |(mut pieces, mut read)| {
        let readers = Arc::clone(&readers);
        async move {
            if read.is_empty()
                && let Some(mut rest) = pieces.take()
            {
                let few = taking_turns(readers, move || {
                    let few: VecDeque<_> = rest.by_ref().take(PIECES_AHEAD_MAX).collect();
                    Ok((rest, few))
                });
                match few.await {
                    Ok((rest, few)) => {
                        pieces = (few.len() == PIECES_AHEAD_MAX).then_some(rest);
                        read = few;
                    }
                    Err(fault) => read.push_back(Err(fault)),
                }
            }
            let next = read.pop_front();
            ((pieces, read), next)
        }
    })
}

/// Pieces of what takes a while to begin: whoever asked for them has an answer before that, and hears from the first piece how
/// it went. It is given up with the stream.
pub(super) fn once_begun<T: Send + 'static>(
    begin: impl Future<Output = Outcome<BoxStream<Outcome<T>>>> + Send + 'static,
) -> BoxStream<Outcome<T>> {
    unfold((Some(Box::pin(begin)), None), |(begin, mut pieces)| async move {
        if let Some(begin) = begin {
            match begin.await {
                Ok(begun) => pieces = Some(begun),
                Err(fault) => return ((None, None), Some(Err(fault))),
            }
        }
        let next = match &mut pieces {
            Some(pieces) => pieces.next().await,
            None => None,
        };
        ((None, pieces), next)
    })
}

/// Runs something that blocks on files, few at a time.
pub(super) async fn taking_turns<T: Send + 'static>(
    readers: Arc<Semaphore>,
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let turn = readers.acquire_owned().await.map_err(|_| Fault::bug("no readers"))?;
    let done = tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(turn);
        outcome
    });
    done.await.map_err(|error| Fault::bug(format!("reading files: {error}")))?
}

/// A turn that one piece of work has at a time, and that it keeps until it has come to its end, however long that takes.
#[derive(Clone)]
pub(super) struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turn {
    /// Does something with a file when it is its turn, and waits so long for all of it: one on a dead network drive must
    /// not hold up every ask. What takes longer goes on by itself, and may still come to its end; until then nothing else
    /// is begun, so that a drive that hangs holds one thread and not one for each who asks.
    pub(super) async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        doing: &str,
        work: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let done = tokio::time::timeout(limit, self.to_its_end(work)).await;
        done.unwrap_or_else(|_| Err(Fault::late(format!("{doing} takes too long"))))
    }

    /// The same for who waits as long as it takes.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        taking_turns(Arc::clone(&self.0), work).await
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;
    use crate::base::fault::Kind;

    #[tokio::test]
    async fn a_file_that_hangs_holds_up_nobody_and_one_thread_and_what_was_begun_comes_to_its_end()
    {
        let (go, hangs) = std::sync::mpsc::sync_channel::<()>(1);
        let (tell, mut began) = tokio::sync::mpsc::channel(64);
        let (turn, said) = (Turn::default(), tell.clone());
        let work = move || {
            said.try_send("began").ok();
            hangs.recv().ok();
            said.try_send("ended").ok();
            Ok(())
        };
        let first = turn.clone();
        let first = tokio::spawn(async move {
            first.within(Duration::from_millis(50), "reading x", work).await
        });
        assert_eq!(began.recv().await, Some("began"));
        let late = first.await.unwrap().unwrap_err();
        assert_eq!((late.kind(), late.message()), (Kind::Late, "reading x takes too long"));
        // Nothing more is begun meanwhile, however often somebody asks.
        for _ in 0..20 {
            let said = tell.clone();
            let work = move || {
                said.try_send("another").ok();
                Ok(())
            };
            let late = turn.within(Duration::from_millis(1), "reading x", work).await.unwrap_err();
            assert_eq!(late.kind(), Kind::Late);
        }
        go.send(()).unwrap();
        assert_eq!(began.recv().await, Some("ended"));
        assert_eq!(turn.within(Duration::MAX, "reading x", || Ok(7)).await, Ok(7));
        assert!(began.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_takes_a_while_to_begin_is_begun_by_who_takes_a_piece_and_given_up_with_the_stream()
     {
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let pieces = || Box::pin(tokio_stream::iter([Ok(1), Ok(2)])) as BoxStream<Outcome<i32>>;
        let mut stream = once_begun(async move {
            gone.await.map_err(|_| Fault::lost("nobody goes"))?;
            Ok(pieces())
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), stream.next()).await.is_err());
        go.send(()).unwrap();
        assert_eq!(stream.collect::<Vec<_>>().await, [Ok(1), Ok(2)]);
        let refused = once_begun::<i32>(async { Err(Fault::lost("not there")) });
        assert_eq!(refused.collect::<Vec<_>>().await, [Err(Fault::lost("not there"))]);
        let (held, ended) = tokio::sync::oneshot::channel::<()>();
        let stream = once_begun(async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(pieces())
        });
        drop(stream);
        assert!(ended.await.is_err());
    }

    #[test]
    fn who_takes_no_pieces_holds_no_thread() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let readers = Arc::new(Semaphore::new(1));
            let mut streams: Vec<_> = (0..3).map(|_| on_demand(&readers, (0..).map(Ok))).collect();
            for wanted in 0..2 * PIECES_AHEAD_MAX {
                for stream in &mut streams {
                    assert_eq!(stream.next().await, Some(Ok(wanted)));
                }
            }
            assert_eq!(taking_turns(Arc::clone(&readers), || Ok(7)).await, Ok(7));
            let few = on_demand(&readers, (0..11).map(Ok));
            assert_eq!(few.collect::<Vec<_>>().await, (0..11).map(Ok).collect::<Vec<_>>());
        });
    }
}
