//! Asks: from what a program says on its sandbox's socket to the ask at a client of the hub, and from the client's
//! answer to the program that hears it; through a real shim, hub and registry.
//! `cargo bench --bench asks [-- --asks N]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{inner, load, millis, option, quantile, subject::Home};
use sandwatch::{
    base::id::ClientId,
    client::{Client, Options},
    config::paths::Paths,
    model::{
        ask::{Answer, Ask, AskKind, Request, Scope, Verdict},
        event::Event,
    },
    runtime::{BoxStream, Identity, Runtime},
    wire::shim::{Frames, Plea, Reply, send},
};
use tokio::net::UnixStream;
use tokio_stream::StreamExt;

/// The next ask that the feed tells of.
async fn told(
    events: &mut BoxStream<sandwatch::base::fault::Outcome<Event>>,
    subject: &str,
) -> Ask {
    loop {
        let event = events.next().await.expect("the feed goes on").expect("an event");
        let Event::Changed { sandbox, .. } = event else { continue };
        if let Some(it) = sandbox.asks.iter().find(|it| it.asked.request.subject == subject) {
            return it.clone();
        }
    }
}

async fn measure(home: &Path, asks: usize) -> (Vec<f64>, Vec<f64>) {
    let paths = Paths::under(home);
    let client = ClientId::parse("bench").expect("a plain id");
    let identity = Identity { client, name: "bench".to_owned(), peer: None };
    let options = Options::new(identity, None);
    let runtime = Client::connect(&paths.hub_socket(), options).await.expect("the hub");
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let sandbox = runtime.list().await.expect("a list").remove(0);
    let socket = paths.sandbox(&sandbox.id).join("ask/ask.sock");
    let mut events = runtime.events().await.expect("the feed");
    let (mut shown, mut heard) = (Vec::new(), Vec::new());
    for number in 0..asks {
        let subject = format!("make part-{number}");
        let details = vec![("cwd".to_owned(), "/work".to_owned())];
        let request = Request {
            kind: AskKind::Exec,
            subject: subject.clone(),
            details,
            reason: None,
            agent: None,
        };
        let plea = Plea { request: Some((&request).into()), ..Plea::default() };
        let (reader, mut writer) =
            UnixStream::connect(&socket).await.expect("the socket").into_split();
        let begun = Instant::now();
        send(&mut writer, &plea).await.expect("asking");
        let ask = told(&mut events, &subject).await;
        shown.push(millis(begun.elapsed()));
        let answer = Answer { verdict: Verdict::Allow, scope: Scope::Once, message: None };
        let begun = Instant::now();
        let decided = tokio::spawn({
            let (id, digest, runtime) = (ask.asked.id, ask.digest, runtime.clone());
            async move { runtime.decide(&id, &digest, answer.into()).await }
        });
        Frames::new(reader).next::<Reply>().await.expect("a reply").expect("a reply");
        heard.push(millis(begun.elapsed()));
        decided.await.expect("the answer").expect("the answer");
        // As a person's do, asks come one after the other and not in one burst.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    (shown, heard)
}

fn main() {
    inner::run_if_asked();
    let asks: usize = option("--asks", 100);
    let mut home = Home::new();
    home.sandbox("box", &["idle"]);
    let runtime = tokio::runtime::Runtime::new().expect("tasks");
    let (shown, heard) = runtime.block_on(measure(home.path(), asks));
    println!("{asks} asks, ms, p50 / p99, load {}", load());
    for (name, samples) in [("asked to told", shown), ("answered to heard", heard)] {
        println!("  {name:18} {:6.2} / {:6.2}", quantile(&samples, 0.5), quantile(&samples, 0.99));
    }
}
