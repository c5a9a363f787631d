//! What went out of a sandbox, or was kept from it.

use super::{entry_in, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{GATE_FLOWS_KEPT, LINE_BYTES_MAX},
        text::{cut, shown},
    },
    model::traffic::{Flow, FlowState, Traffic},
    wire::v1,
};

/// Longest name of a place, in bytes.
const PLACE_BYTES_MAX: usize = 512;

enums! {
    flow_state_out, flow_state_in: FlowState = FlowState { Asked, Open, Over, Denied, Failed, }
}

impl From<&Flow> for v1::Flow {
    fn from(flow: &Flow) -> Self {
        Self {
            number: flow.number,
            started_at_ms: flow.started_at.0,
            ended_at_ms: flow.ended_at.map(|it| it.0),
            place: cut(&flow.place, PLACE_BYTES_MAX).to_owned(),
            program: flow.program.as_deref().map(|it| cut(it, LINE_BYTES_MAX).to_owned()),
            state: flow_state_out(flow.state).into(),
            why: cut(&flow.why, LINE_BYTES_MAX).to_owned(),
            sent_bytes: flow.sent_bytes,
            received_bytes: flow.received_bytes,
        }
    }
}

impl TryFrom<v1::Flow> for Flow {
    type Error = Fault;

    fn try_from(wire: v1::Flow) -> Outcome<Self> {
        Ok(Self {
            number: wire.number,
            started_at: Timestamp(wire.started_at_ms),
            ended_at: wire.ended_at_ms.map(Timestamp),
            place: text("flow.place", shown(&wire.place, PLACE_BYTES_MAX), PLACE_BYTES_MAX)?,
            program: wire.program.map(|it| shown(&it, LINE_BYTES_MAX)),
            state: flow_state_in(wire.state).unwrap_or(FlowState::Denied),
            why: shown(&wire.why, LINE_BYTES_MAX),
            sent_bytes: wire.sent_bytes,
            received_bytes: wire.received_bytes,
        })
    }
}

impl From<&Traffic> for v1::Traffic {
    fn from(traffic: &Traffic) -> Self {
        Self {
            flows: traffic.flows.iter().take(GATE_FLOWS_KEPT).map(Into::into).collect(),
            allowed: traffic.allowed,
            denied: traffic.denied,
            unseen: traffic.unseen,
            names_refused: traffic.names_refused,
            dropped_udp: traffic.dropped.map(|it| it.0),
            dropped_other: traffic.dropped.map(|it| it.1),
            waited: traffic.waited,
        }
    }
}

impl From<v1::Traffic> for Traffic {
    fn from(wire: v1::Traffic) -> Self {
        Self {
            flows: wire.flows.into_iter().take(GATE_FLOWS_KEPT).filter_map(entry_in).collect(),
            allowed: wire.allowed,
            denied: wire.denied,
            unseen: wire.unseen,
            names_refused: wire.names_refused,
            waited: wire.waited,
            dropped: wire.dropped_udp.zip(wire.dropped_other),
        }
    }
}
