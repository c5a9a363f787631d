//! Programs of a local sandbox that nobody waits for any more.

use std::sync::Arc;

use sandwatch::{
    driver::{PipeIo, Place},
    model::sandbox::{Isolation, SandboxSpec, WorkspaceMode},
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    given::{alive, found},
    local_stage::{Stage, on_stage, session, sh, soon},
};

/// One of each grade that works here.
async fn places(stage: &Stage) -> Vec<Arc<dyn Place>> {
    let mut places = vec![stage.place(&stage.spec(WorkspaceMode::Cow)).await];
    if !stage.by_root {
        let isolation = Some(Isolation::Landlock);
        let spec = SandboxSpec { isolation, ..stage.spec(WorkspaceMode::Rw) };
        places.push(stage.place(&spec).await);
    }
    places
}

/// Three sleepers in one session, each in a process group of its own.
const JOBS: &str = "set -m; sleep 1000 & sleep 1000 & echo up; exec sleep 1000";

/// How many sleepers there are, as the sandbox sees it; in the weaker grade they are its children's.
async fn sleepers(place: &Arc<dyn Place>, session_of: u32) -> String {
    let script = format!(
        "for it in /proc/[0-9]*; do read -r line <$it/stat && set -- $line && \
         [ \"$2\" = '(sleep)' ] && [ \"$6\" = {session_of} ] && echo x; done 2>/dev/null | wc -l"
    );
    sh(place, &script).await
}

#[test]
fn a_program_that_nobody_waits_for_ends() {
    on_stage("local_programs::a_program_that_nobody_waits_for_ends", |stage| async move {
        for place in places(&stage).await {
            for paused in [false, true] {
                let command = format!("echo $$; {JOBS}");
                let program = place.exec(&session(&["bash", "-c", &command])).await.unwrap();
                let PipeIo { stdin, stdout, stderr } = program.io;
                let mut lines = BufReader::new(stdout).lines();
                let leader = lines.next_line().await.unwrap().unwrap().parse().unwrap();
                assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("up"));
                let pid = program.pid.unwrap();
                assert!(alive(pid));
                let all = async || (sleepers(&place, leader).await == "3").then_some(());
                found("all of its jobs", all).await;
                if paused {
                    place.pause().await.unwrap();
                }
                drop((stdin, lines, stderr, program.exit));
                if paused {
                    place.resume().await.unwrap();
                }
                soon("its end", || !alive(pid)).await;
                let gone = async || (sleepers(&place, leader).await == "0").then_some(());
                found("the end of its jobs", gone).await;
            }
            place.remove().await.unwrap();
        }
    });
}
