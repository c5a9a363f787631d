//! Reads the terminal in a thread of its own and hands events over in order; a full queue holds the
//! thread, and so the terminal, back.

use crossterm::event::Event;
use tokio::sync::mpsc;

use crate::base::fault::{Fault, Outcome};

/// Events read ahead of the loop: a fast typist and a moving mouse between two turns.
const EVENTS_MAX: usize = 256;

/// Starts reading, after what was typed `ahead`. The channel closes when the terminal is gone.
pub fn listen(ahead: Vec<Event>) -> Outcome<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let body = move || {
        for event in ahead {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
        loop {
            match crossterm::event::read() {
                Ok(event) => {
                    if sender.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::info!(%error, "the terminal can't be read any more");
                    return;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(body)
        .map_err(|error| Fault::io("start the thread that reads keys", &error))?;
    Ok(events)
}
