//! Work that blocks on files: on threads for that, few at a time, and no more of it than somebody takes.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Semaphore;

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

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

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
