//! What is kept of one gauge: a row a second for an hour, then a row a minute for a day. A minute in which nothing
//! changed is one row.

use std::{collections::VecDeque, time::Duration};

use crate::{
    base::{
        clock::Timestamp,
        limits::{GAUGE_MINUTES_KEPT, GAUGE_SECONDS_KEPT},
    },
    model::gauge::{Gauge, HostGauge, Past, PastLine, Series},
};

const SERIES: usize = Series::ALL.len();
const MINUTE: usize = 60;

/// One figure of each series, in their order; NaN = not known.
pub type Row = [f32; SERIES];

const NOTHING: Row = [f32::NAN; SERIES];

fn shown(figure: Option<f64>) -> f32 {
    figure.map_or(f32::NAN, |it| it as f32)
}

fn count(figure: Option<u64>) -> f32 {
    shown(figure.map(|it| it as f64))
}

pub fn row(gauge: &Gauge) -> Row {
    let (usage, rates) = (&gauge.usage, &gauge.rates);
    let of = |it: &Series| match it {
        Series::Cpu => shown(rates.cpu_percent),
        Series::Memory => count(usage.memory_bytes),
        Series::Pids => count(usage.pids),
        Series::Space => count(usage.space_bytes),
        Series::Read => shown(rates.read),
        Series::Write => shown(rates.write),
        Series::Rx => shown(rates.rx),
        Series::Tx => shown(rates.tx),
        // Of the host's GPUs only its share of memory is known.
        Series::Gpu => {
            let own = gauge.gpus.iter().filter_map(|it| it.own.as_ref()?.util_percent);
            shown(own.reduce(f64::max))
        }
    };
    let mut row = NOTHING;
    row.iter_mut().zip(Series::ALL).for_each(|(place, it)| *place = of(it));
    row
}

pub fn host_row(host: &HostGauge) -> Row {
    let busiest = host.gpus.iter().filter_map(|it| it.util_percent).reduce(f64::max);
    let of = |it: &Series| match it {
        Series::Cpu => shown(host.cpu_percent),
        Series::Memory => count(host.memory_bytes),
        Series::Space => count(host.disk_used_bytes()),
        Series::Gpu => shown(busiest),
        _ => f32::NAN,
    };
    let mut row = NOTHING;
    row.iter_mut().zip(Series::ALL).for_each(|(place, it)| *place = of(it));
    row
}

/// Of one minute.
struct Minute {
    number: u64,
    rows: Rows,
}

enum Rows {
    Each(Box<[Row; MINUTE]>),
    /// All were alike.
    Alike(Row),
}

/// Sum, count and greatest of figures that are known.
#[derive(Clone, Copy)]
struct Heap {
    sum: f64,
    count: f64,
    peak: f32,
}

impl Heap {
    const EMPTY: Self = Self { sum: 0.0, count: 0.0, peak: f32::NAN };

    /// Takes a figure that held on average for so many seconds.
    fn take(&mut self, mean: f32, peak: f32, seconds: f64) {
        if !mean.is_nan() {
            self.sum += f64::from(mean) * seconds;
            self.count += seconds;
            self.peak = self.peak.max(peak);
        }
    }

    fn mean(self) -> f32 {
        if self.count > 0.0 { (self.sum / self.count) as f32 } else { f32::NAN }
    }
}

/// A minute that is past, its mean and its peak.
struct Old {
    number: u64,
    mean: Row,
    peak: Row,
}

#[derive(Default)]
pub struct History {
    minutes: VecDeque<Minute>,
    old: VecDeque<Old>,
}

impl History {
    /// Takes the row of this second; of several the last counts.
    pub fn add(&mut self, now: Duration, row: &Row) {
        let (number, second) = (now.as_secs() / 60, (now.as_secs() % 60) as usize);
        if self.minutes.back().is_none_or(|it| it.number < number) {
            self.close();
            let rows = Rows::Each(Box::new([NOTHING; MINUTE]));
            self.minutes.push_back(Minute { number, rows });
        }
        let Some(Minute { rows: Rows::Each(rows), .. }) = self.minutes.back_mut() else { return };
        if let Some(place) = rows.get_mut(second) {
            *place = *row;
        }
        while self.minutes.len() > GAUGE_SECONDS_KEPT / MINUTE + 1 {
            self.minutes.pop_front();
        }
        while self.old.len() > GAUGE_MINUTES_KEPT {
            self.old.pop_front();
        }
    }

    /// The last minute is over.
    fn close(&mut self) {
        let Some(Minute { number, rows }) = self.minutes.back_mut() else { return };
        let Rows::Each(each) = rows else { return };
        let mut heaps = [Heap::EMPTY; SERIES];
        for row in each.iter() {
            heaps.iter_mut().zip(row).for_each(|(heap, it)| heap.take(*it, *it, 1.0));
        }
        let (mean, peak) = (heaps.map(Heap::mean), heaps.map(|it| it.peak));
        self.old.push_back(Old { number: *number, mean, peak });
        let bits = |row: &Row| row.map(f32::to_bits);
        let first = each.first().copied().unwrap_or(NOTHING);
        if each.iter().all(|it| bits(it) == bits(&first)) {
            *rows = Rows::Alike(first);
        }
    }

    /// The last `back` before now, in at most so many parts of whole seconds.
    pub fn told(&self, now: Duration, until: Timestamp, back: Duration, points: u32) -> Past {
        let step = back.as_secs().div_ceil(u64::from(points.max(1))).max(1);
        // No more of them than it takes: what is before was not asked for.
        let points = back.as_secs().div_ceil(step).max(1) as usize;
        let end = now.as_secs() + 1;
        let start = end.saturating_sub(step * points as u64);
        // Fewer seconds than parts since the start of the clock: the first parts are empty.
        let missing = (step * points as u64).saturating_sub(end - start);
        let mut heaps = vec![[Heap::EMPTY; SERIES]; points];
        let mut take = |second: u64, mean: &Row, peak: &Row, seconds: f64| {
            let Some(at) = second.checked_sub(start) else { return };
            let Some(part) = heaps.get_mut(((at + missing) / step) as usize) else { return };
            for ((heap, mean), peak) in part.iter_mut().zip(mean).zip(peak) {
                heap.take(*mean, *peak, seconds);
            }
        };
        let kept = self.minutes.front().map_or(u64::MAX, |it| it.number);
        for old in self.old.iter().filter(|it| it.number < kept) {
            let each = step.clamp(1, MINUTE as u64);
            for second in (0..MINUTE as u64).step_by(each as usize) {
                take(old.number * 60 + second, &old.mean, &old.peak, each as f64);
            }
        }
        for minute in &self.minutes {
            for second in 0..MINUTE {
                let row = match &minute.rows {
                    Rows::Each(rows) => rows.get(second).unwrap_or(&NOTHING),
                    Rows::Alike(row) => row,
                };
                take(minute.number * 60 + second as u64, row, row, 1.0);
            }
        }
        let lines = Series::ALL.iter().enumerate().map(|(at, series)| {
            let of = |heaps: &[Heap; SERIES]| heaps.get(at).copied().unwrap_or(Heap::EMPTY);
            PastLine {
                series: *series,
                mean: heaps.iter().map(|it| of(it).mean()).collect(),
                peak: heaps.iter().map(|it| of(it).peak).collect(),
            }
        });
        let known = |it: &PastLine| it.mean.iter().any(|it| !it.is_nan());
        Past { until, step: Duration::from_secs(step), lines: lines.filter(known).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(figure: f32) -> Row {
        let mut row = NOTHING;
        *row.first_mut().unwrap() = figure;
        row
    }

    fn told(history: &History, now: u64, back: u64, points: u32) -> Vec<f32> {
        let past =
            history.told(Duration::from_secs(now), Timestamp(0), Duration::from_secs(back), points);
        past.lines.first().map(|it| it.mean.clone()).unwrap_or_default()
    }

    #[test]
    fn the_last_second_is_the_last_part_and_what_is_not_known_is_none() {
        let mut history = History::default();
        for second in 0..10 {
            history.add(Duration::from_secs(100 + second), &cpu(second as f32));
        }
        assert_eq!(told(&history, 109, 3, 3), [7.0, 8.0, 9.0]);
        assert_eq!(told(&history, 109, 4, 2), [6.5, 8.5]);
        let longer = told(&history, 109, 12, 12);
        assert!(longer.iter().take(2).all(|it| it.is_nan()) && longer.get(2) == Some(&0.0));
        let later = told(&history, 111, 3, 3);
        assert_eq!(later.first(), Some(&9.0));
        assert!(later.iter().skip(1).all(|it| it.is_nan()), "a stale figure is not drawn on");
    }

    #[test]
    fn what_is_older_than_an_hour_is_known_by_the_minute_and_a_day_is_all() {
        let mut history = History::default();
        for second in 0..30 * 3600_u64 {
            history.add(Duration::from_secs(second), &cpu((second / 3600) as f32));
        }
        assert!(history.minutes.len() <= 61 && history.old.len() <= GAUGE_MINUTES_KEPT + 1);
        let hours = told(&history, 30 * 3600 - 1, 24 * 3600, 24);
        assert_eq!(hours.len(), 24);
        assert_eq!((hours.first(), hours.last()), (Some(&6.0), Some(&29.0)));
        // Finer than what is known: the same figure all along.
        let fine = told(&history, 30 * 3600 - 1, 24 * 3600, 2000);
        assert!(fine.iter().all(|it| !it.is_nan()));
    }

    #[test]
    fn an_idle_minute_is_one_row() {
        let mut history = History::default();
        for second in 0..120 {
            history.add(Duration::from_secs(second), &cpu(1.0));
        }
        assert!(matches!(history.minutes.front().unwrap().rows, Rows::Alike(_)));
        assert!(matches!(history.minutes.back().unwrap().rows, Rows::Each(_)));
        assert_eq!(told(&history, 119, 120, 1), [1.0]);
    }

    #[test]
    fn a_clock_that_has_just_begun_leaves_the_first_parts_empty() {
        let mut history = History::default();
        history.add(Duration::from_secs(1), &cpu(3.0));
        let line = told(&history, 1, 10, 10);
        assert_eq!(line.last(), Some(&3.0));
        assert_eq!(line.iter().filter(|it| !it.is_nan()).count(), 1);
    }
}
