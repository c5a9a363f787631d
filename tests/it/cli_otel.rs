//! What goes to an OpenTelemetry collector: to one that is named, by either protocol, and no text of a program's.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    given::eventually,
    program::{Home, Ran},
};

/// What arrived so far.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    metrics: Vec<ExportMetricsServiceRequest>,
    traces: Vec<ExportTraceServiceRequest>,
    keys: Vec<String>,
}

impl Arrived {
    fn key(&self, key: Option<&str>) {
        self.0.lock().unwrap().keys.extend(key.map(str::to_owned));
    }

    /// The last value of this figure with all of these labels.
    fn figure(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
        let all = self.0.lock().unwrap();
        let scopes = all.metrics.iter().flat_map(|it| &it.resource_metrics);
        let metrics = scopes.flat_map(|it| &it.scope_metrics).flat_map(|it| &it.metrics);
        let points = metrics.filter(|it| it.name == name).flat_map(|it| match &it.data {
            Some(Data::Gauge(it)) => &it.data_points[..],
            Some(Data::Sum(it)) => {
                assert!(it.is_monotonic);
                &it.data_points[..]
            }
            other => panic!("{other:?}"),
        });
        let has = |of: &[KeyValue]| labels.iter().all(|it| text(of, it.0).as_deref() == Some(it.1));
        let mut of = points.filter(|it| has(&it.attributes));
        let value = of.next_back()?.value?;
        Some(match value {
            Value::AsDouble(it) => it,
            Value::AsInt(it) => it as f64,
        })
    }

    fn spans(&self) -> Vec<Span> {
        let all = self.0.lock().unwrap();
        let of = all.traces.iter().flat_map(|it| &it.resource_spans);
        of.flat_map(|it| &it.scope_spans).flat_map(|it| it.spans.clone()).collect()
    }

    fn span(&self, name: &str) -> Option<Span> {
        self.spans().into_iter().find(|it| it.name == name)
    }
}

fn text(of: &[KeyValue], name: &str) -> Option<String> {
    let value = of.iter().find(|it| it.key == name)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(it) => it.clone(),
        Value::IntValue(it) => it.to_string(),
        other => panic!("{other:?}"),
    })
}

#[tonic::async_trait]
impl MetricsService for Arrived {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.key(request.metadata().get("x-key").and_then(|it| it.to_str().ok()));
        self.0.lock().unwrap().metrics.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Arrived {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().traces.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector that speaks gRPC, for as long as the test runs.
fn by_grpc() -> (SocketAddr, Arrived) {
    let arrived = Arrived::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let of = arrived.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            Server::builder()
                .add_service(MetricsServiceServer::new(of.clone()))
                .add_service(TraceServiceServer::new(of))
                .serve_with_incoming(incoming)
                .await
        })
    });
    (at, arrived)
}

/// One that speaks HTTP.
fn by_http() -> (SocketAddr, Arrived) {
    let arrived = Arrived::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let of = arrived.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let long = head.split("content-length: ").nth(1).and_then(|it| it.split('\r').next());
            let Some(long) = long else { continue };
            let mut body = vec![0; long.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let mut all = of.0.lock().unwrap();
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            if head.starts_with("post /v1/metrics ") {
                all.metrics.push(Message::decode(&body[..]).unwrap());
            } else if head.starts_with("post /v1/traces ") {
                all.traces.push(Message::decode(&body[..]).unwrap());
            }
            drop(stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\
                  connection: close\r\n\r\n",
            ));
        }
    });
    (at, arrived)
}

fn told(home: &Home, args: &[&str], at: SocketAddr, more: &[(&str, &str)]) -> Ran {
    let at = format!("http://{at}");
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", &at[..]), ("OTEL_METRIC_EXPORT_INTERVAL", "1000")];
    let ran = home.run_with(args, &[&env[..], more].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

#[test]
fn a_collector_is_told_figures_and_what_became_of_sessions_and_asks() {
    let (at, arrived) = by_grpc();
    let home = Home::new();
    let keys = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary-of-a-key"),
    ];
    let script = "sandwatch ask --kind exec --subject words-of-a-program --timeout 60s; echo with $(env | grep -c OTEL_); exit 3";
    told(&home, &["run", "-d", "--name", "box", "--", "sh", "-c", script], at, &keys);
    eventually("figures arrive", || {
        arrived.figure("sandwatch_sandboxes", &[("state", "running")]) == Some(1.0)
            && arrived.figure("sandwatch_sandbox_processes", &[("sandbox", "box")]).is_some()
            && arrived.figure("sandwatch_asks_pending", &[]) == Some(1.0)
    });
    assert!(arrived.figure("sandwatch_sandbox_cpu_seconds_total", &[("sandbox", "box")]).is_some());
    assert_eq!(arrived.0.lock().unwrap().keys[0], "canary-of-a-key");
    let ask = home.json(&["approvals", "ls", "--json"])[0]["id"].as_str().unwrap().to_owned();
    home.ok(&["approvals", "deny", &ask]);
    eventually("the session is told", || arrived.span("session").is_some());
    let session = arrived.span("session").unwrap();
    let attribute = |span: &Span, name: &str| text(&span.attributes, name);
    assert_eq!(attribute(&session, "process.exit.code").as_deref(), Some("3"));
    assert_eq!(attribute(&session, "process.executable.name").as_deref(), Some("sh"));
    assert_eq!(attribute(&session, "sandwatch.sandbox.name").as_deref(), Some("box"));
    let status = session.status.clone().unwrap();
    assert_eq!((status.code, &status.message[..]), (2, "exit code 3"));
    assert!(session.parent_span_id.is_empty());
    eventually("the ask is told", || arrived.span("ask exec").is_some());
    let ask = arrived.span("ask exec").unwrap();
    assert_eq!(attribute(&ask, "sandwatch.ask.state").as_deref(), Some("denied"));
    assert_eq!((&ask.trace_id, &ask.parent_span_id), (&session.trace_id, &session.span_id));
    let waited = |it: &Span| {
        it.name == "status waiting"
            && (&it.trace_id, &it.parent_span_id) == (&session.trace_id, &session.span_id)
            && it.end_time_unix_nano > it.start_time_unix_nano
    };
    assert!(arrived.spans().iter().any(waited), "{:#?}", arrived.spans());
    // Names and figures, and nothing that a program says.
    let all = arrived.0.lock().unwrap();
    for words in ["words-of-a-program", "canary-of-a-key"] {
        assert!(!format!("{:?}{:?}", all.traces, all.metrics).contains(words), "{words}");
    }
    drop(all);
    // The key is the hub's alone.
    let printed = home.ok(&["screen", "box"]);
    assert!(printed.contains("with 0"), "{printed}");
}

#[test]
fn a_trace_goes_on_after_the_hub_and_http_does_as_well() {
    let (at, arrived) = by_http();
    let home = Home::new();
    let by = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_SERVICE_NAME", "mine")];
    let script = "echo ready; read line; exit 0";
    told(&home, &["run", "-d", "--name", "box", "--", "sh", "-c", script], at, &by);
    home.ok(&["wait", "box", "--for", "text=ready"]);
    eventually("it waits for what is typed", || {
        home.json(&["ls", "--json"])[0]["sessions"][0]["status"] == "waiting"
    });
    let figure = || arrived.figure("sandwatch_sandboxes", &[("state", "running")]);
    eventually("figures arrive", || figure() == Some(1.0));
    home.ok(&["hub", "stop"]);
    assert!(arrived.span("session").is_none());
    // Another hub is told where to by whoever starts it.
    told(&home, &["hub", "start"], at, &by);
    home.ok(&["send", "box", "x\n"]);
    eventually("the session is told", || arrived.span("session").is_some());
    let session = arrived.span("session").unwrap();
    assert_eq!(session.status.as_ref().unwrap().code, 1);
    let spans = arrived.spans();
    assert!(spans.iter().all(|it| it.trace_id == session.trace_id), "{spans:?}");
    let all = arrived.0.lock().unwrap();
    let resource = all.metrics[0].resource_metrics[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("mine"));
}

#[test]
fn a_collector_that_is_not_there_costs_nothing_but_a_word() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new();
    let by = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "jaeger")];
    told(&home, &["run", "-d", "--name", "box", "--", "sleep", "1000"], free, &by);
    let log = || fs::read_to_string(home.path().join("state/logs/hub.log")).unwrap_or_default();
    eventually("it is said", || log().contains("figures for a collector (http://127.0.0.1:"));
    assert!(
        log().contains("OTEL_TRACES_EXPORTER=jaeger: only otlp and none are known"),
        "{}",
        log()
    );
    home.ok(&["ls"]);
    home.ok(&["hub", "stop"]);
    assert_eq!(log().matches("figures for a collector (").count(), 1, "{}", log());
}

#[test]
fn a_collector_that_never_answers_holds_up_nobody() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = deaf.local_addr().unwrap();
    let home = Home::new();
    // Longer than anybody would wait for the hub's end.
    let by = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
    ];
    told(&home, &["run", "-d", "--name", "box", "--", "sh", "-c", "exit 3"], at, &by);
    let (mut figures, mut traces) = (None, None);
    while figures.is_none() || traces.is_none() {
        let (mut stream, _) = deaf.accept().unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        let kept = match &head {
            b"POST /v1/metrics" => &mut figures,
            _ => &mut traces,
        };
        // Open, and silent.
        *kept = Some(stream);
    }
    // Events are taken meanwhile: more than would wait for somebody who does not look.
    for at in 0..3 {
        home.ok(&["run", "-d", "--name", &format!("more-{at}"), "--", "true"]);
    }
    home.ok(&["hub", "stop"]);
    let log = fs::read_to_string(home.path().join("state/logs/hub.log")).unwrap();
    assert!(!log.contains("collector ("), "{log}");
    drop((figures, traces));
}
