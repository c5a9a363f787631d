//! How this hub is: its status, and checks that each try the thing they name.

use std::sync::Arc;

use super::Inner;
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::DISK_FREE_BYTES_MIN,
        units::human_bytes,
    },
    driver::Driver,
    model::check::{Check, CheckStatus},
    runtime::HubStatus,
};

impl Inner {
    pub(super) fn status(&self) -> HubStatus {
        let (sandboxes, sessions, asks) = {
            let fleet = self.fleet();
            let asks: usize = fleet.entries().map(|it| it.sandbox.asks.len()).sum();
            (fleet.len(), fleet.session_count(), asks)
        };
        HubStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: clock::monotonic().saturating_sub(self.started),
            listen: Vec::new(),
            sandboxes: u32::try_from(sandboxes).unwrap_or(u32::MAX),
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
            pending_approvals: u32::try_from(asks).unwrap_or(u32::MAX),
            rss_bytes: resident_bytes(),
            refused: self.members.refused_so_far(),
        }
    }

    pub(super) async fn doctor(self: &Arc<Self>) -> Vec<Check> {
        // One that has to be waited for holds up no other.
        let ask = |driver: Arc<dyn Driver>| {
            (driver.name(), tokio::spawn(async move { driver.probe().await }))
        };
        let asked: Vec<_> = self.drivers.all().cloned().map(ask).collect();
        let gpus = {
            let engine = Arc::clone(self);
            tokio::spawn(async move { engine.check_gpus().await })
        };
        let mut checks = Vec::new();
        for (name, asked) in asked {
            let fell = |error| Fault::bug(format!("trying the driver {name}: {error}"));
            let found = asked.await.map_err(fell);
            checks
                .extend(found.unwrap_or_else(|it| vec![check(&format!("driver.{name}"), Err(it))]));
        }
        let fell = |error| check("gpu", Err(Fault::bug(format!("trying GPUs: {error}"))));
        checks.push(gpus.await.unwrap_or_else(fell));
        checks.push(self.check_state().await);
        checks.push(self.check_disk());
        checks.push(self.check_registry().await);
        checks.push(self.check_audit().await);
        checks
    }

    async fn check_state(self: &Arc<Self>) -> Check {
        let paths = self.paths.clone();
        let tried = self
            .reading(move || {
                paths.prepare()?;
                let probe = paths.state().join(format!("doctor-{}", std::process::id()));
                let done = std::fs::write(&probe, b"sandwatch")
                    .and_then(|()| std::fs::remove_file(&probe));
                done.map_err(|error| {
                    let doing = format!("writing in {}", paths.state().display());
                    Fault::io(doing, &error)
                })
            })
            .await;
        let there = format!("{} is private and writable", self.paths.state().display());
        check("state.directory", tried.map(|()| there))
    }

    fn check_disk(&self) -> Check {
        let name = "state.disk";
        match rustix::fs::statvfs(self.paths.state()) {
            Err(error) => check(name, Err(Fault::io("asking for free space", &error.into()))),
            Ok(seen) => {
                let free = seen.f_bavail.saturating_mul(seen.f_frsize);
                let low = free < DISK_FREE_BYTES_MIN;
                Check {
                    check: name.to_owned(),
                    status: if low { CheckStatus::Degraded } else { CheckStatus::Ok },
                    detail: format!(
                        "{} free in {}",
                        human_bytes(free),
                        self.paths.state().display()
                    ),
                    fix: low.then(|| {
                        "free some space: recordings stop when the disk is full".to_owned()
                    }),
                }
            }
        }
    }

    async fn check_registry(&self) -> Check {
        let sound = "the registry reads well".to_owned();
        let seen: Outcome<Check> = self.store.check().await.map(|damage| match damage {
            None => check("state.registry", Ok(sound)),
            Some(words) => Check {
                check: "state.registry".to_owned(),
                status: CheckStatus::Degraded,
                detail: format!("the registry is damaged: {words}"),
                fix: Some(
                    "restart the hub (`sandwatch hub stop`): the next one rebuilds it".to_owned(),
                ),
            },
        });
        seen.unwrap_or_else(|fault| check("state.registry", Err(fault)))
    }

    /// It is never made shorter, so its size is to be known.
    async fn check_audit(&self) -> Check {
        let seen = async {
            let (head, bytes) = (self.store.audit_head().await?, self.store.bytes().await?);
            let entries = match head.seq {
                1 => "1 entry".to_owned(),
                many => format!("{many} entries"),
            };
            let size = human_bytes(bytes);
            Ok(format!("{entries}; the registry, which holds them, takes {size}"))
        };
        check("state.audit", seen.await)
    }
}

fn check(name: &str, outcome: Outcome<String>) -> Check {
    let check = name.to_owned();
    match outcome {
        Ok(detail) => Check { check, status: CheckStatus::Ok, detail, fix: None },
        Err(fault) => Check {
            check,
            status: CheckStatus::Missing,
            detail: fault.to_string(),
            fix: fault.hint_text().map(str::to_owned),
        },
    }
}

/// Memory of this process, in bytes; `None` where /proc is not there to ask.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}
