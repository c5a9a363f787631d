//! GPUs of this machine, of whatever maker. Each maker's driver is a source on a thread of its own: a round asks them,
//! takes what is there, and never waits for a driver that does not answer.

mod drm;
mod files;
mod nvidia;
mod pci;
mod watched;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::timeout;

use self::watched::{Known, Watched};
use crate::{
    base::{
        clock::{self, Zone},
        fault::Outcome,
        id::SandboxId,
        limits::{GAUGED_WITHIN, GPU_AWAITED, GPU_WORD_BYTES_MAX, GPUS_SHOWN_MAX, LINE_BYTES_MAX},
        text::{count, shown},
    },
    model::{
        check::{Check, CheckStatus},
        event::Level,
        gauge::{Gpu, GpuShare, figure},
    },
};

/// GPUs of one maker.
pub trait Source: Send {
    /// One reading: no GPUs where there are none, a fault where there should be some. It blocks as long as the driver
    /// does.
    fn read(&mut self) -> Outcome<Reading>;
}

/// What a source read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Numbered from 0, each with the same number every time.
    pub gpus: Vec<Gpu>,
    /// GPUs that can't be read, and why.
    pub amiss: Vec<String>,
    /// What its figures leave out, where they do.
    pub unseen: Option<String>,
}

/// The GPUs of one machine.
pub struct Gpus {
    sources: Vec<Watched>,
    /// How many GPUs each source has had at most: so many numbers are its own, also while it does not answer.
    most: Vec<AtomicU32>,
}

impl Default for Gpus {
    fn default() -> Self {
        Self::of(vec![
            Watched::new("the NVIDIA driver", || Box::new(nvidia::Nvidia::here())),
            Watched::new("the AMD or Intel driver", || Box::new(drm::Drm::here())),
        ])
    }
}

/// What is known of GPUs in a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub gpus: Vec<Gpu>,
    /// What is not known of them, and why.
    pub missing: Option<String>,
    /// What there is to tell without being asked.
    pub news: Vec<(Level, String)>,
}

impl Gpus {
    fn of(sources: Vec<Watched>) -> Self {
        let most = sources.iter().map(|_| AtomicU32::new(0)).collect();
        Self { sources, most }
    }

    /// Asks all sources. It does not wait.
    pub fn ask(&self) -> Duration {
        let now = clock::monotonic();
        self.sources.iter().for_each(|it| it.ask(now));
        now
    }

    /// What is known after `ask` gave this time. It waits for a moment for what is not late.
    pub async fn seen(&self, asked: Duration) -> Seen {
        self.wait(asked, GPU_AWAITED).await;
        self.known(clock::monotonic())
    }

    /// Lets go of drivers: one that is held may keep its GPUs awake.
    pub fn rest(&self) {
        self.sources.iter().for_each(Watched::rest);
    }

    async fn wait(&self, asked: Duration, within: Duration) {
        let all = async {
            for it in &self.sources {
                it.answered(asked).await;
            }
        };
        // What is not there by then comes later.
        let _late = timeout(within, all).await;
    }

    fn known(&self, now: Duration) -> Seen {
        let (mut seen, mut missing, mut base) = (Seen::default(), Vec::new(), 0);
        for (it, most) in self.sources.iter().zip(&self.most) {
            let name = it.name;
            match it.known(now) {
                Known::Read(reading) => {
                    let numbers = reading.gpus.iter().map(|it| it.index.saturating_add(1));
                    most.fetch_max(numbers.max().unwrap_or(0), Ordering::Relaxed);
                    missing.extend(reading.amiss);
                    missing.extend(reading.unseen);
                    let of_machine = |it: Gpu| Gpu { index: base + it.index, ..it };
                    seen.gpus.extend(reading.gpus.into_iter().map(of_machine));
                }
                Known::Waiting => missing.push(format!("{name} has not answered yet")),
                Known::Failed(fault) => missing.push(fault.to_string()),
                Known::Late(since) => {
                    missing.push(format!(
                        "{name} has not answered since {}",
                        Zone::here().time(since)
                    ));
                }
            }
            base += most.load(Ordering::Relaxed);
            seen.news.extend(it.news(now));
        }
        seen.gpus.truncate(GPUS_SHOWN_MAX);
        seen.missing = (!missing.is_empty()).then(|| shown(&missing.join("; "), LINE_BYTES_MAX));
        seen
    }

    /// Tries all sources, however long ago they were tried.
    pub async fn check(&self) -> Check {
        let asked = clock::monotonic();
        self.sources.iter().for_each(|it| it.ask_anyway(asked));
        self.wait(asked, GAUGED_WITHIN).await;
        // What was asked at that time and is not answered is late by now.
        let now = clock::monotonic().max(asked + GAUGED_WITHIN);
        let (mut names, mut amiss, mut unseen, mut fix) = (Vec::new(), Vec::new(), None, None);
        for it in &self.sources {
            match it.known(now) {
                Known::Read(reading) => {
                    names.extend(reading.gpus.into_iter().map(|it| it.name));
                    amiss.extend(reading.amiss);
                    unseen = unseen.or(reading.unseen);
                }
                Known::Failed(fault) => {
                    fix = fix.or(fault.hint_text().map(str::to_owned));
                    amiss.push(fault.to_string());
                }
                Known::Waiting | Known::Late(_) => {
                    amiss.push(format!("{} does not answer", it.name));
                    fix = fix.or(Some(
                        "see what `dmesg` says of it; it is read as soon as it answers".to_owned(),
                    ));
                }
            }
        }
        let status = match (names.is_empty(), amiss.is_empty()) {
            (true, _) => CheckStatus::Missing,
            (false, true) => CheckStatus::Ok,
            (false, false) => CheckStatus::Degraded,
        };
        let mut words = Vec::new();
        if !names.is_empty() {
            names.truncate(GPUS_SHOWN_MAX);
            words.push(format!("{}: {}", count(names.len() as u64, "GPU"), names.join(", ")));
        } else if amiss.is_empty() {
            words.push("there is none of NVIDIA, AMD or Intel to read".to_owned());
        }
        words.extend(amiss);
        words.extend(unseen);
        let detail = shown(&words.join("; "), LINE_BYTES_MAX);
        Check { check: "gpu".to_owned(), status, detail, fix }
    }
}

/// Puts programs on GPUs down to the sandboxes that they are in; gives what each sandbox has of which GPU.
pub fn put_down(
    gpus: &mut [Gpu],
    owners: &HashMap<u32, SandboxId>,
) -> HashMap<SandboxId, Vec<GpuShare>> {
    let mut shares: HashMap<SandboxId, Vec<GpuShare>> = HashMap::new();
    for gpu in gpus {
        for it in &mut gpu.processes {
            it.sandbox = owners.get(&it.pid).cloned();
            let Some(sandbox) = &it.sandbox else { continue };
            let of = shares.entry(sandbox.clone()).or_default();
            match of.last_mut().filter(|it| it.index == gpu.index) {
                Some(share) => {
                    share.processes += 1;
                    share.memory_bytes = sum(share.memory_bytes, it.memory_bytes);
                }
                None => of.push(GpuShare {
                    index: gpu.index,
                    memory_bytes: it.memory_bytes,
                    processes: 1,
                    own: None,
                }),
            }
        }
    }
    shares
}

/// Of what is known; `None` = nothing is.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one.saturating_add(other)).or(one).or(other)
}

/// A name or a word of a driver's, safe to show.
fn word(text: &str) -> String {
    shown(text.trim(), GPU_WORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::fault::Fault, model::gauge::GpuProcess};

    struct Says(Outcome<Reading>);

    impl Source for Says {
        fn read(&mut self) -> Outcome<Reading> {
            self.0.clone()
        }
    }

    fn says(name: &'static str, answer: Outcome<Reading>) -> Watched {
        Watched::new(name, move || Box::new(Says(answer.clone())))
    }

    fn named(names: &[&str]) -> Reading {
        let gpus = names.iter().zip(0..);
        let gpu =
            |(name, index): (&&str, u32)| Gpu { index, name: (*name).to_owned(), ..Gpu::default() };
        Reading { gpus: gpus.map(gpu).collect(), ..Reading::default() }
    }

    async fn round(gpus: &Gpus) -> Seen {
        let asked = gpus.ask();
        // However busy this machine is.
        gpus.wait(asked, Duration::from_secs(60)).await;
        gpus.known(clock::monotonic())
    }

    #[tokio::test]
    async fn gpus_of_all_makers_have_one_row_of_numbers() {
        let gpus = Gpus::of(vec![
            says("x", Ok(named(&["a", "b"]))),
            says("y", Ok(Reading { unseen: Some("not all".to_owned()), ..named(&["c"]) })),
        ]);
        let seen = round(&gpus).await;
        let all: Vec<_> = seen.gpus.iter().map(|it| (it.index, it.name.as_str())).collect();
        assert_eq!(all, [(0, "a"), (1, "b"), (2, "c")]);
        assert_eq!(seen.missing.as_deref(), Some("not all"));
        let check = gpus.check().await;
        assert_eq!((check.status, check.fix), (CheckStatus::Ok, None));
        assert_eq!(check.detail, "3 GPUs: a, b, c; not all");
    }

    #[tokio::test]
    async fn what_is_amiss_is_said_and_what_is_not_there_is_not() {
        let none = Gpus::of(vec![says("x", Ok(named(&[]))), says("y", Ok(named(&[])))]);
        assert_eq!(round(&none).await, Seen::default());
        assert_eq!(none.check().await.status, CheckStatus::Missing);
        let broken = Fault::absent("no driver \x1b[2J").hint("install it");
        let broken = Gpus::of(vec![says("x", Err(broken)), says("y", Ok(named(&["c"])))]);
        let seen = round(&broken).await;
        assert_eq!((seen.gpus.len(), seen.news), (1, Vec::new()));
        assert_eq!(seen.missing.as_deref(), Some("no driver ␛[2J"));
        let check = broken.check().await;
        assert_eq!(
            (check.status, check.fix.as_deref()),
            (CheckStatus::Degraded, Some("install it"))
        );
    }

    #[test]
    fn programs_are_put_down_to_the_sandboxes_they_are_in() {
        let (one, two) = (SandboxId::random(), SandboxId::random());
        let on = |pid, memory_bytes| GpuProcess { pid, memory_bytes, sandbox: None };
        let mut gpus = named(&["a", "b"]).gpus;
        gpus[0].processes = vec![on(1, Some(10)), on(2, Some(5)), on(3, None), on(9, Some(7))];
        gpus[1].processes = vec![on(1, None), on(2, Some(1))];
        let owners =
            HashMap::from([(1, one.clone()), (2, one.clone()), (3, two.clone()), (4, two.clone())]);
        let shares = put_down(&mut gpus, &owners);
        let share =
            |index, memory_bytes, processes| GpuShare { index, memory_bytes, processes, own: None };
        assert_eq!(shares[&one], [share(0, Some(15), 2), share(1, Some(1), 2)]);
        assert_eq!(shares[&two], [share(0, None, 1)]);
        let of: Vec<_> = gpus[0].processes.iter().map(|it| it.sandbox.as_ref()).collect();
        assert_eq!(of, [Some(&one), Some(&one), Some(&two), None]);
    }
}
