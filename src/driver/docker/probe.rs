//! What `doctor` says of the Docker engine: each check asks it.

use tokio::time::timeout;

use super::{
    answer::Information,
    container,
    engine::{Engine, OLDEST},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ENGINE_ANSWER_WITHIN, ENGINE_WORDS_BYTES_MAX},
        text,
    },
    model::check::{Check, CheckStatus},
};

const ENGINE: &str = "docker.engine";

fn check(name: &str, status: CheckStatus, detail: String, fix: Option<String>) -> Check {
    Check { check: name.to_owned(), status, detail, fix }
}

/// Not having one is nothing that needs mending: only who wants it does.
fn missing(fault: &Fault) -> Check {
    let fix = fault.hint_text().map(str::to_owned);
    check(ENGINE, CheckStatus::Missing, fault.to_string(), fix)
}

pub async fn all(engine: Outcome<Engine>) -> Vec<Check> {
    let engine = match engine {
        Ok(engine) => engine,
        Err(fault) => return vec![missing(&fault)],
    };
    let seen = async {
        let version = engine.version().await?;
        let information: Information = engine.get("/info").await?;
        Ok::<_, Fault>((version, information))
    };
    // Both together: others wait for what else there is to say.
    let (version, information) = match timeout(ENGINE_ANSWER_WITHIN, seen).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(fault)) => return vec![missing(&fault)],
        Err(_) => {
            let address = engine.address.shown();
            return vec![missing(&Fault::late(format!("{address} does not answer in time")))];
        }
    };
    let server = text::shown(&information.server_version, ENGINE_WORDS_BYTES_MAX);
    let address = engine.address.shown();
    let kind = if information.is_rootless() { ", rootless" } else { "" };
    let mut checks = vec![check(
        ENGINE,
        CheckStatus::Ok,
        format!("{server} at {address}, API 1.{version} (from 1.{OLDEST} on){kind}"),
        None,
    )];
    checks.extend(limits(&information));
    checks
}

/// Only what is missing: an engine that has all of it needs no line for each.
fn limits(information: &Information) -> Option<Check> {
    let can = container::capabilities(information);
    let all = [("cpu", can.limits_cpu), ("memory", can.limits_memory), ("pids", can.limits_pids)];
    let missing: Vec<&str> = all.iter().filter(|it| !it.1).map(|it| it.0).collect();
    if missing.is_empty() {
        return None;
    }
    let fix =
        "give the engine control groups: for a rootless one, delegate them (systemd, cgroup v2)";
    Some(check(
        "docker.limits",
        CheckStatus::Degraded,
        format!("can't bound: {}", missing.join(", ")),
        Some(fix.to_owned()),
    ))
}
