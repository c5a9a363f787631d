//! What the hub knows in figures, as the text that Prometheus reads; and, where the operator wants it, an address of
//! this machine that serves it over HTTP. It asks for nothing and lets nobody do anything.

use std::{
    collections::HashMap, convert::Infallible, fmt::Write, net::SocketAddr, sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_stream::StreamExt;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{FAREWELL_WITHIN, METRICS_READERS_MAX, METRICS_WITHIN},
    },
    model::{
        gauge::{Gauges, GaugesWanted, Gpu, HostGauge, Usage},
        sandbox::{Sandbox, State},
        session::Status,
    },
    runtime::{HubStatus, Runtime},
};

/// What it is served under.
pub const PATH: &str = "/metrics";
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of it as it is now, as a page.
pub async fn text(runtime: &dyn Runtime) -> Outcome<String> {
    Ok(page(&families(&Known::now(runtime).await?)))
}

/// What figures are made of.
pub(super) struct Known {
    pub status: HubStatus,
    pub sandboxes: Vec<Sandbox>,
    pub round: Gauges,
}

impl Known {
    pub(super) async fn now(runtime: &dyn Runtime) -> Outcome<Self> {
        let status = runtime.hub().await?;
        let sandboxes = runtime.list().await?;
        let wanted = GaugesWanted { only: Vec::new(), watch: false };
        let round = async { runtime.gauges(wanted).await?.next().await.transpose() };
        // A round takes a second; without one the rest is told all the same.
        let round = timeout(METRICS_WITHIN, round).await.unwrap_or(Ok(None))?;
        Ok(Self { status, sandboxes, round: round.unwrap_or_default() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, but for a new beginning.
    Counter,
    Gauge,
}

/// One figure, of each that has it.
#[derive(Debug)]
pub(super) struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// What is not known is not among them.
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Family {
    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, help, samples: Vec::new() }
    }

    fn one(mut self, value: Option<f64>) -> Self {
        self.samples.extend(value.map(|value| Sample { labels: Vec::new(), value }));
        self
    }

    fn by(mut self, label: &'static str, of: &str, value: f64) -> Self {
        self.samples.push(Sample { labels: vec![(label, of.to_owned())], value });
        self
    }
}

/// The text format. A family of nothing is left out.
fn page(families: &[Family]) -> String {
    let mut page = String::new();
    // Writing into a string can't fail.
    for family in families.iter().filter(|it| !it.samples.is_empty()) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let (name, help) = (family.name, family.help);
        let _ = write!(page, "# HELP sandwatch_{name} {help}\n# TYPE sandwatch_{name} {kind}\n");
        for sample in &family.samples {
            let _ = write!(page, "sandwatch_{name}");
            for (at, (label, value)) in sample.labels.iter().enumerate() {
                let open = if at == 0 { '{' } else { ',' };
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(page, "{open}{label}=\"{value}\"");
            }
            let close = if sample.labels.is_empty() { "" } else { "}" };
            let _ = writeln!(page, "{close} {}", sample.value);
        }
    }
    page
}

fn whole(number: Option<u64>) -> Option<f64> {
    number.map(|it| it as f64)
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|it| it.as_secs_f64())
}

type Row<T> = (&'static str, Kind, &'static str, fn(&T) -> Option<f64>);

const OF_SANDBOXES: &[Row<Usage>] = &[
    ("sandbox_cpu_seconds_total", Kind::Counter, "Time on processors.", |it| seconds(it.cpu_time)),
    ("sandbox_cpu_limit_cores", Kind::Gauge, "Processors that it may use.", |it| it.cpu_limit),
    ("sandbox_cpu_throttled_seconds_total", Kind::Counter, "Time held back by its limit.", |it| {
        seconds(it.throttled_time)
    }),
    ("sandbox_memory_bytes", Kind::Gauge, "Memory in use.", |it| whole(it.memory_bytes)),
    ("sandbox_memory_limit_bytes", Kind::Gauge, "Memory that it may use.", |it| {
        whole(it.memory_limit_bytes)
    }),
    ("sandbox_memory_cache_bytes", Kind::Gauge, "Files that the kernel keeps in memory.", |it| {
        whole(it.cache_bytes)
    }),
    ("sandbox_oom_kills_total", Kind::Counter, "Processes killed for lack of memory.", |it| {
        whole(it.oom_kills)
    }),
    ("sandbox_processes", Kind::Gauge, "Processes.", |it| whole(it.pids)),
    ("sandbox_processes_limit", Kind::Gauge, "Processes that it may have.", |it| {
        whole(it.pids_limit)
    }),
    ("sandbox_disk_read_bytes_total", Kind::Counter, "Read from disks.", |it| whole(it.read_bytes)),
    ("sandbox_disk_written_bytes_total", Kind::Counter, "Written to disks.", |it| {
        whole(it.write_bytes)
    }),
    ("sandbox_space_bytes", Kind::Gauge, "What its files take on disk, at least.", |it| {
        whole(it.space_bytes)
    }),
    ("sandbox_network_receive_bytes_total", Kind::Counter, "Came over the network.", |it| {
        whole(it.rx_bytes)
    }),
    ("sandbox_network_transmit_bytes_total", Kind::Counter, "Sent over the network.", |it| {
        whole(it.tx_bytes)
    }),
];

const OF_HOST: &[Row<HostGauge>] = &[
    ("host_cpu_cores", Kind::Gauge, "Processors that are busy.", |it| {
        Some(it.cpu_percent? / 100.0)
    }),
    ("host_cpu_cores_total", Kind::Gauge, "Processors.", |it| it.processors.map(f64::from)),
    ("host_memory_bytes", Kind::Gauge, "Memory in use.", |it| whole(it.memory_bytes)),
    ("host_memory_total_bytes", Kind::Gauge, "Memory.", |it| whole(it.memory_total_bytes)),
    ("host_disk_free_bytes", Kind::Gauge, "Free where sandboxes are kept.", |it| {
        whole(it.disk_free_bytes)
    }),
    ("host_disk_total_bytes", Kind::Gauge, "Of that disk.", |it| whole(it.disk_total_bytes)),
];

const OF_GPUS: &[Row<Gpu>] = &[
    ("gpu_utilization_ratio", Kind::Gauge, "Share of the time that it is busy.", |it| {
        Some(it.util_percent? / 100.0)
    }),
    ("gpu_memory_bytes", Kind::Gauge, "Memory in use.", |it| whole(it.memory_bytes)),
    ("gpu_memory_total_bytes", Kind::Gauge, "Memory.", |it| whole(it.memory_total_bytes)),
    ("gpu_power_watts", Kind::Gauge, "Power.", |it| it.power_watts),
    ("gpu_temperature_celsius", Kind::Gauge, "Temperature.", |it| it.temperature_celsius),
    ("gpu_ecc_uncorrected_total", Kind::Counter, "Memory errors that were not mended.", |it| {
        whole(it.ecc_uncorrected)
    }),
];

/// A figure of each.
fn each<'a, T: 'a>(
    &(name, kind, help, value): &Row<T>,
    of: impl Iterator<Item = (Vec<(&'static str, String)>, &'a T)>,
) -> Family {
    let samples = of.filter_map(|(labels, it)| Some(Sample { labels, value: value(it)? }));
    Family { name, kind, help, samples: samples.collect() }
}

/// All figures there are; the same ones in the same order whatever is known.
pub(super) fn families(known: &Known) -> Vec<Family> {
    let Known { status, sandboxes, round } = known;
    let mut all = vec![
        Family::gauge("build_info", "The version of the hub.").by("version", &status.version, 1.0),
        Family::gauge("hub_uptime_seconds", "How long the hub runs.")
            .one(Some(status.uptime.as_secs_f64())),
        Family::gauge("hub_resident_bytes", "Memory of the hub's process.")
            .one(whole(status.rss_bytes)),
        Family::gauge("asks_pending", "Asks that wait for an answer.")
            .one(Some(f64::from(status.pending_approvals))),
    ];
    let refused = Family {
        kind: Kind::Counter,
        ..Family::gauge("refused_total", "Connections and calls from elsewhere that were refused.")
    };
    all.push(
        status
            .refused
            .iter()
            .fold(refused, |all, (why, count)| all.by("why", why.word(), *count as f64)),
    );
    let states = State::ALL.iter().map(|state| (state.word(), |it: &&Sandbox| it.state == *state));
    let of = Family::gauge("sandboxes", "Sandboxes by state.");
    all.push(states.fold(of, |all, (word, is)| {
        all.by("state", word, sandboxes.iter().filter(is).count() as f64)
    }));
    let of = Family::gauge("sessions", "Sessions by status.");
    all.push(Status::ALL.iter().fold(of, |all, status| {
        let sessions = sandboxes.iter().flat_map(|it| &it.sessions);
        all.by("status", status.word(), sessions.filter(|it| it.status == *status).count() as f64)
    }));
    let by_id: HashMap<_, _> = sandboxes.iter().map(|it| (&it.id, it)).collect();
    all.extend(OF_SANDBOXES.iter().map(|row| {
        let of = round.sandboxes.iter().filter_map(|it| Some((it, *by_id.get(&it.sandbox)?)));
        let labelled = of.map(|(it, of)| {
            let (name, id, driver) = (of.name.clone(), of.id.to_string(), of.driver.clone());
            (vec![("sandbox", name), ("id", id), ("driver", driver)], &it.usage)
        });
        each(row, labelled)
    }));
    all.extend(OF_HOST.iter().map(|row| each(row, std::iter::once((Vec::new(), &round.host)))));
    all.extend(OF_GPUS.iter().map(|row| {
        let labels = |it: &Gpu| vec![("gpu", it.index.to_string()), ("name", it.name.clone())];
        let of_host = round.host.gpus.iter().map(|it| (labels(it), it));
        // On other machines, by the word of the sandbox: no text of its own is in a label, or it could have as many as it likes.
        let told = round.sandboxes.iter().filter_map(|it| Some((it, *by_id.get(&it.sandbox)?)));
        let told = told.flat_map(|(it, of)| {
            let own = it.gpus.iter().filter_map(|it| it.own.as_deref());
            own.map(move |gpu| {
                let (name, id) = (of.name.clone(), of.id.to_string());
                (vec![("gpu", gpu.index.to_string()), ("sandbox", name), ("id", id)], gpu)
            })
        });
        each(row, of_host.chain(told))
    }));
    all
}

/// Serves it at an address of this machine for as long as it is polled; the first fault is that it can't listen there.
pub async fn serve(at: SocketAddr, runtime: Arc<dyn Runtime>) -> Outcome<Infallible> {
    if !at.ip().is_loopback() {
        let words = format!("metrics at {at}: whoever reaches this address could read them");
        return Err(
            Fault::invalid(words).hint("use 127.0.0.1:PORT, and a proxy that asks who it is")
        );
    }
    let doing = |error: &std::io::Error| Fault::io(format_args!("listening on {at}"), error);
    let listener = TcpListener::bind(at).await.map_err(|error| doing(&error))?;
    tracing::info!(%at, "metrics are served");
    let places = Arc::new(Semaphore::new(METRICS_READERS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a reader of metrics was not accepted");
                tokio::time::sleep(FAREWELL_WITHIN).await;
                continue;
            }
        };
        // What is more is closed at once.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move {
            let answers = service_fn(|request| answer(request, at, Arc::clone(&runtime)));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(METRICS_WITHIN).keep_alive(false);
            let served = http.serve_connection(TokioIo::new(stream), answers);
            if let Ok(Err(error)) = timeout(METRICS_WITHIN.saturating_mul(3), served).await {
                tracing::debug!(%error, "a reader of metrics");
            }
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    at: SocketAddr,
    runtime: Arc<dyn Runtime>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get(header::HOST).and_then(|it| it.to_str().ok());
    let (status, text) = match (request.method(), request.uri().path()) {
        // A page of somebody else's whose name leads here.
        _ if !host.is_some_and(|it| is_here(it, at)) => {
            (StatusCode::MISDIRECTED_REQUEST, "this is no name of this address\n".to_owned())
        }
        (&Method::GET, PATH) => match text(&*runtime).await {
            Ok(text) => (StatusCode::OK, text),
            Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
        },
        (_, PATH) => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, format!("there is only {PATH}\n")),
    };
    let kind = if status == StatusCode::OK { KIND } else { "text/plain; charset=utf-8" };
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(answer)
}

fn is_here(host: &str, at: SocketAddr) -> bool {
    host == at.to_string() || host == format!("localhost:{}", at.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_and_what_is_not_known_is_left_out() {
        let sample =
            Sample { labels: vec![("a", "q\"\\\n".to_owned()), ("b", String::new())], value: 1.5 };
        let family = Family { samples: vec![sample], ..Family::gauge("x", "X.") };
        let text = page(&[family, Family::gauge("y", "Y.").one(None)]);
        let head = "# HELP sandwatch_x X.\n# TYPE sandwatch_x gauge\n";
        assert_eq!(text, format!("{head}sandwatch_x{{a=\"q\\\"\\\\\\n\",b=\"\"}} 1.5\n"));
        let usage = Usage::default();
        for row in OF_SANDBOXES {
            assert!(
                each(row, std::iter::once((Vec::new(), &usage))).samples.is_empty(),
                "{}",
                row.0
            );
        }
    }

    #[test]
    fn only_names_of_this_address_are_answered() {
        let at: SocketAddr = "127.0.0.1:9464".parse().unwrap();
        assert!(is_here("127.0.0.1:9464", at) && is_here("localhost:9464", at));
        assert!(!is_here("evil.example:9464", at) && !is_here("127.0.0.1", at));
    }
}
