//! Gauges: the lines below the fleet, and the place with its list and charts.

use ratatui::style::Style;

use super::{View, paint::Brush, theme::Role};
use crate::{
    app::{
        gauges::{GaugesPlace, Whose, bytes, percent, rate},
        layout::{Area, ViewArea, host_rows},
    },
    base::text::{visible, width, wrap},
    model::gauge::{Gauge, Gpu, HostGauge, PastLine, Series},
};

const BLOCKS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// Of its limit: from here on a figure stands out.
const NEAR: f64 = 0.9;
const LABEL: u16 = 5;
/// Rows of a chart, with the line above it.
const CHART_ROWS_MIN: u16 = 3;
const CHART_ROWS_MAX: u16 = 9;

/// Columns of the list: headings and widths.
const COLUMNS: [(&str, u16); 9] = [
    ("CPU", 6),
    ("LATELY", 10),
    ("MEMORY", 8),
    ("PIDS", 5),
    ("DISK", 7),
    ("READ/s", 7),
    ("WRITE/s", 7),
    ("RX/s", 7),
    ("TX/s", 7),
];

/// Eighths of a cell for a figure from 0 to 1; what is not nothing shows.
pub(super) fn eighths(figure: f64, cells: u16) -> u32 {
    let most = f64::from(cells) * 8.0;
    let filled = (figure.clamp(0.0, 1.0) * most).round();
    if figure > 0.004 { filled.max(1.0) as u32 } else { filled as u32 }
}

pub(super) fn block(eighths: u32) -> &'static str {
    BLOCKS.get(eighths.min(8) as usize).copied().unwrap_or(" ")
}

/// The last figures, one cell each.
fn spark(figures: &[f64], cells: usize) -> String {
    let skipped = figures.len().saturating_sub(cells);
    let shown: String = figures.iter().skip(skipped).map(|it| block(eighths(*it, 1))).collect();
    let missing = cells.saturating_sub(figures.len());
    format!("{}{shown}", " ".repeat(missing))
}

impl View<'_> {
    /// Below the fleet: what is under its cursor.
    pub(super) fn gauge_strip(&self, brush: &mut Brush<'_>) {
        let Some((header, area)) = self.state.frame().gauges else { return };
        self.bar(brush, header, Role::BorderTitle);
        let title = self.theme.style(Role::BorderTitle);
        let name = self.state.fleet.current().map(|it| visible(&it.sandbox.name));
        let text = format!(" GAUGES {} ", name.unwrap_or_default());
        brush.text(header.x, header.y, header.width.saturating_sub(1), &text, title);
        let board = &self.state.board;
        let fresh = board.is_fresh(self.state.now.since_start);
        let dim = self.theme.style(Role::Dim);
        let mut inside = brush.within(area);
        let lines = self.state.gauge_lines();
        if lines.is_empty() {
            let why = match &board.wrong {
                Some(why) => format!("not known: {}", visible(why)),
                None if !board.is_known() => "asking the hub".to_owned(),
                None => "it does not run".to_owned(),
            };
            inside.text(area.x + 1, area.y, area.width.saturating_sub(1), &why, dim);
            return;
        }
        for (y, line) in (area.y..).zip(&lines) {
            let x = inside.text(area.x + 1, y, LABEL, line.label, dim).max(area.x + 1 + LABEL);
            let near = line.used.is_some_and(|it| it >= NEAR);
            let role = match (fresh, near) {
                (false, _) => Role::Stale,
                (true, true) => Role::Warning,
                (true, false) => Role::Base,
            };
            let style = self.theme.style(role);
            let right = area.x + area.width;
            // Text first: a figure counts more than its picture.
            let text = u16::try_from(width(&line.text)).unwrap_or(u16::MAX);
            let room = right.saturating_sub(x);
            let picture = room.saturating_sub(text.saturating_add(1)).min(12);
            let mut at = x;
            if picture >= 4 && !line.lately.is_empty() {
                let spark = spark(&line.lately, usize::from(picture));
                let look = self.theme.style(if fresh { Role::Working } else { Role::Stale });
                at = inside.text(x, y, picture, &spark, look) + 1;
            } else if let Some(used) = line.used.filter(|_| picture >= 4) {
                self.level(&mut inside, Area::new(x, y, picture, 1), used, fresh);
                at = x + picture + 1;
            }
            inside.text(at, y, right.saturating_sub(at), &line.text, style);
        }
    }

    /// A figure of its limit, as a bar on its side.
    fn level(&self, brush: &mut Brush<'_>, area: Area, used: f64, fresh: bool) {
        let role = match (fresh, used >= NEAR) {
            (false, _) => Role::Stale,
            (true, true) => Role::Warning,
            (true, false) => Role::Working,
        };
        let filled = (used * f64::from(area.width)).round() as u16;
        let full = "■".repeat(usize::from(filled.min(area.width)));
        let x = brush.text(area.x, area.y, area.width, &full, self.theme.style(role));
        let left = (area.x + area.width).saturating_sub(x);
        let empty = "·".repeat(usize::from(left));
        brush.text(x, area.y, left, &empty, self.theme.style(Role::Dim));
    }

    pub(super) fn gauges(&self, brush: &mut Brush<'_>, it: &GaugesPlace, area: &ViewArea) {
        let focused = self.state.overlay.is_none();
        let (header, list) = area.list;
        if !header.is_empty() {
            let end = self.view_title(brush, header, focused, "GAUGES", "");
            let found = it.pattern.as_ref().map(|it| format!("/{} · ", visible(&it.text)));
            let rows = usize::from(list.height.saturating_sub(host_rows(list.height) + 1));
            let part = super::shown_of(it.cursor.top(), rows, it.cursor.count());
            let part = part.map(|it| format!("{it} · ")).unwrap_or_default();
            let text = format!(" {}{part}by {} ", found.unwrap_or_default(), it.sort.word());
            let right = header.x + header.width;
            let style = self.theme.style(Role::BorderFocus);
            brush.text_right(right, header.y, right.saturating_sub(end + 1), &text, style);
            self.gauge_list(&mut brush.within(list), it);
        }
        let (header, side) = area.side;
        if header.is_empty() {
            return;
        }
        let name = match it.current() {
            Some(Whose::Sandbox(id)) => self.sandbox_name(id),
            _ => "this machine".to_owned(),
        };
        let title = format!("{name} · {}", it.span().1);
        if it.whole {
            self.view_title(brush, header, focused, "GAUGES", &title);
        } else {
            self.bar(brush, header, Role::BorderTitle);
            let style = self.theme.style(Role::BorderTitle);
            brush.text(header.x, header.y, header.width, &format!(" {title} "), style);
        }
        self.gauge_side(&mut brush.within(side), it);
    }

    fn sandbox_name(&self, id: &crate::base::id::SandboxId) -> String {
        let row = self.state.fleet.get(id);
        row.map_or_else(|| id.to_string(), |it| visible(&it.sandbox.name))
    }

    fn gauge_list(&self, brush: &mut Brush<'_>, it: &GaugesPlace) {
        let area = brush.area();
        let board = &self.state.board;
        let dim = self.theme.style(Role::Dim);
        if !board.is_known() {
            let words = match &board.wrong {
                Some(why) => format!("not known: {}", visible(why)),
                None => "asking the hub".to_owned(),
            };
            brush.text(area.x + 1, area.y, area.width.saturating_sub(1), &words, dim);
            return;
        }
        let fresh = board.is_fresh(self.state.now.since_start);
        let mut y = area.y;
        let rows = host_rows(area.height);
        for line in host_lines(board.host()).iter().take(usize::from(rows)) {
            let style = self.theme.style(if fresh { Role::Base } else { Role::Stale });
            brush.text(area.x + 1, y, area.width.saturating_sub(1), line, style);
            y += 1;
        }
        y = area.y + rows;
        gauge_row(brush, y, "NAME", &COLUMNS.map(|(name, _)| (name.to_owned(), dim)), dim);
        y += 1;
        for (at, row) in it.rows.iter().enumerate().skip(it.cursor.top()) {
            if y >= area.y + area.height {
                break;
            }
            let (name, cells, current) = match row {
                Whose::Host => ("this machine".to_owned(), host_cells(board.host()), fresh),
                Whose::Sandbox(id) => {
                    let gauge = board.of(id);
                    let current = fresh && gauge.is_some_and(|it| board.is_current(it));
                    (self.sandbox_name(id), cells(gauge, &board.recent(id)), current)
                }
            };
            let plain = self.theme.style(if current { Role::Base } else { Role::Stale });
            let cells = cells.map(|(text, near)| {
                let role = if near && current { Role::Warning } else { Role::Base };
                (text, if current { self.theme.style(role) } else { plain })
            });
            gauge_row(brush, y, &name, &cells, plain);
            if at == it.cursor.at() {
                brush.text(area.x, y, 1, ">", self.theme.style(Role::Accent));
                let style = Style { fg: None, ..self.theme.style(Role::Selection) };
                brush.style(Area::new(area.x, y, area.width, 1), style);
            }
            y += 1;
        }
    }

    fn gauge_side(&self, brush: &mut Brush<'_>, it: &GaugesPlace) {
        let area = brush.area();
        let dim = self.theme.style(Role::Dim);
        let board = &self.state.board;
        let mut y = area.y;
        let host = board.host();
        let words = match it.current() {
            Some(Whose::Sandbox(id)) => board.of(id).map(|it| words(it, host)).unwrap_or_default(),
            _ => host.gpus.iter().flat_map(gpu_lines).chain(host.gpus_missing.clone()).collect(),
        };
        let room = usize::from(area.width.saturating_sub(2));
        for line in words.iter().flat_map(|it| wrap(it, room)).take(usize::from(area.height / 2)) {
            brush.text(area.x + 1, y, area.width, &line, self.theme.style(Role::Base));
            y += 1;
        }
        let chart = it.chart();
        let past = match chart.map(|it| &it.past) {
            None => {
                brush.text(area.x + 1, y, area.width, "asking the hub", dim);
                return;
            }
            Some(Err(why)) => {
                let text = format!("nothing of before: {}", visible(why));
                brush.text(area.x + 1, y, area.width, &text, dim);
                return;
            }
            Some(Ok(past)) => past,
        };
        let left = (area.y + area.height).saturating_sub(y);
        let charts = charts(&past.lines);
        let Ok(count) = u16::try_from(charts.len()) else { return };
        if count == 0 {
            let text = "nothing is known of before";
            brush.text(area.x + 1, y, area.width, text, dim);
            return;
        }
        let each = (left / count).clamp(CHART_ROWS_MIN, CHART_ROWS_MAX);
        for line in charts {
            if y + CHART_ROWS_MIN > area.y + area.height {
                break;
            }
            let rows = each.min((area.y + area.height).saturating_sub(y));
            let limit = self.limit(it, line.series);
            let width = area.width.saturating_sub(1);
            self.chart(brush, Area::new(area.x + 1, y, width, rows), line, limit);
            y += rows;
        }
    }

    fn limit(&self, it: &GaugesPlace, series: Series) -> Option<f64> {
        let board = &self.state.board;
        match (it.current()?, series) {
            (Whose::Host, Series::Cpu) => Some(f64::from(board.host().processors?) * 100.0),
            (Whose::Host, Series::Space) => board.host().disk_total_bytes.map(|it| it as f64),
            (Whose::Host, Series::Memory) => board.host().memory_total_bytes.map(|it| it as f64),
            (_, Series::Gpu) => Some(100.0),
            (Whose::Host, _) => None,
            (Whose::Sandbox(id), series) => {
                let usage = board.of(id)?.usage;
                match series {
                    Series::Cpu => usage.cpu_limit.map(|it| it * 100.0),
                    Series::Memory => usage.memory_limit_bytes.map(|it| it as f64),
                    Series::Pids => usage.pids_limit.map(|it| it as f64),
                    _ => None,
                }
            }
        }
    }

    /// One figure over time: the newest on the right, its limit as a line where it is not far away.
    fn chart(&self, brush: &mut Brush<'_>, area: Area, line: &PastLine, limit: Option<f64>) {
        let mut brush = brush.within(area);
        let columns = usize::from(area.width.saturating_sub(1));
        let mean = parts(&line.mean, columns, |some| {
            let known = some.iter().filter(|it| !it.is_nan());
            let (sum, count) = known.fold((0.0, 0.0), |(sum, count), it| (sum + it, count + 1.0));
            sum / count
        });
        let peak = |figures: &[f32]| figures.iter().copied().fold(f32::NAN, f32::max);
        let most = f64::from(peak(&line.peak));
        let now = line.mean.iter().rev().find(|it| !it.is_nan()).copied().unwrap_or(f32::NAN);
        let shown = |it: f64| figure(line.series, it);
        let limit_words = limit.map_or(String::new(), |it| format!(" of {}", shown(it)));
        let text = format!("{} {}{limit_words}", line.series.word(), shown(f64::from(now)));
        let title = self.theme.style(Role::Title);
        let x = brush.text(area.x, area.y, area.width, &text, title);
        let dim = self.theme.style(Role::Dim);
        let text = format!("  at most {}", shown(most));
        brush.text(x, area.y, area.width, &text, dim);
        let rows = area.height.saturating_sub(1);
        if rows == 0 || most.is_nan() {
            return;
        }
        // A limit that is far above would flatten all there is.
        let top = match limit {
            Some(limit) if limit <= most * 4.0 => limit.max(most),
            _ => most,
        };
        let top = if top > 0.0 { top } else { 1.0 };
        let near = limit.is_some_and(|limit| f64::from(now) >= limit * NEAR);
        let look = self.theme.style(if near { Role::Warning } else { Role::Working });
        let limit_row = limit.filter(|it| *it <= top).map(|it| {
            let below = (it / top * f64::from(rows)).ceil() as u16;
            area.y + 1 + rows.saturating_sub(below.max(1))
        });
        if let Some(y) = limit_row {
            let width = area.width.saturating_sub(1);
            brush.line(Area::new(area.x, y, width, 1), "╌", dim);
        }
        for (x, figure) in (area.x..).zip(mean) {
            if figure.is_nan() {
                continue;
            }
            let mut left = eighths(f64::from(figure) / top, rows);
            for y in (area.y + 1..area.y + area.height).rev() {
                if left == 0 {
                    break;
                }
                brush.cluster(x, y, block(left.min(8)), 1, look);
                left = left.saturating_sub(8);
            }
        }
    }
}

/// One row; what has no room is left out, from the right.
fn gauge_row(
    brush: &mut Brush<'_>,
    y: u16,
    name: &str,
    cells: &[(String, Style); COLUMNS.len()],
    plain: Style,
) {
    let area = brush.area();
    let mut columns = COLUMNS.len();
    let wide = |columns: usize| COLUMNS.iter().take(columns).map(|it| it.1 + 1).sum::<u16>();
    while columns > 1 && wide(columns) + 18 > area.width {
        columns -= 1;
    }
    let room = area.width.saturating_sub(wide(columns) + 3).min(40);
    brush.text(area.x + 2, y, room, name, plain);
    let mut x = area.x + 2 + room;
    for ((text, style), (_, wide)) in cells.iter().zip(COLUMNS).take(columns) {
        x += wide + 1;
        brush.text_right(x, y, wide, text, *style);
    }
}

/// As many figures as there are columns, each of those it stands for; what is missing is on the left.
fn parts(figures: &[f32], columns: usize, of: impl Fn(&[f32]) -> f32) -> Vec<f32> {
    let columns = columns.max(1);
    if figures.len() <= columns {
        let mut out = vec![f32::NAN; columns - figures.len()];
        out.extend_from_slice(figures);
        return out;
    }
    let each = |at: usize| at * figures.len() / columns;
    (0..columns).map(|at| of(figures.get(each(at)..each(at + 1)).unwrap_or_default())).collect()
}

/// In the order in which they are looked at.
fn charts(lines: &[PastLine]) -> Vec<&PastLine> {
    let order = [
        Series::Cpu,
        Series::Memory,
        Series::Gpu,
        Series::Rx,
        Series::Tx,
        Series::Read,
        Series::Write,
        Series::Space,
        Series::Pids,
    ];
    let found = |series: Series| lines.iter().find(|it| it.series == series);
    order.into_iter().filter_map(found).collect()
}

fn figure(series: Series, figure: f64) -> String {
    let known = Some(figure).filter(|it| !it.is_nan());
    match series {
        Series::Cpu | Series::Gpu => percent(known),
        Series::Memory | Series::Space => bytes(known.map(|it| it as u64)),
        Series::Pids => known.map_or_else(|| "—".to_owned(), |it| format!("{it:.0}")),
        Series::Read | Series::Write | Series::Rx | Series::Tx => {
            known.map_or_else(|| "—".to_owned(), |it| format!("{}/s", rate(Some(it))))
        }
    }
}

fn host_lines(host: &HostGauge) -> Vec<String> {
    let processors = host.processors.map_or(String::new(), |it| format!(" of {}%", it * 100));
    let load = host.load.map_or(String::new(), |[one, five, fifteen]| {
        format!("   load {one:.2} {five:.2} {fifteen:.2}")
    });
    let cores: String = host.cores.iter().map(|it| block(eighths(it / 100.0, 1))).collect();
    let waited = |what: &str, it: Option<f64>| it.map(|it| format!("{what} {it:.0}%"));
    let waits = [
        waited("cpu", host.pressure.cpu),
        waited("memory", host.pressure.memory),
        waited("disk", host.pressure.io),
    ];
    let waits: Vec<String> = waits.into_iter().flatten().collect();
    let waits = if waits.is_empty() { "—".to_owned() } else { waits.join("  ") };
    vec![
        format!("cpu  {}{processors}  [{cores}]{load}", percent(host.cpu_percent)),
        format!(
            "mem  {} of {}   swap {}",
            bytes(host.memory_bytes),
            bytes(host.memory_total_bytes),
            bytes(host.swap_bytes)
        ),
        format!("disk {} free of {}", bytes(host.disk_free_bytes), bytes(host.disk_total_bytes)),
        format!("wait {waits}   of the last 10 s"),
    ]
}

/// What is near its limit is marked.
fn cells(gauge: Option<&Gauge>, recent: &[f64]) -> [(String, bool); COLUMNS.len()] {
    let Some(it) = gauge else { return Default::default() };
    let (usage, rates) = (&it.usage, &it.rates);
    let near = |used: Option<f64>, limit: Option<f64>| {
        used.zip(limit).is_some_and(|(used, limit)| used >= limit * NEAR)
    };
    let float = |it: Option<u64>| it.map(|it| it as f64);
    let limit = usage.cpu_limit.map(|it| it * 100.0);
    let most = recent.iter().copied().fold(limit.unwrap_or(100.0), f64::max);
    let lately: Vec<f64> = recent.iter().map(|it| it / most).collect();
    [
        (percent(rates.cpu_percent), near(rates.cpu_percent, limit)),
        (spark(&lately, 10), false),
        (
            bytes(usage.memory_bytes),
            near(float(usage.memory_bytes), float(usage.memory_limit_bytes)),
        ),
        (
            usage.pids.map_or_else(|| "—".to_owned(), |it| it.to_string()),
            near(float(usage.pids), float(usage.pids_limit)),
        ),
        (bytes(usage.space_bytes), false),
        (rate(rates.read), false),
        (rate(rates.write), false),
        (rate(rates.rx), false),
        (rate(rates.tx), false),
    ]
}

fn host_cells(host: &HostGauge) -> [(String, bool); COLUMNS.len()] {
    let total = host.memory_total_bytes.map(|it| it as f64);
    let near = host.memory_bytes.zip(total).is_some_and(|(used, all)| used as f64 >= all * NEAR);
    let mut cells: [(String, bool); COLUMNS.len()] = Default::default();
    for (place, cell) in cells.iter_mut().zip([
        (percent(host.cpu_percent), false),
        (String::new(), false),
        (bytes(host.memory_bytes), near),
        (String::new(), false),
        (bytes(host.disk_used_bytes()), false),
    ]) {
        *place = cell;
    }
    cells
}

/// What is known of one sandbox beside its charts.
fn words(it: &Gauge, host: &HostGauge) -> Vec<String> {
    let usage = &it.usage;
    let mut lines = Vec::new();
    if let Some(by) = usage.by {
        lines.push(format!("counted by {}", by.word()));
    }
    if let Some(killed) = usage.oom_kills.filter(|it| *it > 0) {
        lines.push(format!("{killed} of its processes were killed for lack of memory"));
    }
    if let Some(held) = it.rates.throttled_percent.filter(|it| *it >= 1.0) {
        lines.push(format!("held back by its limit: {}", percent(Some(held))));
    }
    if let Some(cache) = usage.cache_bytes {
        lines.push(format!("files in memory {}", bytes(Some(cache))));
    }
    for share in &it.gpus {
        let gpu = share.whole(&host.gpus);
        let name = gpu.map_or(String::new(), |it| format!(" {}", it.name));
        let busy = gpu.map_or(String::new(), |it| format!(", busy {}", percent(it.util_percent)));
        let used = bytes(share.memory_bytes);
        lines.push(format!("gpu {}{name}: {used} of its memory{busy}", share.index));
    }
    lines
}

fn gpu_lines(it: &Gpu) -> Vec<String> {
    let of = |it: Option<f64>, unit: &str| it.map(|it| format!("{it:.0} {unit}"));
    let watts = match (it.power_watts, it.power_limit_watts) {
        (Some(now), Some(limit)) => Some(format!("{now:.0} of {limit:.0} W")),
        (now, _) => of(now, "W"),
    };
    let clock = it.clock_mhz.map(|it| format!("{it} MHz"));
    let more = [of(it.temperature_celsius, "°C"), watts, clock];
    let more: String = more.into_iter().flatten().map(|it| format!("  {it}")).collect();
    let (busy, used) = (percent(it.util_percent), bytes(it.memory_bytes));
    let total = bytes(it.memory_total_bytes);
    let mut lines = vec![format!("gpu {} {}", it.index, it.name)];
    lines.push(format!("  {busy}  {used} of {total}{more}"));
    if !it.slowed.is_empty() {
        lines.push(format!("  slowed: {}", it.slowed.join(", ")));
    }
    if let Some(errors) = it.ecc_uncorrected.filter(|it| *it > 0) {
        lines.push(format!("  {errors} memory errors that could not be mended"));
    }
    if !it.instances.is_empty() {
        lines.push(format!("  cut into {}", it.instances.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_nothing_shows_and_more_than_all_is_all() {
        assert_eq!([0.0, 0.001, 0.01, 0.5, 1.0, 7.0].map(|it| eighths(it, 1)), [0, 0, 1, 4, 8, 8]);
        assert_eq!(eighths(0.5, 4), 16);
        assert_eq!(spark(&[0.0, 1.0], 3), "  █");
        assert_eq!(spark(&[0.1, 0.5, 1.0], 2), "▄█");
    }

    #[test]
    fn a_chart_has_a_figure_for_each_column() {
        let mean = |some: &[f32]| some.iter().sum::<f32>() / some.len() as f32;
        assert_eq!(parts(&[1.0, 3.0, 5.0, 7.0], 2, mean), [2.0, 6.0]);
        let short = parts(&[1.0], 3, mean);
        assert!(short.len() == 3 && short.last() == Some(&1.0) && short[0].is_nan());
        assert_eq!(parts(&[], 0, mean).len(), 1);
    }
}
