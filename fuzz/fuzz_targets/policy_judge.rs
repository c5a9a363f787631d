//! Any text as what is asked for: taken apart within bounds and judged, without a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sandwatch::{
    base::{clock::Timestamp, limits::COMMAND_WORDS_MAX},
    model::ask::{AskKind, Request},
    policy::{
        risk,
        rules::{Rule, Ruling, Subject, judge},
        shell,
    },
};

fuzz_target!(|said: (u8, String, Vec<(String, String)>)| {
    let (kind, subject, details) = said;
    let line = shell::read(&subject);
    assert!(line.commands.iter().map(Vec::len).sum::<usize>() <= COMMAND_WORDS_MAX);
    let kind = AskKind::ALL[usize::from(kind) % AskKind::ALL.len()];
    let request = Request { kind, subject, details, reason: None, agent: None };
    let word = |it: &str| vec![it.to_owned()];
    let about = [
        (Ruling::Deny, Subject::Command(vec![word("git"), word("push")])),
        (Ruling::Allow, Subject::Command(vec![word("ls")])),
        (Ruling::Deny, Subject::Path("**/a*b*/**/*.pem".to_owned())),
        (Ruling::Allow, Subject::Path("src/**".to_owned())),
        (Ruling::Deny, Subject::Host("evil.example".to_owned(), Some(443))),
        (Ruling::Allow, Subject::Host("*.example".to_owned(), None)),
        (Ruling::Ask, Subject::Tool("x*".to_owned())),
    ];
    let rules = about.map(|(ruling, subject)| Rule {
        id: "it".to_owned(),
        ruling,
        subject,
        why: String::new(),
        until: None,
    });
    let out = judge(&rules, &request, Path::new("/w"), Timestamp(0));
    assert!(out.ruling != Ruling::Allow || !out.by.is_empty());
    drop(risk::look(&request, Path::new("/w")));
});
