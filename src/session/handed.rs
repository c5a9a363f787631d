//! Puts files of an agent's into the home in a sandbox. It decides about none: which they are, profiles say.

use std::time::Duration;

use tokio_stream::StreamExt;

use super::{exec, seat::ExecOutput};
use crate::{
    base::{
        fault::{Fault, Outcome},
        units::Size,
    },
    config::agents::Placed,
    driver::Place,
    model::session::{ExitStatus, SessionSpec},
};

/// Puts files in, each unless there is one, and no longer than `within` for all of them: whoever starts the agent waits.
/// Whether all are there and as they were given; without one the agent runs all the same, and may not be heard of.
pub async fn hand_in(place: &dyn Place, files: &[Placed], within: Duration) -> bool {
    let all = async {
        let mut there = true;
        for file in files {
            if let Err(fault) = write(place, file).await {
                tracing::warn!(%fault, path = %file.path.display(), "an agent's file was not put in");
                there = false;
            }
        }
        there
    };
    tokio::time::timeout(within, all).await.unwrap_or_else(|_| {
        tracing::warn!("not all of an agent's files were put in: it took too long");
        false
    })
}

/// A program of the sandbox's does it: it can write nowhere else, wherever links in that home lead. It ends when nobody
/// waits for it any more.
async fn write(place: &dyn Place, file: &Placed) -> Outcome<()> {
    // One that is another is somebody's own, or was changed by what ran here before: it stays, and is not relied upon.
    const SCRIPT: &str = r#"cd && umask 077 && mkdir -p "${1%/*}" && set -C &&
        { [ -f "$1" ] || printf %s "$2" > "$1"; } && [ "$(cat "$1")" = "$(printf %s "$2")" ]"#;
    let path = file.path.display().to_string();
    let command = ["/bin/sh", "-c", SCRIPT, "sh", &path, &file.text];
    let spec = SessionSpec {
        command: command.map(str::to_owned).into(),
        cwd: None,
        env: Vec::new(),
        size: Size::DEFAULT,
    };
    let program = place.exec(&spec).await?;
    let mut output = exec::run(program, Box::pin(tokio_stream::empty()));
    let mut ended = None;
    while let Some(said) = output.next().await.transpose()? {
        if let ExecOutput::Exit(status) = said {
            ended = Some(status);
        }
    }
    match ended {
        Some(ExitStatus::Code(0)) => Ok(()),
        _ => Err(Fault::failed("it could not be written, or there is another one")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{
        config::agents::Root,
        driver::{PipeIo, PlaceFacts, Program, PtyIo},
    };

    /// Starts no program, and never says so.
    #[derive(Default)]
    struct Stuck(AtomicUsize);

    #[async_trait]
    impl Place for Stuck {
        fn facts(&self) -> PlaceFacts {
            PlaceFacts::default()
        }
        async fn spawn(&self, _: &SessionSpec) -> Outcome<Program<PtyIo>> {
            Err(Fault::unsupported("nothing is started here"))
        }
        async fn exec(&self, _: &SessionSpec) -> Outcome<Program<PipeIo>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
        async fn pause(&self) -> Outcome<()> {
            Ok(())
        }
        async fn resume(&self) -> Outcome<()> {
            Ok(())
        }
        async fn stop(&self, _: Duration) -> Outcome<()> {
            Ok(())
        }
        async fn remove(&self) -> Outcome<()> {
            Ok(())
        }
        async fn gone(&self) -> String {
            std::future::pending().await
        }
    }

    #[test]
    fn one_that_is_stuck_takes_the_time_of_all_and_no_more() {
        let file = Placed { root: Root::Home, path: ".a/b".into(), text: String::new() };
        let place = Stuck::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let files = [file.clone(), file.clone(), file];
        let there = runtime.unwrap().block_on(hand_in(&place, &files, Duration::from_millis(1)));
        assert!(!there);
        assert_eq!(place.0.into_inner(), 1);
    }
}
