//! What a program in a local sandbox sees and what it can't reach.

use sandwatch::model::{sandbox::WorkspaceMode, session::ExitStatus};

use super::local_stage::{on_stage, run, session, sh, type_in, until};

#[test]
fn a_shell_runs_on_a_terminal_of_its_own() {
    on_stage("local_view::a_shell_runs_on_a_terminal_of_its_own", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let mut program = place.spawn(&session(&["/bin/bash", "--norc"])).await.unwrap();
        type_in(&mut program.io, "tty; whoami; pwd; stty size; echo done-$((40+2))\n").await;
        let text = until(&mut program.io, "done-42").await;
        assert!(text.contains("/dev/pts/0"), "{text}");
        assert!(text.contains("24 80"), "{text}");
        assert!(text.contains(&stage.workspace.display().to_string()), "{text}");
        assert!(!text.contains("cannot find name"), "{text}");
        type_in(&mut program.io, "exit 7\n").await;
        assert_eq!(program.exit.await.unwrap(), ExitStatus::Code(7));
        assert!(program.pid.is_some());
        place.remove().await.unwrap();
    });
}

#[test]
fn a_program_without_a_terminal_has_its_streams_and_its_code() {
    let name = "local_view::a_program_without_a_terminal_has_its_streams_and_its_code";
    on_stage(name, |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let (text, status) = run(&place, &["sh", "-c", "echo out; echo err >&2; exit 3"]).await;
        assert_eq!((text.as_str(), status), ("out\nerr\n", ExitStatus::Code(3)));
        let fault = place.exec(&session(&["no-such-program"])).await.err().unwrap();
        assert_eq!(fault.kind(), sandwatch::base::fault::Kind::Absent, "{fault}");
        assert_eq!(sh(&place, "echo $CANARY$EXTRA").await, "given");
        place.remove().await.unwrap();
    });
}
