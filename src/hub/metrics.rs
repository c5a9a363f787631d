//! What the hub knows in figures, as the text that Prometheus reads; and, where the operator wants it, an address of
//! this machine that serves it over HTTP. It asks for nothing and lets nobody do anything.

use std::{convert::Infallible, fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

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
        gauge::{Gauge, Gauges, GaugesWanted, Gpu, HostGauge, Usage},
        sandbox::{Sandbox, State},
        session::Status,
    },
    runtime::{HubStatus, Runtime},
};

/// What it is served under.
pub const PATH: &str = "/metrics";
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of it as it is now.
pub async fn text(runtime: &dyn Runtime) -> Outcome<String> {
    let status = runtime.hub().await?;
    let sandboxes = runtime.list().await?;
    let wanted = GaugesWanted { only: Vec::new(), watch: false };
    let round = async { runtime.gauges(wanted).await?.next().await.transpose() };
    // A round takes a second; without one the rest is told all the same.
    let round = timeout(METRICS_WITHIN, round).await.unwrap_or(Ok(None))?;
    Ok(page(&status, &sandboxes, &round.unwrap_or_default()))
}

/// One page in the text format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a string can't fail.
        let _ = write!(self.0, "# HELP sandwatch_{name} {help}\n# TYPE sandwatch_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "sandwatch_{name}");
        for (at, (label, value)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{value}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A figure of each; what is not known is left out, and a family of nothing as well.
    fn each<'a, T: 'a>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        of: impl Iterator<Item = (Vec<(&'a str, &'a str)>, &'a T)>,
        value: impl Fn(&T) -> Option<f64>,
    ) {
        let mut begun = false;
        for (labels, it) in of {
            let Some(value) = value(it) else { continue };
            if !std::mem::replace(&mut begun, true) {
                self.family(name, kind, help);
            }
            self.sample(name, &labels, value);
        }
    }
}

fn whole(number: Option<u64>) -> Option<f64> {
    number.map(|it| it as f64)
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|it| it.as_secs_f64())
}

type Family<T> = (&'static str, &'static str, &'static str, fn(&T) -> Option<f64>);

const OF_SANDBOXES: &[Family<Usage>] = &[
    ("sandbox_cpu_seconds_total", "counter", "Time on processors.", |it| seconds(it.cpu_time)),
    ("sandbox_cpu_limit_cores", "gauge", "Processors that it may use.", |it| it.cpu_limit),
    ("sandbox_cpu_throttled_seconds_total", "counter", "Time held back by its limit.", |it| {
        seconds(it.throttled_time)
    }),
    ("sandbox_memory_bytes", "gauge", "Memory in use.", |it| whole(it.memory_bytes)),
    ("sandbox_memory_limit_bytes", "gauge", "Memory that it may use.", |it| {
        whole(it.memory_limit_bytes)
    }),
    ("sandbox_memory_cache_bytes", "gauge", "Files that the kernel keeps in memory.", |it| {
        whole(it.cache_bytes)
    }),
    ("sandbox_oom_kills_total", "counter", "Processes killed for lack of memory.", |it| {
        whole(it.oom_kills)
    }),
    ("sandbox_processes", "gauge", "Processes.", |it| whole(it.pids)),
    ("sandbox_processes_limit", "gauge", "Processes that it may have.", |it| whole(it.pids_limit)),
    ("sandbox_disk_read_bytes_total", "counter", "Read from disks.", |it| whole(it.read_bytes)),
    ("sandbox_disk_written_bytes_total", "counter", "Written to disks.", |it| {
        whole(it.write_bytes)
    }),
    ("sandbox_network_receive_bytes_total", "counter", "Came over the network.", |it| {
        whole(it.rx_bytes)
    }),
    ("sandbox_network_transmit_bytes_total", "counter", "Sent over the network.", |it| {
        whole(it.tx_bytes)
    }),
];

const OF_HOST: &[Family<HostGauge>] = &[
    ("host_cpu_cores", "gauge", "Processors that are busy.", |it| Some(it.cpu_percent? / 100.0)),
    ("host_cpu_cores_total", "gauge", "Processors.", |it| it.processors.map(f64::from)),
    ("host_memory_bytes", "gauge", "Memory in use.", |it| whole(it.memory_bytes)),
    ("host_memory_total_bytes", "gauge", "Memory.", |it| whole(it.memory_total_bytes)),
    ("host_disk_free_bytes", "gauge", "Free where sandboxes are kept.", |it| {
        whole(it.disk_free_bytes)
    }),
    ("host_disk_total_bytes", "gauge", "Of that disk.", |it| whole(it.disk_total_bytes)),
];

const OF_GPUS: &[Family<Gpu>] = &[
    ("gpu_utilization_ratio", "gauge", "Share of the time that it is busy.", |it| {
        Some(it.util_percent? / 100.0)
    }),
    ("gpu_memory_bytes", "gauge", "Memory in use.", |it| whole(it.memory_bytes)),
    ("gpu_memory_total_bytes", "gauge", "Memory.", |it| whole(it.memory_total_bytes)),
    ("gpu_power_watts", "gauge", "Power.", |it| it.power_watts),
    ("gpu_temperature_celsius", "gauge", "Temperature.", |it| it.temperature_celsius),
    ("gpu_ecc_uncorrected_total", "counter", "Memory errors that were not mended.", |it| {
        whole(it.ecc_uncorrected)
    }),
];

fn page(status: &HubStatus, sandboxes: &[Sandbox], round: &Gauges) -> String {
    let mut page = Page::default();
    page.family("build_info", "gauge", "The version of the hub.");
    page.sample("build_info", &[("version", &status.version)], 1.0);
    page.family("hub_uptime_seconds", "gauge", "How long the hub runs.");
    page.sample("hub_uptime_seconds", &[], status.uptime.as_secs_f64());
    if let Some(bytes) = status.rss_bytes {
        page.family("hub_resident_bytes", "gauge", "Memory of the hub's process.");
        page.sample("hub_resident_bytes", &[], bytes as f64);
    }
    page.family("asks_pending", "gauge", "Asks that wait for an answer.");
    page.sample("asks_pending", &[], f64::from(status.pending_approvals));
    page.family("sandboxes", "gauge", "Sandboxes by state.");
    for state in State::ALL {
        let count = sandboxes.iter().filter(|it| it.state == *state).count();
        page.sample("sandboxes", &[("state", state.word())], count as f64);
    }
    page.family("sessions", "gauge", "Sessions by status.");
    for status in Status::ALL {
        let sessions = sandboxes.iter().flat_map(|it| &it.sessions);
        let count = sessions.filter(|it| it.status == *status).count();
        page.sample("sessions", &[("status", status.word())], count as f64);
    }
    let names: Vec<(&Gauge, &Sandbox)> = round
        .sandboxes
        .iter()
        .filter_map(|it| Some((it, sandboxes.iter().find(|of| of.id == it.sandbox)?)))
        .collect();
    for (name, kind, help, value) in OF_SANDBOXES {
        let of = names.iter().map(|(it, of)| {
            let labels =
                vec![("sandbox", of.name.as_str()), ("id", of.id.as_str()), ("driver", &of.driver)];
            (labels, &it.usage)
        });
        page.each((name, kind, help), of, value);
    }
    for (name, kind, help, value) in OF_HOST {
        page.each((name, kind, help), std::iter::once((Vec::new(), &round.host)), value);
    }
    let indexes: Vec<String> = round.host.gpus.iter().map(|it| it.index.to_string()).collect();
    for (name, kind, help, value) in OF_GPUS {
        let of = round.host.gpus.iter().zip(&indexes);
        let of = of.map(|(it, index)| (vec![("gpu", index.as_str()), ("name", &it.name)], it));
        page.each((name, kind, help), of, value);
    }
    page.0
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
        let mut page = Page::default();
        page.sample("x", &[("a", "q\"\\\n"), ("b", "")], 1.5);
        assert_eq!(page.0, "sandwatch_x{a=\"q\\\"\\\\\\n\",b=\"\"} 1.5\n");
        let mut page = Page::default();
        let usage = Usage::default();
        for (name, kind, help, value) in OF_SANDBOXES {
            page.each((name, kind, help), std::iter::once((Vec::new(), &usage)), value);
        }
        assert_eq!(page.0, "");
    }

    #[test]
    fn only_names_of_this_address_are_answered() {
        let at: SocketAddr = "127.0.0.1:9464".parse().unwrap();
        assert!(is_here("127.0.0.1:9464", at) && is_here("localhost:9464", at));
        assert!(!is_here("evil.example:9464", at) && !is_here("127.0.0.1", at));
    }
}
