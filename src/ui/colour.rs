//! Colours: reading them, bringing them down to what a terminal shows, and their contrast.

use ratatui::style::Color;

use super::theme::Depth;

/// The 16 colours of every terminal, by name, with xterm's values.
const ANSI: &[(&str, Color, (u8, u8, u8))] = &[
    ("black", Color::Black, (0, 0, 0)),
    ("red", Color::Red, (205, 0, 0)),
    ("green", Color::Green, (0, 205, 0)),
    ("yellow", Color::Yellow, (205, 205, 0)),
    ("blue", Color::Blue, (0, 0, 238)),
    ("magenta", Color::Magenta, (205, 0, 205)),
    ("cyan", Color::Cyan, (0, 205, 205)),
    ("white", Color::Gray, (229, 229, 229)),
    ("bright-black", Color::DarkGray, (127, 127, 127)),
    ("bright-red", Color::LightRed, (255, 0, 0)),
    ("bright-green", Color::LightGreen, (0, 255, 0)),
    ("bright-yellow", Color::LightYellow, (255, 255, 0)),
    ("bright-blue", Color::LightBlue, (92, 92, 255)),
    ("bright-magenta", Color::LightMagenta, (255, 0, 255)),
    ("bright-cyan", Color::LightCyan, (0, 255, 255)),
    ("bright-white", Color::White, (255, 255, 255)),
];

/// Reads `#rrggbb`, one of the 16 names, a number of the 256, or `default`.
pub fn parse(text: &str) -> Option<Color> {
    if let Some(hex) = text.strip_prefix('#') {
        let value = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 6)?;
        let [_, red, green, blue] = value.to_be_bytes();
        return Some(Color::Rgb(red, green, blue));
    }
    if text == "default" {
        return Some(Color::Reset);
    }
    let named = ANSI.iter().find(|(name, ..)| *name == text).map(|(_, colour, _)| *colour);
    named.or_else(|| text.parse::<u8>().ok().map(Color::Indexed))
}

/// Names that `parse` knows, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    ANSI.iter().map(|(name, ..)| *name).chain(["default"])
}

/// What a colour becomes on a terminal of that depth.
pub fn lower(colour: Color, depth: Depth) -> Color {
    match (depth, colour) {
        (Depth::Mono, _) => Color::Reset,
        (Depth::True, it) | (_, it @ Color::Reset) => it,
        (Depth::Indexed, it) => match it {
            Color::Rgb(red, green, blue) => Color::Indexed(nearest_256(red, green, blue)),
            it => it,
        },
        (Depth::Sixteen, it) => match it {
            Color::Rgb(red, green, blue) => nearest_16(red, green, blue),
            Color::Indexed(index @ 0..=15) => by_index(index),
            Color::Indexed(index) => {
                let (red, green, blue) = rgb_of_index(index);
                nearest_16(red, green, blue)
            }
            it => it,
        },
    }
}

fn by_index(index: u8) -> Color {
    ANSI.get(usize::from(index)).map_or(Color::Reset, |(_, colour, _)| *colour)
}

const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The values of one of the 256 colours.
fn rgb_of_index(index: u8) -> (u8, u8, u8) {
    let level = |it: u8| LEVELS.get(usize::from(it)).copied().unwrap_or(0);
    match index {
        0..=15 => ANSI.get(usize::from(index)).map_or((0, 0, 0), |(.., rgb)| *rgb),
        16..=231 => {
            let it = index - 16;
            (level(it / 36), level(it / 6 % 6), level(it % 6))
        }
        232.. => {
            let grey = 8 + (index - 232) * 10;
            (grey, grey, grey)
        }
    }
}

fn distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let square = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    // The eye tells greens apart best and blues worst.
    3 * square(a.0, b.0) + 6 * square(a.1, b.1) + square(a.2, b.2)
}

fn nearest_256(red: u8, green: u8, blue: u8) -> u8 {
    let wanted = (red, green, blue);
    let step = |it: u8| {
        let far = |(_, level): &(u8, u8)| level.abs_diff(it);
        (0..6).zip(LEVELS).min_by_key(far).map_or(0, |(index, _)| index)
    };
    let cube = 16 + 36 * step(red) + 6 * step(green) + step(blue);
    let mean = (u16::from(red) + u16::from(green) + u16::from(blue)) / 3;
    let grey = 232 + u8::try_from((mean.saturating_sub(3) / 10).min(23)).unwrap_or(23);
    let far = |index: &u8| distance(rgb_of_index(*index), wanted);
    [cube, grey].into_iter().min_by_key(far).unwrap_or(cube)
}

/// By hue and lightness: by distance every pale colour would become grey or yellow.
fn nearest_16(red: u8, green: u8, blue: u8) -> Color {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let lightness = u8::midpoint(most, least);
    if most < 48 || most - least < most / 4 {
        return match lightness {
            0..=63 => Color::Black,
            64..=159 => Color::DarkGray,
            160..=239 => Color::Gray,
            240.. => Color::White,
        };
    }
    let bit = |it: u8, place: u8| if it > lightness { 1 << place } else { 0 };
    let hue = bit(red, 0) | bit(green, 1) | bit(blue, 2);
    by_index(hue + if lightness > 127 { 8 } else { 0 })
}

/// WCAG contrast of two colours, 1 to 21; `None` unless both are given by their values.
pub fn contrast(a: Color, b: Color) -> Option<f64> {
    let luminance = |colour| {
        let Color::Rgb(red, green, blue) = colour else { return None };
        let linear = |it: u8| {
            let it = f64::from(it) / 255.0;
            if it <= 0.04045 { it / 12.92 } else { ((it + 0.055) / 1.055).powf(2.4) }
        };
        Some(0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue))
    };
    let (a, b) = (luminance(a)?, luminance(b)?);
    Some((a.max(b) + 0.05) / (a.min(b) + 0.05))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_keeps_its_hue_among_sixteen() {
        for (colour, wanted) in [
            ("#7cb7ff", Color::LightBlue),
            ("#8fd47f", Color::LightGreen),
            ("#f0c674", Color::LightYellow),
            ("#d7a6ff", Color::LightMagenta),
            ("#b3181c", Color::Red),
            ("#0f1419", Color::Black),
            ("#d9e0e8", Color::Gray),
            ("#808080", Color::DarkGray),
            ("#ffffff", Color::White),
        ] {
            assert_eq!(lower(parse(colour).unwrap(), Depth::Sixteen), wanted, "{colour}");
        }
    }
}
