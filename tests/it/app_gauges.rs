//! Gauges in the console: below the fleet and in their place.

use std::time::Duration;

use sandwatch::{
    app::{Act, Msg, gauges::Whose, msg::Reply},
    base::{clock::Timestamp, fault::Fault, id::SandboxId},
    model::gauge::{
        Gauge, Gauges, Gpu, GpuShare, HostGauge, MeteredBy, Past, PastLine, Pressure, Rates,
        Series, Usage,
    },
};

use super::{
    app_support::{Console, START, day},
    app_views::said,
};

const SIZE: (u16, u16) = (120, 36);
const GIB: u64 = 1 << 30;

fn gauge(id: &str, cpu: f64, at: i64) -> Gauge {
    Gauge {
        sandbox: SandboxId::parse(id).unwrap(),
        at: Timestamp(START + at),
        usage: Usage {
            by: Some(MeteredBy::Groups),
            cpu_limit: Some(2.0),
            memory_bytes: Some(3 * GIB),
            memory_limit_bytes: Some(4 * GIB),
            cache_bytes: Some(GIB / 2),
            pids: Some(12),
            pids_limit: Some(64),
            ..Usage::default()
        },
        rates: Rates {
            cpu_percent: Some(cpu),
            read: Some(2048.0),
            write: Some(0.0),
            rx: Some(10_000.0),
            tx: Some(500.0),
            ..Rates::default()
        },
        gpus: vec![GpuShare { index: 0, memory_bytes: Some(20 * GIB), processes: 2, own: None }],
    }
}

/// A round in which every sandbox of the day uses something.
pub fn round(at: i64) -> Box<Gauges> {
    let ids = day().into_iter().map(|it| it.id.to_string());
    let sandboxes = ids.zip(1_u32..).map(|(id, nth)| gauge(&id, f64::from(nth) * 13.0, at));
    let host = HostGauge {
        at: Some(Timestamp(START + at)),
        cpu_percent: Some(612.0),
        cores: vec![100.0, 80.0, 60.0, 40.0, 20.0, 5.0, 0.0, 100.0],
        processors: Some(8),
        load: Some([6.1, 5.2, 4.3]),
        memory_bytes: Some(20 * GIB),
        memory_total_bytes: Some(32 * GIB),
        swap_bytes: Some(0),
        disk_free_bytes: Some(100 * GIB),
        disk_total_bytes: Some(500 * GIB),
        pressure: Pressure { cpu: Some(12.0), memory: Some(0.0), io: Some(1.5) },
        gpus: vec![Gpu {
            index: 0,
            name: "Example GPU 80G".to_owned(),
            util_percent: Some(91.0),
            memory_bytes: Some(38 * GIB),
            memory_total_bytes: Some(80 * GIB),
            power_watts: Some(412.0),
            power_limit_watts: Some(700.0),
            temperature_celsius: Some(61.0),
            clock_mhz: Some(1755),
            slowed: vec!["power cap".to_owned()],
            ..Gpu::default()
        }],
        gpus_missing: None,
    };
    Box::new(Gauges { host, sandboxes: sandboxes.collect() })
}

pub fn past() -> Past {
    let wave = |most: f32| (0..120_u16).map(|it| most * f32::from(it % 30) / 30.0).collect();
    let line = |series, most| PastLine { series, mean: wave(most), peak: wave(most * 1.2) };
    Past {
        until: Timestamp(START),
        step: Duration::from_secs(1),
        lines: vec![line(Series::Cpu, 150.0), line(Series::Memory, 3e9), line(Series::Rx, 2e5)],
    }
}

fn is_past(act: &Act) -> bool {
    matches!(act, Act::GaugePast(_))
}

/// The place, with all that it asked for.
pub fn in_gauges(size: (u16, u16)) -> Console {
    let mut console = Console::with_fleet(size, day());
    console.send(Msg::Gauges(Ok(round(0))));
    console.keys("m j");
    console.answer(is_past, Reply::GaugePast(Box::new(past())));
    // The first answer may have been of the row above.
    if console.state.gauges_place().is_some_and(|it| it.chart().is_none()) {
        console.answer(is_past, Reply::GaugePast(Box::new(past())));
    }
    console
}

fn watches(acts: &[Act]) -> Vec<bool> {
    let of = acts.iter().filter_map(|it| match it {
        Act::WatchGauges(on) => Some(*on),
        _ => None,
    });
    of.collect()
}

#[test]
fn readings_are_asked_for_while_they_show_and_no_longer() {
    let mut console = Console::new((120, 36));
    let acts = console.send(Msg::Resize(120, 36));
    assert!(watches(&acts).is_empty(), "an empty fleet shows none");
    let mut console = Console::with_fleet(SIZE, day());
    let all: Vec<Act> = console.effects.iter().map(|it| it.act.clone()).collect();
    assert_eq!(watches(&all), [true]);
    assert_eq!(watches(&console.send(Msg::Resize(120, 20))), [false], "there is no room");
    assert_eq!(watches(&console.keys("m")), [true]);
    assert_eq!(watches(&console.keys("esc")), [false]);
    assert_eq!(watches(&console.send(Msg::Resize(120, 36))), [true]);
    assert_eq!(watches(&console.send(Msg::Resize(30, 10))), [false]);
}

#[test]
fn a_round_that_shows_the_same_draws_nothing() {
    let mut console = Console::with_fleet(SIZE, day());
    for _ in 0..61 {
        console.send(Msg::Gauges(Ok(round(0))));
    }
    console.state.take_dirty();
    console.send(Msg::Gauges(Ok(round(0))));
    assert!(!console.state.take_dirty());
    let mut other = round(0);
    other.sandboxes.iter_mut().for_each(|it| it.rates.cpu_percent = Some(99.0));
    console.send(Msg::Gauges(Ok(other)));
    assert!(console.state.take_dirty());
}

#[test]
fn what_is_old_is_drawn_as_old_once() {
    let mut console = Console::with_fleet(SIZE, day());
    console.send(Msg::Gauges(Ok(round(0))));
    assert!(console.state.board.is_fresh(console.now));
    console.state.take_dirty();
    let at = console.state.wake_at().unwrap();
    assert!(at <= console.now + Duration::from_secs(5), "{at:?}");
    console.now += Duration::from_secs(5);
    console.send(Msg::Tick);
    assert!(console.state.take_dirty() && !console.state.board.is_fresh(console.now));
    // Nothing wakes the console for them again.
    let next = console.state.wake_at();
    assert!(next.is_none_or(|it| it > console.now), "{next:?}");
    console.send(Msg::Gauges(Ok(round(5000))));
    assert!(console.state.board.is_fresh(console.now));
}

#[test]
fn a_hub_that_has_none_says_so_and_is_asked_again() {
    let mut console = Console::with_fleet(SIZE, day());
    let acts = console.send(Msg::Gauges(Err(Fault::unsupported("this hub has no gauges"))));
    assert_eq!(watches(&acts), [true]);
    assert!(console.picture().contains("not known: this hub has no gauges"));
    console.keys("m");
    assert!(console.picture().contains("not known: this hub has no gauges"));
    console.send(Msg::Gauges(Ok(round(0))));
    assert!(!console.picture().contains("not known"), "{}", console.picture());
}

#[test]
fn the_place_is_moved_in_sorted_filtered_and_left() {
    let mut console = in_gauges(SIZE);
    let name = |console: &Console| match console.state.gauges_place()?.current()? {
        Whose::Host => Some("host".to_owned()),
        Whose::Sandbox(id) => Some(id.to_string()),
    };
    let first = name(&console).unwrap();
    console.keys("o");
    assert!(said(&console).contains("sorted by cpu"));
    assert_eq!(name(&console).as_deref(), Some(first.as_str()), "the cursor goes with its row");
    let rows = console.state.gauges_place().unwrap().rows.clone();
    // The last of the day uses most.
    let last = day().last().unwrap().id.clone();
    assert_eq!(rows.get(1), Some(&Whose::Sandbox(last)));
    console.keys("/");
    console.text("zzz");
    console.keys("enter");
    assert_eq!(console.state.gauges_place().unwrap().rows, [Whose::Host]);
    console.keys("/");
    console.keys("ctrl-u enter");
    assert_eq!(console.state.gauges_place().unwrap().rows.len(), rows.len());
    console.keys("enter");
    assert!(console.state.gauges_place().unwrap().whole);
    console.keys("esc");
    assert!(console.state.gauges_place().is_some_and(|it| !it.whole));
    console.keys("esc");
    assert!(console.state.view().is_none());
}

#[test]
fn another_time_is_asked_for_and_an_answer_of_another_row_is_not_drawn() {
    let mut console = in_gauges(SIZE);
    let acts = console.keys("t");
    let asked: Vec<_> = acts.iter().filter(|it| is_past(it)).collect();
    assert_eq!(asked.len(), 1, "{acts:?}");
    assert!(matches!(asked[0], Act::GaugePast(it) if it.back == Duration::from_secs(600)));
    // One is on its way: the next is asked for when it is there.
    assert!(!console.keys("j").iter().any(is_past));
    assert!(console.state.gauges_place().unwrap().chart().is_none());
    let acts = console.answer(is_past, Reply::GaugePast(Box::new(past())));
    assert!(console.state.gauges_place().unwrap().chart().is_none(), "it is of the row before");
    assert!(acts.iter().any(is_past));
    console.answer(is_past, Reply::GaugePast(Box::new(past())));
    assert!(console.state.gauges_place().unwrap().chart().is_some());
}

#[test]
fn a_past_that_is_not_known_is_said() {
    let mut console = Console::with_fleet(SIZE, day());
    console.send(Msg::Gauges(Ok(round(0))));
    console.keys("m");
    let id = console.effects.iter().rev().find(|it| is_past(&it.act)).unwrap().id;
    console.send(Msg::Done { id, result: Err(Fault::absent("nothing yet")) });
    assert!(console.picture().contains("nothing of before: nothing yet"));
}
