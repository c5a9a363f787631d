//! What a terminal can show of pictures by itself, and how one is written for it: by kitty's protocol, or as sixels. Nothing is
//! sent to one that did not say that it can.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    app::files::Graphic,
    base::limits::{CELL_POINTS_MAX, CONSOLE_GRAPHIC_BYTES_MAX, CONSOLE_GRAPHIC_POINTS_MAX},
    config::schema::Images,
};

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
    /// By kitty's protocol, in cells of that size; where it is not known, the terminal fits the picture.
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

/// The window of a terminal, as the system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns and rows.
    pub cells: (u16, u16),
    /// Width and height, in points; 0 where that is not told.
    pub points: (u16, u16),
}

impl Window {
    /// Width and height of one cell, in points. `None` where that is not told, or cells are not all that is counted.
    fn cell(self) -> Option<(u16, u16)> {
        let one = |points: u16, cells: u16| {
            let even = points.checked_rem(cells)? == 0;
            let size = points.checked_div(cells)?;
            (even && (1..=CELL_POINTS_MAX).contains(&size)).then_some(size)
        };
        one(self.points.0, self.cells.0).zip(one(self.points.1, self.cells.1))
    }
}

/// What a terminal shows while its window changes: its cells may be others then, and its answer, if it were asked, would be taken
/// for keys.
pub struct Showing {
    graphics: Graphics,
    window: Window,
    /// What the system told of a cell at the beginning is what the terminal said.
    told: bool,
}

impl Showing {
    /// What the terminal said, and its window at that time.
    pub fn new(graphics: Graphics, window: Window) -> Self {
        let told = graphics.cell.is_some() && window.cell() == graphics.cell;
        Self { graphics, window, told }
    }

    pub fn now(&self) -> Graphics {
        self.graphics
    }

    /// Of another window the size of a cell is known by the system alone, or not at all.
    pub fn resized(&mut self, window: Window) {
        if window != self.window {
            self.window = window;
            self.graphics.cell = window.cell().filter(|_| self.told);
        }
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

/// By kitty's protocol, over so many cells: the terminal fills them and no others, however large they are by then. Where it is
/// known how large one is, what it does not fill of them stays clear. `None` when it is more than is sent.
pub fn kitty(points: &Points, cells: (u16, u16), cell: Option<(u16, u16)>) -> Option<Graphic> {
    let all = |cells: u16, one: u16| usize::from(cells) * usize::from(one);
    let size = match cell {
        Some((width, height)) => (all(cells.0, width), all(cells.1, height)),
        None => (points.width, points.height),
    };
    let packed = packed(points, size)?;
    let text = STANDARD.encode(&packed);
    if text.len() > CONSOLE_GRAPHIC_BYTES_MAX {
        return None;
    }
    let (columns, rows) = cells;
    let mut pieces = text.as_bytes().chunks(KITTY_PIECE).peekable();
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 64);
    // The cursor stays (C=1), and the terminal answers nothing (q=2): it would be taken for keys.
    let mut head = format!("a=T,f=100,{NUMBER},p=1,c={columns},r={rows},C=1,q=2,");
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        bytes.extend_from_slice(format!("\x1b_G{head}m={more};").as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\x1b\\");
        "q=2,".clone_into(&mut head);
    }
    Some(Graphic { cells, bytes, wiped_by: Some(KITTY_WIPE) })
}

/// As PNG of that width and height, clear at the right and below where it is smaller.
fn packed(points: &Points, (width, height): (usize, usize)) -> Option<Vec<u8>> {
    if width == 0 || points.width == 0 {
        return None;
    }
    let count = width.checked_mul(height).filter(|it| *it <= CONSOLE_GRAPHIC_POINTS_MAX)?;
    let mut data = vec![0; count * 4];
    let rows = points.bytes.chunks_exact(points.width * 3);
    for (row, of) in data.chunks_exact_mut(width * 4).zip(rows) {
        for (point, colour) in row.chunks_exact_mut(4).zip(of.chunks_exact(3)) {
            for (to, value) in point.iter_mut().zip(colour.iter().chain(&[u8::MAX])) {
                *to = *value;
            }
        }
    }
    let mut out = Vec::new();
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&data).ok()?;
    writer.finish().ok()?;
    Some(out)
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
    fn the_cells_of_another_window_are_as_the_system_tells_or_not_known() {
        let window = |cells, points| Window { cells, points };
        let said = Graphics { sixel: true, cell: Some((10, 20)), ..Graphics::default() };
        let after = |before: Window, after: Window| {
            let mut showing = Showing::new(said, before);
            showing.resized(before);
            assert_eq!(showing.now(), said, "nothing changed");
            showing.resized(after);
            showing.now().cell
        };
        let before = window((120, 30), (1200, 600));
        // A smaller font, a larger window, and both at once.
        assert_eq!(after(before, window((240, 60), (1200, 600))), Some((5, 10)));
        assert_eq!(after(before, window((200, 50), (2000, 1000))), Some((10, 20)));
        assert_eq!(after(before, window((120, 30), (2400, 1200))), Some((20, 40)));
        // Not told, with a margin, or what no terminal has.
        for points in [(0, 0), (1204, 604), (65280, 15360), (120, 0)] {
            assert_eq!(after(before, window((240, 60), points)), None, "{points:?}");
        }
        assert_eq!(after(before, window((0, 0), (0, 0))), None);
        // Who told something else than the terminal, or nothing, is not believed later.
        for points in [(0, 0), (1320, 660), (1204, 604)] {
            let before = window((120, 30), points);
            assert_eq!(after(before, window((240, 60), (1200, 600))), None, "{points:?}");
        }
        // It is known again when it is told again.
        let mut showing = Showing::new(said, before);
        showing.resized(window((121, 30), (1200, 600)));
        assert_eq!(showing.now().means(Images::Auto), Means::Blocks);
        showing.resized(before);
        assert_eq!(showing.now().means(Images::Auto), Means::Sixel((10, 20)));
    }

    #[test]
    fn a_picture_for_kitty_is_a_png_in_pieces_that_asks_for_no_answer() {
        // Which no compression makes shorter.
        let one = |it: u32| (it.wrapping_mul(it).wrapping_mul(2_654_435_761) >> 24) as u8;
        let noise: Vec<u8> = (0..64 * 64 * 3).map(one).collect();
        let points = Points { width: 64, height: 64, bytes: noise.clone() };
        let graphic = kitty(&points, (7, 4), Some((10, 20))).unwrap();
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
        // As large as its cells, so that nothing is stretched, and clear where it ends before them.
        assert_eq!((reader.info().width, reader.info().height), (70, 80));
        let (shown, clear): (Vec<&[u8]>, Vec<&[u8]>) =
            back.chunks_exact(4).partition(|it| it[3] == 255);
        let colours: Vec<u8> = shown.iter().flat_map(|it| &it[..3]).copied().collect();
        assert_eq!(colours, noise);
        assert!(clear.iter().all(|it| **it == [0; 4]) && clear.len() == 70 * 80 - 64 * 64);
    }

    #[test]
    fn where_a_cell_is_not_known_the_terminal_still_fills_those_that_are_meant() {
        let graphic = kitty(&halves(), (2, 1), None).unwrap();
        assert!(graphic.bytes.starts_with(b"\x1b_Ga=T,f=100,i=21335,p=1,c=2,r=1,C=1,q=2,m=0;"));
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
