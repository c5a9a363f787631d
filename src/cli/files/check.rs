//! Files read one by one and judged, and how that is told.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    base::fault::{Fault, Kind, Outcome},
    cli::{args::JsonArgs, out},
    config::source::{self, Flaw},
};

/// What was found in one file.
#[derive(Default)]
pub(super) struct Found {
    /// What is allowed and perhaps not meant.
    pub remarks: Vec<String>,
    /// All but the last, which is the fault.
    flaws: Vec<String>,
}

impl Found {
    /// Keeps every flaw; the last one is the fault.
    pub fn all_of(&mut self, flaws: &[Flaw]) -> Fault {
        let (last, before) = match flaws.split_last() {
            Some((last, before)) => (last.to_string(), before),
            None => ("unknown flaw".to_owned(), flaws),
        };
        self.flaws.extend(before.iter().map(ToString::to_string));
        Fault::invalid(last)
    }
}

pub(super) struct Judged {
    path: PathBuf,
    found: Found,
    outcome: Outcome<()>,
}

/// One file, as in `keys check`.
#[derive(Serialize)]
struct CheckedView<'a> {
    file: String,
    ok: bool,
    flaws: Vec<&'a str>,
    /// How the last flaw can be mended.
    fix: Option<&'a str>,
    remarks: &'a [String],
}

impl<'a> From<&'a Judged> for CheckedView<'a> {
    fn from(it: &'a Judged) -> Self {
        let fault = it.outcome.as_ref().err();
        let flaws = it.found.flaws.iter().map(String::as_str);
        Self {
            file: it.path.display().to_string(),
            ok: fault.is_none(),
            flaws: flaws.chain(fault.map(Fault::message)).collect(),
            fix: fault.and_then(Fault::hint_text),
            remarks: &it.found.remarks,
        }
    }
}

/// Reads each file and lets it be judged.
pub(super) fn check(
    named: &[PathBuf],
    judge: impl Fn(&Path, &str, &str, &mut Found) -> Outcome<()>,
) -> Vec<Judged> {
    let judged = named.iter().map(|path| {
        let name = path.file_stem().and_then(|it| it.to_str()).unwrap_or("file");
        let mut found = Found::default();
        let outcome = source::read(path).and_then(|text| match text {
            Some(text) => judge(path, name, &text, &mut found),
            None => Err(Fault::absent(format!("no such file: {}", path.display()))),
        });
        Judged { path: path.clone(), found, outcome }
    });
    judged.collect()
}

/// Tells how each file was found; any failure makes the exit code 1, or 3 where a file is not there.
pub(super) fn tell_checked(judged: &[Judged], args: &JsonArgs) -> Outcome<out::Code> {
    let mut code = out::DONE;
    for it in judged {
        let failed = match &it.outcome {
            Ok(()) => out::DONE,
            Err(fault) if fault.kind() == Kind::Absent => 3,
            Err(_) => 1,
        };
        code = code.max(failed);
        if args.json {
            continue;
        }
        let path = it.path.display();
        it.found.remarks.iter().for_each(|it| out::tell(&format!("{path}: {it}")));
        it.found.flaws.iter().for_each(|it| out::tell(&format!("sandwatch: {it}")));
        match &it.outcome {
            Ok(()) => out::print(&format!("{path}: ok\n"))?,
            Err(fault) => drop(out::report(fault)),
        }
    }
    if args.json {
        out::json(&judged.iter().map(CheckedView::from).collect::<Vec<_>>())?;
    }
    Ok(code)
}
