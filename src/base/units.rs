//! Numbers that know what they measure.

use super::limits::{SCREEN_CELLS_MAX, SCREEN_COLS_MAX, SCREEN_ROWS_MAX, SCREEN_SIDE_MIN};

/// A share of a whole, held between 0.0 and 1.0; not-a-number becomes `None`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// Returns `used / total`, or `None` when the total is zero or either is not a number.
    pub fn of(used: f64, total: f64) -> Option<Self> {
        let share = used / total;
        share.is_finite().then(|| Self(share.clamp(0.0, 1.0)))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// The size of a screen in cells, always within the bounds of `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    cols: u16,
    rows: u16,
}

impl Size {
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// Makes a size, pulled into the bounds rather than refused: sides from 2 to 1000, and fewer rows
    /// where there would be too many cells.
    pub fn clamped(cols: u16, rows: u16) -> Self {
        let cols = cols.clamp(SCREEN_SIDE_MIN, SCREEN_COLS_MAX);
        let most = SCREEN_CELLS_MAX / u32::from(cols);
        let most = u16::try_from(most).unwrap_or(SCREEN_ROWS_MAX).min(SCREEN_ROWS_MAX);
        Self { cols, rows: rows.clamp(SCREEN_SIDE_MIN, most) }
    }

    /// Reads `COLSxROWS`; `None` when it is not that or out of bounds.
    pub fn parse(text: &str) -> Option<Self> {
        let (cols, rows) = text.split_once('x')?;
        let wanted = (cols.parse().ok()?, rows.parse().ok()?);
        let size = Self::clamped(wanted.0, wanted.1);
        (size.cols == wanted.0 && size.rows == wanted.1).then_some(size)
    }

    pub fn cols(self) -> u16 {
        self.cols
    }
    pub fn rows(self) -> u16 {
        self.rows
    }
}

/// Reads a size in bytes: `512`, `512k`, `1.5g`, `2GiB` (powers of 1024); `None` when it is none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let at = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = (text.get(..at)?, text.get(at..)?.trim());
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
    (bytes.is_finite() && bytes < 9e18).then_some(bytes as u64)
}

/// Reads a duration: `90s`, `5m`, `2h`, `1d`, `500ms`, or plain seconds; `None` when it is none.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    let text = text.trim();
    let at = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let number = text.get(..at)?.parse::<f64>().ok()?;
    let seconds = match text.get(at..)? {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

/// Writes bytes for people: `0 B`, `12 K`, `1.2 G`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    format!("{value:.digits$} {}", UNITS.get(unit).copied().unwrap_or("B"))
}

/// Writes a duration as it is, in the largest unit that it fills: `90s`, `1500ms`, `2h`.
pub fn exact_duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() > 0 || seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let fills =
        [(86_400, "d"), (3600, "h"), (60, "m")].into_iter().find(|it| seconds.is_multiple_of(it.0));
    let (size, unit) = fills.unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

/// Writes a duration for people in one unit: `4s`, `12m`, `3h`, `2d`.
pub fn human_duration(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        it @ 0..60 => format!("{it}s"),
        it @ 60..3600 => format!("{}m", it / 60),
        it @ 3600..86_400 => format!("{}h", it / 3600),
        it => format!("{}d", it / 86_400),
    }
}
