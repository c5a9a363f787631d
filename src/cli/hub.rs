//! `hub` and `doctor`: the daemon itself, and what works on this machine.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    args::{HubVerb, JsonArgs, ServeArgs},
    gateway,
    json::{CheckView, HubView},
    link, members, out, paint,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        dumps,
        fault::{Fault, Kind, Outcome},
        limits::COLLECTED_AT_LAST_WITHIN,
        text, units,
    },
    config::{environment, load, paths::Paths, schema::HubConfig, source},
    driver::{local, registry::Registry},
    engine::{Engine, OWN_PROGRAM, Options},
    hub::{self, Handed, Place, tls::Door},
    model::check::{Check, CheckStatus},
    runtime::{HubStatus, Runtime},
};

pub async fn run(target: &link::Target, verb: HubVerb) -> Outcome<out::Code> {
    match verb {
        HubVerb::Start => {
            let status = link::hub(target).await?.runtime.hub().await?;
            out::print(&summary(&status))?;
        }
        HubVerb::Status(args) => {
            let status = link::running_hub(target).await?.runtime.hub().await?;
            if args.json {
                out::json(&HubView::from(&status))?;
            } else {
                out::print(&summary(&status))?;
            }
        }
        HubVerb::Stop => match link::running_hub(target).await {
            Ok(link) => {
                let kept = link.runtime.hub().await?.sandboxes;
                link.runtime.shutdown().await?;
                if target.is_local() {
                    hub::ended(&target.paths).await?;
                } else if gateway::is_one(target) {
                    hub::ended(&target.paths.of_gateway(target.name())).await?;
                }
                if kept > 0 {
                    let verb = if kept == 1 { "lives" } else { "live" };
                    let kept = text::count(kept, "sandbox");
                    out::tell(&format!("the hub has ended; {kept} {verb} on"));
                }
            }
            Err(fault) if fault.kind() == Kind::Lost => out::tell("no hub runs"),
            Err(fault) => return Err(fault),
        },
        HubVerb::Proxy(_) | HubVerb::Serve(_) => {
            return Err(Fault::bug("a verb was dispatched twice"));
        }
        HubVerb::Invite(args) => {
            return members::invite(&*link::hub(target).await?.runtime, args).await;
        }
        HubVerb::Members(verb) => {
            return members::members(&*link::hub(target).await?.runtime, verb).await;
        }
    }
    Ok(out::DONE)
}

/// The hub itself, until it is told to end; at the sockets that were handed down, if any were.
pub async fn serve(target: &link::Target, args: ServeArgs, handed: Handed) -> Outcome<()> {
    let paths = &target.paths;
    let of_gateway = gateway::is_one(target);
    let detached = args.detached;
    dumps::keep_none();
    let place = if handed.unix.is_some() { Place::Handed } else { Place::Own };
    let claim = match hub::claim_at(paths, place).await {
        // Several started one at once, and another was first: all is well.
        Err(fault) if detached && fault.kind() == Kind::Busy => return Ok(()),
        claim => claim?,
    };
    // What was asked for here has to be there; what the configuration says keeps no hub from its other work.
    let Handed { unix, tcp } = handed;
    let asked = !args.listen.is_empty() || !tcp.is_empty();
    let door = match asked {
        true => {
            Some(Door::open(&paths.authority(), &paths.config_file(), &args.listen, tcp).await?)
        }
        false => None,
    };
    let program = OWN_PROGRAM.into();
    let drivers = match of_gateway {
        true => gateway::drivers(target)?,
        false => Registry::standard(),
    };
    let engine = Engine::open(Options { paths: paths.clone(), drivers, program }).await?;
    if !of_gateway && let Err(fault) = local::way_out_is_known() {
        engine.warn(&format!("no sandbox whose network asks can be made: {fault}"));
    }
    // Where they are served there is one place, and that is this user's own hub's.
    let own = (!of_gateway).then(|| serve_metrics(paths.clone(), engine.clone()));
    let metrics = own.map(tokio::spawn);
    let (over, ends) = watch::channel(false);
    let collected = tokio::spawn(tell_collector(engine.clone(), ends));
    let door = match asked || of_gateway {
        true => door,
        false => configured_door(paths, &engine).await,
    };
    let team = door.as_ref().map(|it| {
        let engine = engine.clone();
        tokio::spawn(it.follow(move |words| engine.warn(words)))
    });
    let served = claim.serve_at(Arc::new(engine.clone()), hub::told_to_end(), unix, door).await;
    for it in [metrics, team].iter().flatten() {
        it.abort();
    }
    over.send_replace(true);
    if tokio::time::timeout(COLLECTED_AT_LAST_WITHIN, collected).await.is_err() {
        tracing::warn!("a collector did not take the last of it");
    }
    engine.close().await;
    served
}

/// What the configuration says of the hub.
fn configured(paths: &Paths) -> Outcome<HubConfig> {
    let text = source::read(&paths.config_file())?.unwrap_or_default();
    let read = load::config(&paths.config_file().display().to_string(), &text);
    read.map(|it| it.hub).map_err(|flaws| source::fault(&flaws))
}

/// Where the configuration has it listen; a hub does its work without.
async fn configured_door(paths: &Paths, engine: &Engine) -> Option<Door> {
    let opened = async {
        let at = configured(paths)?.listen;
        match at.is_empty() {
            true => Ok(None),
            false => {
                let (authority, config) = (paths.authority(), paths.config_file());
                let (door, faults) =
                    Door::open_in_time(&authority, &config, &at, Vec::new()).await?;
                for fault in faults {
                    engine.warn(&format!("{fault}; that is tried again until it can be had"));
                }
                Ok(Some(door))
            }
        }
    };
    opened.await.unwrap_or_else(|fault: Fault| {
        engine.warn(&format!("nobody from elsewhere is let in: {fault}"));
        None
    })
}

/// Where the configuration wants it; a hub does its work without.
async fn serve_metrics(paths: Paths, engine: Engine) {
    let fault = match configured(&paths).map(|it| it.metrics) {
        Ok(None) => return,
        Ok(Some(at)) => match hub::metrics::serve(at, engine.client(link::identity())).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        },
        Err(fault) => fault,
    };
    engine.warn(&format!("metrics are not served: {fault}"));
}

/// Where the environment names an OpenTelemetry collector.
async fn tell_collector(engine: Engine, ends: watch::Receiver<bool>) {
    let wanted = environment::collected();
    if wanted == environment::Collected::default() {
        return;
    }
    #[cfg(feature = "otel")]
    hub::otel::serve(wanted, engine.client(link::identity()), ends).await;
    #[cfg(not(feature = "otel"))]
    {
        drop(ends);
        engine.warn("nothing goes to a collector: this program was built without the feature otel");
    }
}

/// All metrics once, for whoever collects them from files.
pub async fn metrics(runtime: &dyn Runtime) -> Outcome<out::Code> {
    out::print(&hub::metrics::text(runtime).await?)?;
    Ok(out::DONE)
}

fn summary(it: &HubStatus) -> String {
    let memory = it.rss_bytes.map_or_else(|| "-".to_owned(), units::human_bytes);
    let rows = [
        ("pid", it.pid.to_string()),
        ("version", it.version.clone()),
        ("uptime", units::human_duration(it.uptime)),
        ("listens on", it.listen.join(", ")),
        ("sandboxes", it.sandboxes.to_string()),
        ("sessions", it.sessions.to_string()),
        ("memory", memory),
    ];
    let refused = it.refused.iter().map(|(why, count)| format!("{count} {}", why.word()));
    let refused = refused.collect::<Vec<_>>().join(", ");
    let refused = (!refused.is_empty()).then_some(("refused", refused));
    let mut out = String::new();
    for (name, value) in rows.into_iter().chain(refused) {
        out.push_str(&format!("{name:12}{}\n", text::visible(&value)));
    }
    out
}

/// Graded checks, worst last to be seen. A hub that can't start is itself the first finding.
pub async fn doctor(target: &link::Target, args: JsonArgs) -> Outcome<out::Code> {
    let mut checks = Vec::new();
    let ran = link::running_hub(target).await.is_ok();
    match link::hub(target).await {
        Ok(link) => {
            let status = link.runtime.hub().await?;
            checks.push(Check {
                check: "hub".to_owned(),
                status: CheckStatus::Ok,
                detail: format!(
                    "version {} {}, pid {}",
                    status.version,
                    if ran { "answers" } else { "was started for this and stays" },
                    status.pid
                ),
                fix: None,
            });
            checks.extend(link.runtime.doctor().await?);
        }
        Err(fault) => checks.push(missing_hub(&fault)),
    }
    if args.json {
        let views: Vec<CheckView<'_>> = checks.iter().map(CheckView::from).collect();
        out::json(&views)?;
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["CHECK", "STATUS", "DETAIL"]);
    let mut mends = Vec::new();
    for (at, check) in checks.iter().enumerate() {
        let tone = match check.status {
            CheckStatus::Ok => Tone::Good,
            CheckStatus::Degraded => Tone::Warn,
            CheckStatus::Missing => Tone::Bad,
        };
        let row = [check.check.as_str().into(), Cell::new(check.status.word(), tone)];
        table.row(row.into_iter().chain([check.detail.as_str().into()]).collect());
        // What mends several checks in a row is said below the last of them, with their names.
        let Some(fix) = &check.fix else { continue };
        mends.push(check.check.as_str());
        if checks.get(at + 1).and_then(|it| it.fix.as_ref()) != Some(fix) {
            let of = std::mem::take(&mut mends);
            let of = if of.len() > 1 { format!(" {}", of.join(", ")) } else { String::new() };
            table.row(vec!["".into(), "".into(), Cell::new(&format!("fix{of}: {fix}"), Tone::Dim)]);
        }
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

fn missing_hub(fault: &Fault) -> Check {
    Check {
        check: "hub".to_owned(),
        status: CheckStatus::Missing,
        detail: fault.message().to_owned(),
        fix: fault.hint_text().map(str::to_owned),
    }
}
