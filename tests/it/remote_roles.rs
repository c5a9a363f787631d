//! What a viewer, an operator and an admin from elsewhere may do: by the verbs as people use them, and call by call.

use std::process::Stdio;

use bytes::Bytes;
use prost::Message;
use sandwatch::{
    base::fault::Kind,
    hub::roles::CALLS,
    model::member::Role,
    wire::{
        fault::from_status,
        methods::methods,
        v1::{InputRequest, InputResponse},
    },
};
use tonic::Code;

use crate::{
    cli_asks::{asking, ended, one_waits},
    program::{Home, eventually},
    remote_support::{Far, call, channel, credentials},
};

fn audit(home: &Home) -> Vec<serde_json::Value> {
    serde_json::from_value(home.json(&["audit", "ls", "--json"])).unwrap()
}

#[test]
fn each_role_does_what_it_may_and_is_told_in_a_line_what_it_may_not() {
    let far = Far::new();
    let hub = &far.hub;
    hub.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--",
        "/bin/sh",
        "-c",
        "echo ready; while read it; do echo got $it; done",
    ]);
    hub.ok(&["wait", "box", "--for", "text=ready", "--timeout", "30s"]);
    let viewer = far.client("vera", "viewer");
    let operator = far.client("olga", "operator");
    let admin = far.client("ada", "admin");

    // Watching.
    for home in [&viewer, &operator, &admin] {
        assert_eq!(home.json(&["ls", "--json"])[0]["name"], "box");
        assert!(home.ok(&["screen", "box"]).contains("ready"));
        assert!(home.ok(&["audit", "ls"]).contains("sandbox.created"));
    }
    let mut watching = viewer.command(&["attach", "--read-only", "box"]);
    let watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    // Typing and answering.
    let why =
        ["vera (certificate) is a viewer on this hub", "takes an operator", "hub members role"];
    viewer.run(&["send", "box", "x<Enter>"]).failed(4, &why);
    viewer.run(&["pause", "box"]).failed(4, &why);
    viewer.run(&["exec", "box", "--", "true"]).failed(4, &why);
    viewer.run(&["files", "ls", "box", "/"]).failed(4, &why);
    viewer.run(&["snapshot", "create", "box"]).failed(4, &why);
    operator.ok(&["send", "box", "from-afar<Enter>"]);
    operator.ok(&["wait", "box", "--for", "text=got from-afar", "--timeout", "30s"]);
    assert_eq!(operator.ok(&["exec", "box", "--", "echo", "hi"]), "hi\n");
    operator.ok(&["pause", "box"]);
    operator.ok(&["resume", "box"]);
    let asker = asking(hub, &["--kind", "exec", "--subject", "make"]);
    let id = one_waits(hub, "make");
    viewer.run(&["approvals", "allow", &id]).failed(4, &why);
    let rule = operator.run(&["approvals", "allow", &id, "--scope", "always", "--yes"]);
    assert_eq!(rule.code, 4, "{rule:?}");
    assert!(rule.stderr.contains("makes a rule: that takes an admin"), "{rule:?}");
    operator.ok(&["approvals", "allow", &id]);
    assert_eq!(ended(asker).0, 0);

    // Making, removing, and who may come.
    let why = ["olga (certificate) is an operator on this hub", "takes an admin"];
    let there = hub.workspace();
    let there = there.to_str().unwrap();
    operator.run(&["run", "-d", "--workspace", there, "--", "true"]).failed(4, &why);
    operator.run(&["rm", "--yes", "box"]).failed(4, &why);
    operator.run(&["hub", "invite", "eve", "--role", "admin"]).failed(4, &why);
    operator.run(&["hub", "stop"]).failed(4, &why);
    admin.ok(&[
        "run",
        "-d",
        "--name",
        "other",
        "--workspace",
        there,
        "--",
        "/bin/sh",
        "-c",
        "sleep 1000",
    ]);
    admin.ok(&["hub", "invite", "eve", "--role", "viewer"]);
    admin.ok(&["rm", "--yes", "other"]);

    // Who it was is proven, and what they call themselves is beside it.
    let all = audit(hub);
    let typed = all.iter().find(|it| it["action"] == "ask.allowed").unwrap();
    assert_eq!(typed["actor"], "olga (certificate)");
    assert_eq!(typed["details"]["from"], "certificate");
    assert_eq!(typed["details"]["member_role"], "operator");
    assert!(typed["details"]["calls_itself"].as_str().unwrap().contains('@'), "{typed}");
    eventually("the refusals are in the record", || {
        let all = audit(hub);
        let refused: Vec<_> = all.iter().filter(|it| it["action"] == "call.refused").collect();
        let has = |actor: &str, subject: &str| {
            refused.iter().any(|it| it["actor"] == actor && it["subject"] == subject)
        };
        has("vera (certificate)", "Sandboxes.Pause")
            && has("olga (certificate)", "Sandboxes.Remove")
    });
    assert!(far.refused("role") >= 8, "{}", far.status());

    // A process is who the system says; no name passes for one that is proven.
    assert_eq!(hub.run_with(&["pause", "box"], &[("USER", "ada (certificate)")]).code, 0);
    let all = audit(hub);
    let paused = all.iter().rfind(|it| it["action"] == "sandbox.paused").unwrap();
    assert_eq!(paused["details"]["from"], "unix");
    assert!(!paused["actor"].as_str().unwrap().contains('('), "{paused}");
    hub.ok(&["resume", "box"]);

    // The end of the session ends who watched, with all that was printed.
    hub.ok(&["stop", "box"]);
    let watched = watching.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&watched.stdout).contains("got from-afar"), "{watched:?}");
}

#[test]
fn a_role_that_changes_holds_at_once() {
    let far = Far::new();
    far.hub.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "cat"]);
    let client = far.client("vera", "viewer");
    client.run(&["send", "box", "x"]).failed(4, &["viewer"]);
    far.hub.ok(&["hub", "members", "role", "vera", "operator"]);
    client.ok(&["send", "box", "x"]);
    far.hub.ok(&["hub", "members", "role", "vera", "viewer"]);
    client.run(&["send", "box", "x"]).failed(4, &["viewer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_the_descriptors_is_refused_below_its_role_and_made_at_it() {
    let (far, clients) = tokio::task::spawn_blocking(|| {
        let far = Far::new();
        let clients = Role::ALL.iter().map(|it| (*it, far.client(it.word(), it.word())));
        let clients: Vec<_> = clients.collect();
        (far, clients)
    })
    .await
    .unwrap();
    let mut told = methods();
    assert!(told.len() > 60);
    // Last, for it ends the hub.
    let last = "/sandwatch.v1.Hub/Shutdown".to_owned();
    told.retain(|it| *it != last);
    told.push(last);
    let mut connected = Vec::new();
    for (role, home) in &clients {
        let it = credentials(home);
        let channel = channel(&far.address, &it).await.unwrap();
        connected.push((*role, format!("{}.x", it.member), channel));
    }
    let mut refused = 0;
    for path in &told {
        let (service, method) = path[1..].split_once('/').unwrap();
        let listed = CALLS.iter().find(|it| it.service == service && it.method == method).unwrap();
        for (role, client, channel) in &connected {
            let came = call(channel, path, client, Bytes::new()).await;
            let denied = came.as_ref().err().is_some_and(|it| it.code() == Code::PermissionDenied);
            if *role < listed.least {
                let status = came.err().unwrap();
                let fault = from_status(&status);
                assert!(denied && fault.kind() == Kind::Denied, "{path} as {role:?}: {status:?}");
                assert!(fault.message().contains(listed.least.said()), "{path}: {fault}");
                refused += 1;
            } else {
                let unknown =
                    came.as_ref().err().is_some_and(|it| it.code() == Code::Unimplemented);
                assert!(!denied && !unknown, "{path} as {role:?}: {:?}", came.err());
            }
        }
        if path.ends_with("/Shutdown") {
            break;
        }
    }
    assert!(refused > 50, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_for_a_client_of_another_and_what_is_no_call_is_none() {
    let (far, one) = tokio::task::spawn_blocking(|| {
        let far = Far::new();
        let one = far.client("olga", "operator");
        (far, one)
    })
    .await
    .unwrap();
    let it = credentials(&one);
    let channel = channel(&far.address, &it).await.unwrap();
    for other in ["somebody", "m.x", &format!("x{}.x", it.member), it.member.as_str()] {
        let status = call(&channel, "/sandwatch.v1.Sandboxes/List", other, Bytes::new())
            .await
            .err()
            .unwrap();
        assert_eq!(status.code(), Code::PermissionDenied, "{other}: {status:?}");
        assert!(from_status(&status).message().contains("not its own"), "{status:?}");
    }
    let own = format!("{}.x", it.member);
    for none in ["/sandwatch.v1.Hub/Nothing", "/sandwatch.v2.Hub/Ping", "/x/y", "/"] {
        let status = call(&channel, none, &own, Bytes::new()).await.err().unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{none}: {status:?}");
    }
    drop(call(&channel, "/sandwatch.v1.Sandboxes/List", &own, Bytes::new()).await.unwrap());
    tokio::task::spawn_blocking(move || far.has_refused("call.refused", "identity")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_too_much_is_told_and_the_others_go_on() {
    let (far, one, other) = tokio::task::spawn_blocking(|| {
        let far = Far::new();
        let (one, other) = (far.client("olga", "operator"), far.client("vera", "viewer"));
        (far, one, other)
    })
    .await
    .unwrap();
    let it = credentials(&one);
    let channel = channel(&far.address, &it).await.unwrap();
    let own = format!("{}.x", it.member);
    // Calls.
    let mut told = None;
    for _ in 0..200 {
        let calls = (0..50).map(|_| call(&channel, "/sandwatch.v1.Hub/Ping", &own, Bytes::new()));
        let came = futures(calls.collect()).await;
        told = came.into_iter().find_map(Result::err);
        if told.is_some() {
            break;
        }
    }
    let told = told.expect("so many calls are too many");
    assert_eq!(told.code(), Code::ResourceExhausted, "{told:?}");
    assert!(from_status(&told).message().contains("calls a second"), "{told:?}");
    // Also calls that are refused, by who may not make them.
    let vera = credentials(&other);
    let hers = crate::remote_support::channel(&far.address, &vera).await.unwrap();
    let as_vera = format!("{}.x", vera.member);
    let mut codes = Vec::new();
    while !codes.contains(&Code::ResourceExhausted) {
        assert!(codes.len() < 20_000);
        let calls =
            (0..50).map(|_| call(&hers, "/sandwatch.v1.Sandboxes/Remove", &as_vera, Bytes::new()));
        codes.extend(
            futures(calls.collect()).await.into_iter().filter_map(|it| Some(it.err()?.code())),
        );
    }
    assert!(codes.contains(&Code::PermissionDenied));
    // Bytes that are typed, into nothing.
    let typed =
        InputRequest { seq: 7, session: "none".to_owned(), data: vec![b'x'; 64 * 1024].into() };
    let typed: Bytes = typed.encode_to_vec().into();
    let mut busy = false;
    for _ in 0..200 {
        let Ok(mut answers) =
            call(&channel, "/sandwatch.v1.Sessions/Input", &own, typed.clone()).await
        else {
            continue;
        };
        let answer = answers.message().await.unwrap().unwrap();
        let answer = InputResponse::decode(answer).unwrap();
        let fault = sandwatch::base::fault::Fault::from(answer.fault.unwrap());
        busy |= fault.kind() == Kind::Busy && fault.message().contains("bytes a second");
    }
    assert!(busy);
    tokio::task::spawn_blocking(move || {
        other.ok(&["ls"]);
        far.has_refused("call.refused", "rate");
        drop(one);
    })
    .await
    .unwrap();
}

/// All of them at once.
async fn futures<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    let next = std::future::poll_fn(|context| {
        waiting.retain_mut(|it| match it.as_mut().poll(context) {
            std::task::Poll::Ready(one) => {
                done.push(one);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    next.await;
    done
}
