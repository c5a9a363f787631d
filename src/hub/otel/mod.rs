//! What the hub knows, told to an OpenTelemetry collector: the figures of `metrics`, and what became of sessions and asks as
//! traces. Only where the operator's environment names a collector; where it is and how it is spoken to is the library's to read.
//!
//! No text of a program or an agent is in it: names, kinds, times and figures.
mod spans;

use std::{
    collections::HashMap,
    fmt::Display,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
    trace::SpanExporter as _,
};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::StreamExt;

use self::spans::Spans;
use super::metrics::{Kind, Known, Sample, families};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{ASKS_WANTED_MAX, SANDBOXES_MAX, SPANS_AT_LAST_WITHIN, SPANS_EVERY},
    },
    config::environment::{self, Collected},
    model::gauge::Gauges,
    runtime::{AsksWanted, HubStatus, Runtime},
};

/// Who tells: in traces, and for metrics.
const SCOPE: &str = "sandwatch";
/// The library's own clock for figures is not used: they are sent when they were read.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Tells a collector what it wants until `ends` says so, and then what is left to tell.
pub async fn serve(wanted: Collected, runtime: Arc<dyn Runtime>, ends: watch::Receiver<bool>) {
    for flaw in &wanted.flaws {
        tracing::warn!(flaw, "OpenTelemetry");
    }
    let figures = async {
        if let Some(every) = wanted.metrics {
            let told = metrics(every, &*runtime, ends.clone()).await;
            told.unwrap_or_else(|fault| tracing::warn!(%fault, "no figures go to a collector"));
        }
    };
    let happened = async {
        if wanted.traces {
            let told = traces(&*runtime, ends.clone()).await;
            told.unwrap_or_else(|fault| tracing::warn!(%fault, "no traces go to a collector"));
        }
    };
    tokio::join!(figures, happened);
}

/// Resolves when the hub ends.
async fn over(ends: &mut watch::Receiver<bool>) {
    drop(ends.wait_for(|it| *it).await);
}

/// Who this is, unless the environment says otherwise.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let named = named.get(&"service.name".into()).map(|it| it.to_string());
    let mut all = Resource::builder();
    if named.is_none_or(|it| it.starts_with("unknown_service")) {
        all = all.with_service_name(SCOPE);
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    all.with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("host.name", host),
    ])
    .build()
}

/// A fault that is said when it is another than the last one.
#[derive(Default)]
struct Once(Option<String>);

impl Once {
    fn say(&mut self, what: &str, done: Result<(), impl Display>) {
        let words = done.err().map(|it| it.to_string());
        match &words {
            Some(words) if self.0.as_ref() != Some(words) => {
                let to = environment::collector();
                tracing::warn!("{what} ({to}): {words}");
            }
            None if self.0.is_some() => tracing::info!("{what}: it arrives again"),
            _ => {}
        }
        self.0 = words;
    }
}

/// Exports with the runtime of the hub at hand: figures are sent by a thread of the library's, and its client for HTTP needs one.
#[derive(Debug)]
struct WithRuntime(MetricExporter, Handle);

impl PushMetricExporter for WithRuntime {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut exports = Box::pin(self.0.export(metrics));
        poll_fn(|context| {
            let _here = self.1.enter();
            exports.as_mut().poll(context)
        })
        .await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, within: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(within)
    }

    fn temporality(&self) -> Temporality {
        self.0.temporality()
    }
}

type Latest = Arc<Mutex<HashMap<&'static str, Vec<Sample>>>>;

async fn metrics(
    every: Duration,
    runtime: &dyn Runtime,
    mut ends: watch::Receiver<bool>,
) -> Outcome<()> {
    let exporter = MetricExporter::builder().build();
    let exporter =
        exporter.map_err(|it| Fault::invalid(format!("an exporter of metrics: {it}")))?;
    let reader = PeriodicReader::builder(WithRuntime(exporter, Handle::current()))
        .with_interval(NEVER)
        .build();
    let roomy = |_: &Instrument| {
        Stream::builder().with_cardinality_limit(SANDBOXES_MAX.saturating_add(1)).build().ok()
    };
    let provider = SdkMeterProvider::builder()
        .with_resource(resource())
        .with_reader(reader)
        .with_view(roomy)
        .build();
    let latest = Latest::default();
    instruments(&provider, &latest);
    tracing::info!(?every, "figures go to a collector");
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut once = Once::default();
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = over(&mut ends) => true,
        };
        if last {
            break;
        }
        let known = match Known::now(runtime).await {
            Ok(known) => families(&known),
            Err(fault) => {
                once.say("figures for a collector", Err(fault));
                continue;
            }
        };
        *latest.lock().unwrap_or_else(PoisonError::into_inner) =
            known.into_iter().map(|it| (it.name, it.samples)).collect();
        let sends = provider.clone();
        // It waits for the collector, for as long as the environment lets it; the end of the hub waits for neither.
        let sent = tokio::task::spawn_blocking(move || sends.force_flush());
        tokio::select! {
            sent = sent => once.say("figures for a collector", outcome(sent)),
            () = over(&mut ends) => break,
        }
    }
    // What it does at its end would be waited for here.
    tokio::task::spawn_blocking(move || drop(provider));
    Ok(())
}

/// What came of something sent by a task.
fn outcome(sent: Result<OTelSdkResult, JoinError>) -> Result<(), String> {
    sent.map_err(|it| it.to_string())?.map_err(|it| it.to_string())
}

/// An instrument for each figure there is, which tells what was read last.
fn instruments(provider: &SdkMeterProvider, latest: &Latest) {
    let meter = provider.meter(SCOPE);
    let nothing = Known {
        status: HubStatus {
            pid: 0,
            version: String::new(),
            uptime: Duration::ZERO,
            listen: Vec::new(),
            sandboxes: 0,
            sessions: 0,
            pending_approvals: 0,
            rss_bytes: None,
            refused: Vec::new(),
        },
        sandboxes: Vec::new(),
        round: Gauges::default(),
    };
    for family in families(&nothing) {
        let (latest, name) = (Arc::clone(latest), family.name);
        let tell = move |to: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            for sample in latest.get(name).into_iter().flatten() {
                let labels = sample.labels.iter();
                let labels: Vec<_> =
                    labels.map(|(name, value)| KeyValue::new(*name, value.clone())).collect();
                to.observe(sample.value, &labels);
            }
        };
        let (name, unit) = (format!("{SCOPE}_{name}"), unit(name));
        // The meter keeps what is built.
        match family.kind {
            Kind::Counter => {
                let counter = meter.f64_observable_counter(name).with_description(family.help);
                let _kept = counter.with_unit(unit).with_callback(move |it| tell(it)).build();
            }
            Kind::Gauge => {
                let gauge = meter.f64_observable_gauge(name).with_description(family.help);
                let _kept = gauge.with_unit(unit).with_callback(move |it| tell(it)).build();
            }
        }
    }
}

/// The unit that the end of a name means, by the unified code for units of measure.
fn unit(name: &str) -> &'static str {
    const UNITS: [(&str, &str); 5] =
        [("bytes", "By"), ("seconds", "s"), ("ratio", "1"), ("watts", "W"), ("celsius", "Cel")];
    let name = name.trim_end_matches("_total");
    UNITS.iter().find(|it| name.ends_with(it.0)).map_or("", |it| it.1)
}

async fn traces(runtime: &dyn Runtime, mut ends: watch::Receiver<bool>) -> Outcome<()> {
    let exporter = SpanExporter::builder().build();
    let mut exporter =
        exporter.map_err(|it| Fault::invalid(format!("an exporter of traces: {it}")))?;
    exporter.set_resource(&resource());
    let exporter = Arc::new(exporter);
    // One at a time, beside the events: those wait for no collector.
    let mut sending = JoinSet::new();
    let mut events = runtime.events().await?;
    let mut spans = Spans::default();
    let mut ticks = interval(SPANS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut once = Once::default();
    tracing::info!("traces go to a collector");
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    let ended = spans.take(&event?, clock::wall());
                    for some in ended.chunks(ASKS_WANTED_MAX) {
                        let wanted = AsksWanted::only(some.iter().cloned());
                        spans.asked(&runtime.asks(&wanted).await?, clock::wall());
                    }
                }
                None => break,
            },
            _ = ticks.tick(), if sending.is_empty() => send(&mut spans, &exporter, &mut sending),
            Some(sent) = sending.join_next() => once.say("traces for a collector", outcome(sent)),
            () = over(&mut ends) => break,
        }
    }
    let last = async {
        if sending.is_empty() {
            send(&mut spans, &exporter, &mut sending);
        }
        while let Some(sent) = sending.join_next().await {
            once.say("traces for a collector", outcome(sent));
            send(&mut spans, &exporter, &mut sending);
        }
    };
    drop(timeout(SPANS_AT_LAST_WITHIN, last).await);
    Ok(())
}

/// Begins to tell what is over.
fn send(spans: &mut Spans, exporter: &Arc<SpanExporter>, sending: &mut JoinSet<OTelSdkResult>) {
    let batch = spans.batch();
    if !batch.is_empty() {
        let exporter = Arc::clone(exporter);
        sending.spawn(async move { exporter.export(batch).await });
    }
}
