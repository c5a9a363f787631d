//! What a terminal can show of pictures by itself, and how one is written for it: by kitty's protocol, or as sixels. Nothing is
//! sent to one that did not say that it can.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{app::files::Graphic, base::limits::CONSOLE_GRAPHIC_BYTES_MAX, config::schema::Images};

/// What a terminal said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Graphics {
    pub kitty: bool,
    pub sixel: bool,
    /// Width and height of one cell, in points.
    pub cell: Option<(u16, u16)>,
}

/// How a picture is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By kitty's protocol; where a cell's size is not known, the terminal fits it.
    Kitty(Option<(u16, u16)>),
    /// As sixels, in cells of that size.
    Sixel((u16, u16)),
    Blocks,
    Off,
}

impl Graphics {
    pub fn means(self, wanted: Images) -> Means {
        let kitty = self.kitty.then_some(Means::Kitty(self.cell));
        let sixel = self.cell.filter(|_| self.sixel).map(Means::Sixel);
        let best = match wanted {
            Images::Auto => kitty.or(sixel),
            Images::Kitty => kitty,
            Images::Sixel => sixel,
            Images::Blocks => None,
            Images::Off => return Means::Off,
        };
        best.unwrap_or(Means::Blocks)
    }
}

/// Points, each with red, green and blue.
pub struct Points {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

/// The number of our one picture on the terminal.
const NUMBER: &str = "i=21335";
/// Takes it away, with its data; no answer is wanted.
pub const KITTY_WIPE: &[u8] = b"\x1b_Ga=d,d=I,i=21335,q=2\x1b\\";
/// Of one piece of it, in bytes.
const KITTY_PIECE: usize = 4096;

/// By kitty's protocol, over so many cells, which the terminal fills with it if it is to be `fitted`. `None` when it is more
/// than is sent.
pub fn kitty(points: &Points, cells: (u16, u16), fitted: bool) -> Option<Graphic> {
    let mut packed = Vec::new();
    let (width, height) = (u32::try_from(points.width).ok()?, u32::try_from(points.height).ok()?);
    let mut encoder = png::Encoder::new(&mut packed, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&points.bytes).ok()?;
    writer.finish().ok()?;
    let text = STANDARD.encode(&packed);
    if text.len() > CONSOLE_GRAPHIC_BYTES_MAX {
        return None;
    }
    let (columns, rows) = cells;
    let mut pieces = text.as_bytes().chunks(KITTY_PIECE).peekable();
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 64);
    // The cursor stays (C=1), and the terminal answers nothing (q=2): it would be taken for keys.
    let over = if fitted { format!("c={columns},r={rows},") } else { String::new() };
    let mut head = format!("a=T,f=100,{NUMBER},p=1,{over}C=1,q=2,");
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        bytes.extend_from_slice(format!("\x1b_G{head}m={more};").as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\x1b\\");
        "q=2,".clone_into(&mut head);
    }
    Some(Graphic { cells, bytes, wiped_by: Some(KITTY_WIPE) })
}

/// Steps of each colour, and so many colours in all: no terminal has fewer than 256.
const STEPS: usize = 6;
const COLOURS: usize = STEPS * STEPS * STEPS;
/// Points that stand over one another in one sixel.
const BAND: usize = 6;
/// Which points of four by four are rounded up first, so that steps don't show.
const DITHER: [[usize; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// As sixels. `None` when it is more than is sent.
pub fn sixel(points: &Points, cells: (u16, u16)) -> Option<Graphic> {
    let mut bytes = Vec::new();
    // One by one, and what is not set stays as it is.
    bytes.extend_from_slice(
        format!("\x1bP0;1;0q\"1;1;{};{}", points.width, points.height).as_bytes(),
    );
    for colour in 0..COLOURS {
        let part = |divisor: usize| colour / divisor % STEPS * 100 / (STEPS - 1);
        let (red, green, blue) = (part(STEPS * STEPS), part(STEPS), part(1));
        bytes.extend_from_slice(format!("#{colour};2;{red};{green};{blue}").as_bytes());
    }
    for top in (0..points.height).step_by(BAND) {
        if top > 0 {
            bytes.push(b'-');
        }
        // For each colour, which points of every column have it.
        let mut rows: Vec<Option<Vec<u8>>> = vec![None; COLOURS];
        for y in top..points.height.min(top + BAND) {
            for x in 0..points.width {
                let colour = colour(points, x, y);
                let row = rows.get_mut(colour)?.get_or_insert_with(|| vec![0; points.width]);
                *row.get_mut(x)? |= 1 << (y - top);
            }
        }
        for (colour, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            bytes.extend_from_slice(format!("#{colour}").as_bytes());
            run_lengths(row, &mut bytes);
            bytes.push(b'$');
        }
        if bytes.len() > CONSOLE_GRAPHIC_BYTES_MAX {
            return None;
        }
    }
    bytes.extend_from_slice(b"\x1b\\");
    Some(Graphic { cells, bytes, wiped_by: None })
}

/// The number of the colour that is nearest, one way or the other.
fn colour(points: &Points, x: usize, y: usize) -> usize {
    let start = (y * points.width + x) * 3;
    let point = points.bytes.get(start..start + 3).unwrap_or(&[0; 3]);
    let over = DITHER.get(y % 4).and_then(|it| it.get(x % 4)).copied().unwrap_or_default();
    let step = |value: &u8| {
        let fine = usize::from(*value) * (STEPS - 1) * 16;
        (fine / 255 + over) / 16
    };
    point.iter().fold(0, |sum, value| sum * STEPS + step(value).min(STEPS - 1))
}

fn run_lengths(row: &[u8], out: &mut Vec<u8>) {
    for run in row.chunk_by(|one, two| one == two) {
        let letter = run.first().map_or(b'?', |it| it + b'?');
        match run.len() {
            short @ 1..=3 => out.extend(std::iter::repeat_n(letter, short)),
            long => {
                out.extend_from_slice(format!("!{long}").as_bytes());
                out.push(letter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves() -> Points {
        // Red at the left, blue at the right.
        let row = [[255, 0, 0].repeat(8), [0, 0, 255].repeat(8)].concat();
        Points { width: 16, height: 12, bytes: row.repeat(12) }
    }

    #[test]
    fn only_what_a_terminal_said_it_can_is_used_whatever_is_wanted() {
        let cell = Some((10, 20));
        let none = Graphics { cell, ..Graphics::default() };
        let both = Graphics { kitty: true, sixel: true, cell };
        let sixels = Graphics { sixel: true, cell, ..Graphics::default() };
        for (graphics, wanted, means) in [
            (none, Images::Auto, Means::Blocks),
            (none, Images::Kitty, Means::Blocks),
            (none, Images::Sixel, Means::Blocks),
            (both, Images::Auto, Means::Kitty(cell)),
            (both, Images::Sixel, Means::Sixel((10, 20))),
            (both, Images::Blocks, Means::Blocks),
            (both, Images::Off, Means::Off),
            (sixels, Images::Auto, Means::Sixel((10, 20))),
            (sixels, Images::Kitty, Means::Blocks),
            // How large it would be there can't be told.
            (Graphics { cell: None, ..sixels }, Images::Auto, Means::Blocks),
            (Graphics { cell: None, ..both }, Images::Auto, Means::Kitty(None)),
        ] {
            assert_eq!(graphics.means(wanted), means, "{graphics:?} {wanted:?}");
        }
    }

    #[test]
    fn a_picture_for_kitty_is_a_png_in_pieces_that_asks_for_no_answer() {
        let noise: Vec<u8> = (0..64_u32 * 64 * 3).map(|it| (it * it % 251) as u8).collect();
        let points = Points { width: 64, height: 64, bytes: noise.clone() };
        let graphic = kitty(&points, (7, 4), true).unwrap();
        let text = String::from_utf8(graphic.bytes).unwrap();
        let pieces: Vec<&str> = text.strip_suffix("\x1b\\").unwrap().split("\x1b\\").collect();
        assert!(pieces.len() > 1 && pieces.iter().all(|it| it.len() < KITTY_PIECE + 100));
        assert!(pieces[0].starts_with("\x1b_Ga=T,f=100,i=21335,p=1,c=7,r=4,C=1,q=2,m=1;"));
        assert!(pieces.iter().all(|it| it.contains("q=2")));
        let data: String = pieces.iter().map(|it| it.split_once(';').unwrap().1).collect();
        let data = STANDARD.decode(data).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(data)).read_info().unwrap();
        let mut back = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut back).unwrap();
        assert_eq!(back, noise);
    }

    #[test]
    fn sixels_say_each_row_of_a_band_once_for_each_colour() {
        let graphic = sixel(&halves(), (2, 1)).unwrap();
        let text = String::from_utf8(graphic.bytes).unwrap();
        assert!(text.starts_with("\x1bP0;1;0q\"1;1;16;12#0;2;0;0;0#1;2;0;0;20#"), "{text:?}");
        // Colour 180 is red, 5 is blue; a tilde is a column of six points.
        let (_, drawn) = text.split_once("#215;2;100;100;100").unwrap();
        let band = "#5!8?!8~$#180!8~!8?$";
        assert_eq!(drawn, format!("{band}-{band}\x1b\\"));
    }

    #[test]
    fn every_colour_is_one_that_was_said() {
        for value in 0..=255 {
            let points = Points { width: 4, height: 4, bytes: vec![value; 48] };
            for (x, y) in (0..16).map(|it| (it % 4, it / 4)) {
                assert!(colour(&points, x, y) < COLOURS);
            }
        }
        let white = Points { width: 1, height: 1, bytes: vec![255; 3] };
        assert_eq!(colour(&white, 0, 0), COLOURS - 1);
    }

    #[test]
    fn what_is_too_much_is_not_sent() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..1_500_000 * 3).map(|_| next()).collect();
        let points = Points { width: 1500, height: 1000, bytes: noise };
        assert!(sixel(&points, (1, 1)).is_none());
    }
}
