//! Any bytes as what a stranger says to a hub, as what a hub answers, and as an invite: read to an end, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::{
    model::invite::InviteText,
    wire::enrol::{Credentials, Enrolling, answer_read},
};

fuzz_target!(|bytes: &[u8]| {
    drop(Enrolling::read(bytes));
    drop(answer_read(bytes));
    drop(Credentials::read(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(InviteText::parse(text));
        drop(InviteText::parse(&format!("sandwatch-invite:{text}")));
    }
});
