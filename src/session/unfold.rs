//! A stream made of one async step function. Nothing runs unless the stream is polled, and
//! dropping it drops everything it holds.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio_stream::Stream;

use super::seat::BoxStream;

type Step<S, T> = Pin<Box<dyn Future<Output = (S, Option<T>)> + Send>>;

struct Unfold<S, T, F> {
    step: F,
    /// `None` once the stream has ended.
    running: Option<Step<S, T>>,
}

impl<S, T, F> Stream for Unfold<S, T, F>
where
    F: FnMut(S) -> Step<S, T> + Unpin,
{
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(running) = &mut self.running else { return Poll::Ready(None) };
        let (state, item) = std::task::ready!(running.as_mut().poll(context));
        self.running = item.is_some().then(|| (self.step)(state));
        Poll::Ready(item)
    }
}

/// Calls `step` with the state it gave back last, until it gives no item.
pub fn unfold<S, T, F, R>(state: S, mut step: F) -> BoxStream<T>
where
    S: Send + 'static,
    T: Send + 'static,
    F: FnMut(S) -> R + Send + Unpin + 'static,
    R: Future<Output = (S, Option<T>)> + Send + 'static,
{
    let mut step = move |state: S| -> Step<S, T> { Box::pin(step(state)) };
    let running = Some(step(state));
    Box::pin(Unfold { step, running })
}
