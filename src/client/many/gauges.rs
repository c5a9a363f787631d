//! Readings of several hubs as one round after the other: the machine is the first one's, and what other machines have is
//! told with their sandboxes, on this machine's clock.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{Many, Members, one::One};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::HubNumber,
        limits::{MERGE_WITHIN, RETRY_AFTER_MAX},
    },
    model::gauge::{Gauges, GaugesWanted},
    runtime::{BoxStream, Runtime},
};

/// Rounds of this age are of a hub that tells none any more.
const OLD_AFTER: Duration = Duration::from_secs(10);

/// Sets the times of a round of another machine by this one's clock, at which it came.
fn by_our_clock(round: &mut Gauges, now: Timestamp) {
    let Some(then) = round.host.at else { return };
    let behind = now.0.saturating_sub(then.0);
    for gauge in &mut round.sandboxes {
        gauge.at = Timestamp(gauge.at.0.saturating_add(behind));
    }
}

/// What is wanted of one hub; `None` = nothing.
fn of_hub(wanted: &GaugesWanted, hub: HubNumber) -> Option<GaugesWanted> {
    let only: Vec<_> = wanted.only.iter().filter(|it| it.hub() == hub).cloned().collect();
    let some = wanted.only.is_empty() || !only.is_empty();
    some.then_some(GaugesWanted { only, watch: wanted.watch })
}

/// The last rounds of all hubs, and when each came.
#[derive(Default)]
struct Rounds(BTreeMap<HubNumber, (Duration, Gauges)>);

impl Rounds {
    fn take(&mut self, hub: HubNumber, round: Gauges, now: Duration) -> Gauges {
        self.0.insert(hub, (now, round));
        self.0.retain(|_, (at, _)| now.saturating_sub(*at) < OLD_AFTER);
        let host = self.0.get(&HubNumber::FIRST).map(|it| it.1.host.clone());
        Gauges {
            host: host.unwrap_or_default(),
            sandboxes: self.0.values().flat_map(|it| it.1.sandboxes.iter().cloned()).collect(),
        }
    }
}

type Came = (HubNumber, Outcome<Gauges>);

/// Readings of one hub, which end with this.
struct Reader(AbortHandle);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reader {
    fn of(one: One, wanted: GaugesWanted, out: mpsc::Sender<Came>) -> Self {
        Self(tokio::spawn(read(one, wanted, out)).abort_handle())
    }
}

/// Readings of one hub, asked for again whenever they end.
async fn read(one: One, wanted: GaugesWanted, out: mpsc::Sender<Came>) {
    let hub = one.number();
    if one.reached().await.is_none() {
        return;
    }
    loop {
        let why = match one.gauges(wanted.clone()).await {
            Err(fault) => fault,
            Ok(mut rounds) => loop {
                match rounds.next().await {
                    None => break Fault::lost("the hub ended the readings"),
                    Some(Err(fault)) => break fault,
                    Some(Ok(mut round)) => {
                        if hub != HubNumber::FIRST {
                            by_our_clock(&mut round, clock::wall());
                        }
                        if out.send((hub, Ok(round))).await.is_err() {
                            return;
                        }
                    }
                }
            },
        };
        if out.send((hub, Err(why))).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY_AFTER_MAX).await;
    }
}

/// Puts readings of those that there are together, until nobody listens. Why one tells none is told only of one that is
/// alone, and ends it.
async fn merge(
    mut members: watch::Receiver<Members>,
    wanted: GaugesWanted,
    out: mpsc::Sender<Outcome<Gauges>>,
) {
    let (sender, mut rounds) = mpsc::channel(1);
    let mut readers: BTreeMap<HubNumber, Reader> = BTreeMap::new();
    let mut last = Rounds::default();
    loop {
        // Nothing here keeps one that was taken out.
        let all: Vec<One> = members.borrow_and_update().iter().map(One::of).collect();
        readers.retain(|hub, _| all.iter().any(|it| it.number() == *hub));
        last.0.retain(|hub, _| readers.contains_key(hub));
        let alone = all.len() == 1;
        for one in all {
            let hub = one.number();
            if let Some(wanted) = of_hub(&wanted, hub) {
                let begin = || Reader::of(one, wanted, sender.clone());
                readers.entry(hub).or_insert_with(begin);
            }
        }
        loop {
            let told = tokio::select! {
                changed = members.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                came = rounds.recv() => match came {
                    Some((hub, Ok(round))) => Ok(last.take(hub, round, clock::monotonic())),
                    Some((_, Err(fault))) if alone => Err(fault),
                    Some(_) => continue,
                    None => return,
                },
                () = out.closed() => return,
            };
            let is_over = told.is_err();
            if out.send(told).await.is_err() || is_over {
                return;
            }
        }
    }
}

impl Many {
    pub(super) async fn all_gauges(
        &self,
        wanted: GaugesWanted,
    ) -> Outcome<BoxStream<Outcome<Gauges>>> {
        if !wanted.watch {
            return self.one_round(wanted).await;
        }
        let (out, merged) = mpsc::channel(1);
        tokio::spawn(merge(self.members.subscribe(), wanted, out));
        Ok(Box::pin(ReceiverStream::new(merged)))
    }

    /// One round of each, as far as they answer in time.
    async fn one_round(&self, wanted: GaugesWanted) -> Outcome<BoxStream<Outcome<Gauges>>> {
        let rounds = self.each("gauges", |one| {
            let wanted = of_hub(&wanted, one.number());
            async move {
                let Some(wanted) = wanted else { return Ok(None) };
                let round = async {
                    let none = || Err(Fault::lost("the hub ended the readings"));
                    one.gauges(wanted).await?.next().await.unwrap_or_else(none)
                };
                let late = || Err(super::lists::late());
                let round =
                    tokio::time::timeout(MERGE_WITHIN, round).await.unwrap_or_else(|_| late());
                Ok(Some((one.number(), round?)))
            }
        });
        let (mut last, mut whole) = (Rounds::default(), Gauges::default());
        for (hub, round) in rounds.await?.into_iter().flatten() {
            whole = last.take(hub, round, clock::monotonic());
        }
        Ok(Box::pin(tokio_stream::once(Ok(whole))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::id::SandboxId,
        model::gauge::{Gauge, HostGauge, Rates, Usage},
    };

    fn round(hub: u32, at: i64, processors: u32) -> Gauges {
        let sandbox = SandboxId::parse("box").unwrap().of_hub(HubNumber(hub));
        let (usage, rates) = (Usage::default(), Rates::default());
        let gauge = Gauge { sandbox, at: Timestamp(at), usage, rates, gpus: Vec::new() };
        let host = HostGauge {
            at: Some(Timestamp(at)),
            processors: Some(processors),
            ..HostGauge::default()
        };
        Gauges { host, sandboxes: vec![gauge] }
    }

    #[test]
    fn rounds_are_put_together_and_one_that_stays_away_is_left_out() {
        let mut last = Rounds::default();
        let second = Duration::from_secs;
        let whole = last.take(HubNumber(1), round(1, 5, 64), second(1));
        assert_eq!((whole.sandboxes.len(), whole.host.processors), (1, None));
        let whole = last.take(HubNumber::FIRST, round(0, 7, 2), second(2));
        assert_eq!((whole.sandboxes.len(), whole.host.processors), (2, Some(2)));
        let whole = last.take(HubNumber::FIRST, round(0, 20, 2), second(15));
        assert_eq!(whole.sandboxes.len(), 1);
    }

    #[test]
    fn a_clock_that_is_wrong_makes_no_reading_old() {
        let mut behind = round(1, 1_000, 1);
        behind.sandboxes[0].at = Timestamp(400);
        by_our_clock(&mut behind, Timestamp(90_000));
        assert_eq!(behind.sandboxes[0].at, Timestamp(89_400));
    }
}
