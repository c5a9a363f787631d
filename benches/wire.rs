//! The way through hub and client by itself, without a terminal: from a key handed to the client to
//! its receipt, and to its echo in a subscription; idle and beside floods that are read.
//! `cargo bench --bench wire [-- --rounds N --keys N]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{load, median, millis, option, quantile, spec, spread};
use sandwatch::{
    base::{
        clock,
        id::{ClientId, SessionId},
    },
    client::{Client, Options},
    config::paths::Paths,
    driver::{fake::FakeDriver, registry::Registry},
    engine::{self, Engine},
    hub,
    model::output::{Fidelity, From, Output, OutputRequest},
    runtime::{Identity, Runtime},
};
use tokio_stream::StreamExt;

const FLOOD: &str = "flood 1000000000000";

fn who(name: &str) -> Identity {
    let client = ClientId::parse(name).expect("a plain id");
    Identity { client, name: name.to_owned(), peer: None }
}

async fn session(runtime: &dyn Runtime, home: &Path, program: &str) -> SessionId {
    let spec = spec("fake", home, &["sh", "-c", program]);
    let made = runtime.create(spec).await.expect("a sandbox");
    made.sessions.first().expect("its session").id.clone()
}

/// The offset up to which a message tells.
fn end(output: &Output) -> u64 {
    match output {
        Output::Chunk { offset, bytes } => offset + bytes.len() as u64,
        Output::Keyframe { offset, .. }
        | Output::Resize { offset, .. }
        | Output::Fact { offset, .. }
        | Output::Exit { offset, .. } => *offset,
    }
}

/// Times of receipts and of echoes, in ms.
async fn type_keys(runtime: &dyn Runtime, id: &SessionId, keys: usize) -> (Vec<f64>, Vec<f64>) {
    let request =
        OutputRequest { from: From::Now, fidelity: Fidelity::Screen, every_at_least: None };
    let mut prints = runtime.output(id, request).await.expect("a subscription");
    let (mut receipts, mut echoes) = (Vec::new(), Vec::new());
    // The first message is the screen as it is; from then on each key adds one byte.
    let mut wanted = end(&prints.next().await.expect("a screen").expect("a screen"));
    for _ in 0..keys {
        wanted += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let typed = clock::monotonic();
        runtime.input(id, Bytes::from_static(b"k")).await.expect("a receipt");
        receipts.push(millis(clock::monotonic().saturating_sub(typed)));
        while end(&prints.next().await.expect("an echo").expect("an echo")) < wanted {}
        echoes.push(millis(clock::monotonic().saturating_sub(typed)));
    }
    (receipts, echoes)
}

async fn measure(floods: usize, rounds: usize, keys: usize, alone: bool) {
    let temp = tempfile::tempdir().expect("a directory");
    let paths = Paths::under(temp.path());
    let claim = hub::claim(&paths).await.expect("a claim");
    let engine = Engine::open(engine::Options {
        paths: paths.clone(),
        drivers: Registry::default().with(FakeDriver::default()),
        program: std::path::PathBuf::new(),
    });
    let engine = engine.await.expect("an engine");
    let runtime: Arc<dyn Runtime> = if alone {
        engine.client(who("bench"))
    } else {
        let serving = claim.serve(Arc::new(engine.clone()), std::future::pending());
        tokio::spawn(serving);
        while !paths.hub_socket().exists() {
            tokio::task::yield_now().await;
        }
        let options = Options::new(who("bench"), None);
        Arc::new(Client::connect(&paths.hub_socket(), options).await.expect("a client"))
    };
    for _ in 0..floods {
        let id = session(&*runtime, temp.path(), FLOOD).await;
        let request =
            OutputRequest { from: From::Now, fidelity: Fidelity::Screen, every_at_least: None };
        let mut prints = runtime.output(&id, request).await.expect("a subscription");
        tokio::spawn(async move { while prints.next().await.is_some() {} });
    }
    let id = session(&*runtime, temp.path(), "cat").await;
    let mut results: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        let (receipts, echoes) = type_keys(&*runtime, &id, keys).await;
        let quantiles = [
            quantile(&receipts, 0.5),
            quantile(&receipts, 0.99),
            quantile(&echoes, 0.5),
            quantile(&echoes, 0.99),
        ];
        results.iter_mut().zip(quantiles).for_each(|(all, it)| all.push(it));
    }
    let name = if alone { "engine alone" } else { "hub and client" };
    let [a, b, c, d] = results.each_ref().map(|it| median(it));
    println!(
        "  {name:14} beside {floods} floods: receipt p50 {a:7.3} p99 {b:7.3}   echo p50 {c:7.3} p99 {d:7.3}   ±{:.0} %",
        spread(&results[3]) * 100.0
    );
}

fn main() {
    common::inner::run_if_asked();
    let (rounds, keys) = (option("--rounds", 5), option("--keys", 200));
    println!(
        "a key through the wire, in ms; median of {rounds} rounds of {keys} keys, load {}",
        load()
    );
    let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let tasks = tasks.expect("a task runtime");
    for floods in [0, 1, 4] {
        for alone in [true, false] {
            tasks.block_on(measure(floods, rounds, keys, alone));
        }
    }
    tasks.shutdown_background();
}
