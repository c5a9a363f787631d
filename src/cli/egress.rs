//! `egress`: what went out of a sandbox, and what was kept in.

use super::{
    args::EgressArgs,
    json::TrafficView,
    out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{clock, fault::Outcome, text, units},
    model::traffic::{FlowState, Traffic},
    runtime::Runtime,
};

pub async fn egress(runtime: &dyn Runtime, args: EgressArgs) -> Outcome<out::Code> {
    let sandboxes = runtime.list().await?;
    let id = resolve::sandbox(&sandboxes, &args.sandbox)?.id.clone();
    let traffic = runtime.traffic(&id).await?;
    if args.json {
        out::json(&TrafficView::from(&traffic))?;
        return Ok(out::DONE);
    }
    let zone = clock::Zone::here();
    let mut table = Table::new(&["TIME", "STATE", "PLACE", "PROGRAM", "SENT", "RECEIVED", "WHY"]);
    for it in &traffic.flows {
        let tone = match it.state {
            FlowState::Denied => Tone::Bad,
            FlowState::Asked => Tone::Warn,
            FlowState::Open => Tone::Good,
            FlowState::Over | FlowState::Failed => Tone::Dim,
        };
        table.row(vec![
            zone.time(it.started_at).into(),
            Cell::new(it.state.word(), tone),
            it.place.clone().into(),
            it.program.clone().unwrap_or_else(|| "-".to_owned()).into(),
            units::human_bytes(it.sent_bytes).into(),
            units::human_bytes(it.received_bytes).into(),
            it.why.clone().into(),
        ]);
    }
    if traffic.flows.is_empty() {
        out::tell("nothing wanted to go out yet");
    } else {
        out::print(&table.render(paint::wanted()))?;
    }
    out::tell(&counted(&traffic));
    Ok(out::DONE)
}

/// What there was in all, in one line.
fn counted(traffic: &Traffic) -> String {
    let count = |many: u64, what: &str| text::count(many, what);
    let mut words = vec![
        format!("{} let out", count(traffic.allowed, "connection")),
        format!("{} kept in", traffic.denied),
    ];
    if traffic.unseen > 0 {
        words.push(format!("{} of them unseen: too many at once", traffic.unseen));
    }
    if traffic.names_refused > 0 {
        words.push(format!("{} refused", count(traffic.names_refused, "odd name lookup")));
    }
    match traffic.dropped {
        Some((0, 0)) => {}
        Some((udp, other)) => {
            words.push(format!("{} of UDP dropped, {other} of others", count(udp, "packet")));
        }
        None => words.push("dropped packets can't be told".to_owned()),
    }
    words.join(", ")
}
