//! `egress`: what went out of a sandbox, and what was kept in.

use super::{
    args::EgressArgs,
    json::TrafficView,
    out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{clock, fault::Outcome, units},
    model::traffic::FlowState,
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
    out::tell(&traffic.in_words());
    Ok(out::DONE)
}
