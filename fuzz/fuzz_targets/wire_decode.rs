//! Any bytes as messages of the wire, then converted: a fault or a value within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use sandwatch::wire::{
    convert::{change, event::EventReader, history, hub, output},
    generated::v1,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(wire) = v1::EventsResponse::decode(bytes) {
        drop(EventReader::default().take(wire));
    }
    if let Ok(wire) = v1::Output::decode(bytes) {
        drop(output::OutputReader::default().take(wire));
    }
    if let Ok(wire) = v1::OutputRequest::decode(bytes) {
        drop(output::request_in(&wire));
    }
    if let Ok(wire) = v1::HistoryRequest::decode(bytes) {
        drop(history::history_in(wire));
    }
    if let Ok(wire) = v1::SearchRequest::decode(bytes) {
        drop(history::search_in(wire));
    }
    if let Ok(wire) = v1::WaitRequest::decode(bytes) {
        drop(hub::wait_in(wire));
    }
    if let Ok(wire) = v1::DiffRequest::decode(bytes) {
        drop(change::diff_in(wire));
    }
    if let Ok(wire) = v1::ApplyRequest::decode(bytes) {
        drop(change::apply_in(wire));
    }
    if let Ok(wire) = v1::DiffResponse::decode(bytes) {
        drop(change::piece_in(wire));
    }
    if let Ok(wire) = v1::InputRequest::decode(bytes) {
        drop(hub::input_in(wire));
    }
});
