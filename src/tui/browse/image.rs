//! Pictures (PNG, JPEG) as rows of half blocks, and as the terminal takes them itself. The files are hostile: their size is
//! bounded before anything is unpacked, and whatever is wrong with one shows it as bytes.

use std::io::Cursor;

use crate::{
    app::files::Graphic,
    base::limits::CONSOLE_GRAPHIC_POINTS_MAX,
    tui::pictures::{self, Means, Points},
};

/// Looked at of one point that is drawn, in each direction: enough for an average.
const SAMPLES_MAX: usize = 8;

/// What a file begins with that is a picture of a kind that is known.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xff\xd8\xff")
}

fn unpacked(bytes: &[u8], most: usize) -> Option<Points> {
    if bytes.starts_with(b"\x89PNG") { png(bytes, most) } else { jpeg(bytes, most) }
}

fn png(bytes: &[u8], most: usize) -> Option<Points> {
    let limits = png::Limits { bytes: most.saturating_mul(8) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if width.checked_mul(height)? > most {
        return None;
    }
    let mut data = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut data).ok()?;
    let of = |it: &[u8]| match *it {
        [grey] => Some([grey; 3]),
        // On black, as on most terminals.
        [grey, alpha] => Some([over(grey, alpha); 3]),
        [red, green, blue] => Some([red, green, blue]),
        [red, green, blue, alpha] => Some([red, green, blue].map(|it| over(it, alpha))),
        _ => None,
    };
    let samples = info.color_type.samples();
    let points = data.chunks_exact(samples).take(width * height).map(of);
    let bytes: Vec<u8> = points.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    Some(Points { width, height, bytes })
}

fn over(value: u8, alpha: u8) -> u8 {
    u8::try_from(u16::from(value) * u16::from(alpha) / 255).unwrap_or(value)
}

fn jpeg(bytes: &[u8], most: usize) -> Option<Points> {
    use zune_jpeg::{
        JpegDecoder,
        zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
    };
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    if width.checked_mul(height)? > most {
        return None;
    }
    let bytes = decoder.decode().ok()?;
    (bytes.len() == width * height * 3).then_some(Points { width, height, bytes })
}

/// Rows of cells, each of an upper and a lower colour.
pub type Rows = Vec<Vec<([u8; 3], [u8; 3])>>;

/// A picture, ready to be shown.
pub struct Shown {
    pub rows: Rows,
    pub graphic: Option<Graphic>,
    /// Width and height of the whole, in points.
    pub size: (usize, usize),
}

/// In cells, no more than there is room for, and by what the terminal can besides. `None` for what is no picture, or too large.
pub fn shown(bytes: &[u8], room: (u16, u16), most: usize, means: Means) -> Option<Shown> {
    let points = unpacked(bytes, most)?;
    let size = (points.width, points.height);
    if points.width == 0 || points.height == 0 {
        return None;
    }
    Some(Shown { rows: points.rows(room), graphic: points.graphic(room, means), size })
}

/// The largest that is no larger than the picture, fits and is proportioned like it, each direction counted in units of its
/// own: so many of the first are as wide as so many of the second are high.
fn fitted((width, height): (usize, usize), room: (usize, usize)) -> (usize, usize) {
    let wide = room.0.min(width).min((room.1 * width).div_ceil(height)).max(1);
    (wide, (wide * height / width).clamp(1, room.1.max(1)))
}

impl Points {
    fn rows(&self, (columns, rows): (u16, u16)) -> Rows {
        // Half a cell is about a square.
        let room = (usize::from(columns).max(1), usize::from(rows).max(1) * 2);
        let (wide, tall) = fitted((self.width, self.height), room);
        let at = |x: usize, y: usize| self.average((x, y), (wide, tall));
        let row = |y: usize| {
            let lower = |x| if y + 1 < tall { at(x, y + 1) } else { [0; 3] };
            (0..wide).map(|x| (at(x, y), lower(x))).collect()
        };
        (0..tall).step_by(2).map(row).collect()
    }

    fn graphic(&self, (columns, rows): (u16, u16), means: Means) -> Option<Graphic> {
        /// A cell of most terminals; what it really is, the terminal knows.
        const USUAL: (u16, u16) = (8, 16);
        let (cell, is_sixel) = match means {
            Means::Kitty(cell) => (cell.unwrap_or(USUAL), false),
            Means::Sixel(cell) => (cell, true),
            Means::Blocks | Means::Off => return None,
        };
        let (across, down) = (usize::from(cell.0), usize::from(cell.1));
        let room = (usize::from(columns) * across, usize::from(rows) * down);
        // Whole bands: half a one would reach into the cells below.
        let room = if is_sixel { (room.0, room.1 / 6 * 6) } else { room };
        if room.0 == 0 || room.1 == 0 {
            return None;
        }
        let (wide, tall) = fitted((self.width, self.height), room);
        if wide * tall > CONSOLE_GRAPHIC_POINTS_MAX {
            return None;
        }
        let cells = (wide.div_ceil(across).try_into().ok()?, tall.div_ceil(down).try_into().ok()?);
        let point = |at: usize| self.average((at % wide, at / wide), (wide, tall));
        let bytes = (0..wide * tall).flat_map(point).collect();
        let small = Points { width: wide, height: tall, bytes };
        match means {
            Means::Sixel(_) => pictures::sixel(&small, cells),
            Means::Kitty(cell) => pictures::kitty(&small, cells, cell),
            Means::Blocks | Means::Off => None,
        }
    }

    /// The colour of one of so many parts of the picture.
    fn average(&self, (x, y): (usize, usize), (wide, tall): (usize, usize)) -> [u8; 3] {
        let range = |at: usize, of: usize, all: usize| {
            let (from, to) = (at * all / of, ((at + 1) * all / of).max(at * all / of + 1));
            (from..to.min(all)).step_by(((to - from) / SAMPLES_MAX).max(1))
        };
        let (mut sum, mut count) = ([0_u64; 3], 0_u64);
        for y in range(y, tall, self.height) {
            for x in range(x, wide, self.width) {
                let start = (y * self.width + x) * 3;
                let Some([red, green, blue]) = self.bytes.get(start..start + 3) else { continue };
                for (sum, value) in sum.iter_mut().zip([red, green, blue]) {
                    *sum += u64::from(*value);
                }
                count += 1;
            }
        }
        sum.map(|it| u8::try_from(it / count.max(1)).unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(width: u32, height: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        // Red above, half-transparent blue below.
        let half = (width * height / 2) as usize;
        let upper = [255, 0, 0, 255].repeat(half);
        let lower = [0, 0, 255, 128].repeat((width * height) as usize - half);
        writer.write_image_data(&[upper, lower].concat()).unwrap();
        writer.finish().unwrap();
        out
    }

    fn rows(bytes: &[u8], room: (u16, u16), most: usize) -> Option<(Rows, (usize, usize))> {
        shown(bytes, room, most, Means::Blocks).map(|it| (it.rows, it.size))
    }

    #[test]
    fn what_the_terminal_is_given_fits_into_its_cells() {
        let cells = |means, width, height, room| {
            let shown = shown(&drawn(width, height), room, 1 << 22, means).unwrap();
            shown.graphic.map(|it| it.cells)
        };
        let (kitty, sixel) = (Means::Kitty(Some((10, 20))), Means::Sixel((10, 20)));
        // As large as it is, where there is room for that.
        for means in [kitty, sixel] {
            assert_eq!(cells(means, 64, 64, (80, 24)), Some((7, 4)));
            for (width, height) in [(2000, 1000), (1000, 2000), (3000, 3), (3, 3000), (1, 1)] {
                let (columns, rows) = cells(means, width, height, (40, 12)).unwrap();
                assert!(columns <= 40 && rows <= 12, "{width} {height}: {columns} {rows}");
            }
        }
        assert_eq!(cells(Means::Kitty(None), 64, 64, (80, 24)), Some((8, 4)));
        assert_eq!(cells(Means::Blocks, 64, 64, (80, 24)), None);
        assert_eq!(cells(sixel, 64, 64, (80, 0)), None);
    }

    #[test]
    fn a_picture_becomes_cells_that_fit() {
        let bytes = drawn(64, 64);
        assert!(is_one(&bytes));
        let (cells, size) = rows(&bytes, (20, 30), 1 << 20).unwrap();
        assert_eq!((size, cells.len(), cells[0].len()), ((64, 64), 10, 20));
        assert_eq!(cells[0][0], ([255, 0, 0], [255, 0, 0]));
        assert_eq!(cells[9][19], ([0, 0, 128], [0, 0, 128]));
        // Not larger than it is, nor than the room whichever way it lies.
        assert_eq!(rows(&drawn(2, 2), (20, 30), 100).unwrap().0.len(), 1);
        for (width, height) in [(1, 500), (500, 1), (300, 7)] {
            let (cells, _) = rows(&drawn(width, height), (20, 10), 1 << 20).unwrap();
            assert!(cells.len() <= 10 && cells.iter().all(|it| it.len() <= 20), "{width} {height}");
        }
    }

    #[test]
    fn what_is_too_large_or_damaged_is_none() {
        let bytes = drawn(64, 64);
        assert!(rows(&bytes, (20, 30), 64 * 63).is_none());
        for cut in [0, 8, 20, 40, bytes.len() / 2] {
            assert!(rows(&bytes[..cut], (20, 30), 1 << 20).is_none(), "{cut}");
        }
        for at in 8..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            drop(rows(&damaged, (20, 30), 1 << 20));
        }
        assert!(rows(b"\xff\xd8\xff\xe0nothing", (20, 30), 1 << 20).is_none());
    }
}
