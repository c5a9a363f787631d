//! A second opinion: recordings of real programs and random streams are played to our screen and to
//! alacritty_terminal, and both must show the same.
//!
//! Left out, as the two differ, mostly on purpose:
//! - U+FE0F (alacritty keeps the cell narrow), and what is left of a wide character cut in half or
//!   not fitting into the last column
//! - bytes that are no UTF-8 (alacritty drops 0x80 to 0x9f)
//! - LNM (alacritty takes it and does nothing), REP after a change of charset
//! - bold and dim at once (vt100 has either)
//! - erasing and tabs while a wrap is pending, going back over tabs when there is none
//! - ?47, ?1047 and DECSTR (alacritty has none), leaving the alternate screen twice
//! - left and right margins (alacritty has none): within them ours must look like all of a smaller one
//! - moving up or down beside a scroll region (alacritty leaves the region; in origin mode it counts
//!   the top twice)
//! - DECALN (alacritty keeps the cursor), ED 1 (alacritty leaves the first row), DCH beyond the edge
//!   (alacritty erases to the left of the cursor)

use alacritty_terminal::{
    Term,
    event::VoidListener,
    grid::Dimensions,
    index::{Column, Line},
    term::{Config, cell::Flags},
    vte::ansi::{Color, NamedColor, Processor},
};
use proptest::prelude::*;
use sandwatch::{
    base::units::Size,
    vt::screen::{Colour, Screen},
};

struct Sides(Size);

impl Dimensions for Sides {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }
    fn screen_lines(&self) -> usize {
        usize::from(self.0.rows())
    }
    fn columns(&self) -> usize {
        usize::from(self.0.cols())
    }
}

struct Other {
    term: Term<VoidListener>,
    parser: Processor,
}

impl Other {
    fn new(size: Size) -> Self {
        let config = Config { scrolling_history: 0, ..Config::default() };
        Self { term: Term::new(config, &Sides(size), VoidListener), parser: Processor::new() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
    }
}

fn colour(it: Color) -> Colour {
    match it {
        Color::Named(it) if (it as usize) <= NamedColor::BrightWhite as usize => {
            Colour::Indexed(it as u8)
        }
        Color::Named(_) => Colour::Default,
        Color::Indexed(it) => Colour::Indexed(it),
        Color::Spec(it) => Colour::Rgb(it.r, it.g, it.b),
    }
}

/// What a person sees of one cell: text, colours, marks. Of a blank only the background and inverse.
type Seen = (String, Colour, Colour, [bool; 6]);

fn seen(text: &str, foreground: Colour, background: Colour, marks: [bool; 6]) -> Seen {
    if matches!(text, "" | " ") && !marks[3] && !marks[4] && !marks[5] {
        return (" ".to_owned(), Colour::Default, background, [false; 6]);
    }
    (if text.is_empty() { " " } else { text }.to_owned(), foreground, background, marks)
}

fn ours(screen: &Screen, (top, left): (u16, u16), size: Size) -> Vec<Vec<Seen>> {
    let cell = |row, col| {
        let it = screen.cell(top + row, left + col).unwrap();
        let marks = [it.bold, it.dim, it.italic, it.underline, it.inverse, it.struck];
        (!it.wide_rest).then(|| seen(it.text, it.foreground, it.background, marks))
    };
    (0..size.rows())
        .map(|row| (0..size.cols()).filter_map(|col| cell(row, col)).collect())
        .collect()
}

fn theirs(other: &Other, size: Size) -> Vec<Vec<Seen>> {
    let grid = other.term.grid();
    let cell = |row: u16, col: u16| {
        let it = &grid[Line(i32::from(row))][Column(usize::from(col))];
        let mut text = String::from(it.c);
        text.extend(it.zerowidth().unwrap_or_default());
        let has = |flag| it.flags.intersects(flag);
        let marks = [
            has(Flags::BOLD),
            has(Flags::DIM),
            has(Flags::ITALIC),
            has(Flags::ALL_UNDERLINES),
            has(Flags::INVERSE),
            has(Flags::STRIKEOUT),
        ];
        // vt100 has either bold or dim.
        let marks = [marks[0] && !marks[1], marks[1], marks[2], marks[3], marks[4], marks[5]];
        // Of hidden text ours shows blanks and no lines.
        let hidden = has(Flags::HIDDEN);
        let lines = !hidden;
        let marks = [marks[0], marks[1], marks[2], marks[3] && lines, marks[4], marks[5] && lines];
        let text = if text == "\t" || hidden { " " } else { &text };
        (!has(Flags::WIDE_CHAR_SPACER)).then(|| seen(text, colour(it.fg), colour(it.bg), marks))
    };
    (0..size.rows())
        .map(|row| (0..size.cols()).filter_map(|col| cell(row, col)).collect())
        .collect()
}

fn compare(screen: &Screen, other: &Other, what: &str) -> Result<(), String> {
    compare_part(screen, (0, 0), screen.size(), other, what)
}

/// Compares the part of a screen that begins at a row and column with the whole of another.
fn compare_part(
    screen: &Screen,
    corner: (u16, u16),
    size: Size,
    other: &Other,
    what: &str,
) -> Result<(), String> {
    for (row, (our, their)) in
        ours(screen, corner, size).iter().zip(&theirs(other, size)).enumerate()
    {
        let text = |it: &Vec<Seen>| it.iter().map(|it| it.0.as_str()).collect::<String>();
        if text(our) != text(their) {
            return Err(format!(
                "{what}: row {row}\n ours  {:?}\n theirs {:?}",
                text(our),
                text(their)
            ));
        }
        if let Some(col) = (0..our.len()).find(|col| our[*col] != their[*col]) {
            return Err(format!(
                "{what}: row {row} cell {col}\n ours  {:?}\n theirs {:?}",
                our[col], their[col]
            ));
        }
    }
    let point = other.term.grid().cursor.point;
    let (row, col) = (u16::try_from(point.line.0).unwrap(), u16::try_from(point.column.0).unwrap());
    let cursor = (corner.0 + row, corner.1 + col);
    if let Some(our) = screen.cursor().filter(|it| *it != cursor) {
        return Err(format!("{what}: cursor ours {our:?} theirs {cursor:?}"));
    }
    Ok(())
}

#[test]
fn recorded_programs_look_as_in_another_emulator() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "bin") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text =
            String::from_utf8(std::fs::read(&path).unwrap()).unwrap().replace('\u{fe0f}', "");
        let mut screen = Screen::new(Size::DEFAULT);
        let mut other = Other::new(Size::DEFAULT);
        let (mut at, mut again) = (0, Screen::new(Size::DEFAULT));
        for chunk in text.as_bytes().chunks(211) {
            screen.feed(chunk);
            other.feed(chunk);
            again.feed(chunk);
            at += chunk.len();
            // A cut inside a sequence or between a character and its marks proves nothing.
            let settled = text.is_char_boundary(at) && !text[..at].ends_with(char::is_control);
            if settled && !other_is_buffering(&text[..at]) {
                compare(&screen, &other, &format!("{name} at {at}")).unwrap();
            }
            again = Screen::from_keyframe(Size::DEFAULT, &again.keyframe());
            assert_eq!(screen.keyframe(), again.keyframe(), "{name} at {at}");
        }
        compare(&screen, &other, &name).unwrap();
        played += 1;
    }
    assert!(played >= 10, "only {played} recordings");
}

/// alacritty holds output back within a synchronised update.
fn other_is_buffering(text: &str) -> bool {
    text.rfind("\x1b[?2026h") > text.rfind("\x1b[?2026l")
}

fn piece() -> impl Strategy<Value = String> {
    let count = 1_u16..6;
    let home = (1_u16..8, 1_u16..14).prop_map(|(row, col)| format!("\x1b[{row};{col}H"));
    let edit = (home.clone(), count.clone(), prop::sample::select(vec!['@', 'P', 'X', 'L', 'M']))
        .prop_map(|(home, count, last)| match last {
            'P' => format!("{home}\x1b[P"),
            last => format!("{home}\x1b[{count}{last}"),
        });
    let erase = (home.clone(), prop::sample::select(vec!["J", "2J", "K", "1K", "2K"]))
        .prop_map(|(home, how)| format!("{home}\x1b[{how}"));
    let motion =
        (count.clone(), prop::sample::select(vec!['C', 'D', 'G', 'd', 'S', 'T', 'a', 'e']))
            .prop_map(|(count, last)| format!("\x1b[{count}{last}"));
    let region = (1_u16..5, 1_u16..8).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r"));
    let fixed = prop::sample::select(vec![
        "\x1b7",
        "\x1b8",
        "\x1b[s",
        "\x1b[u",
        "\x1bD",
        "\x1bE",
        "\x1bM",
        "\x1b(0",
        "\x1b(B",
        "\x1b[?7l",
        "\x1b[?7h",
        "\x1b[4h",
        "\x1b[4l",
        "\x1b[r",
        "\x1bH",
        "\r\x1b[I",
        "\r\x1b[2I\x1b[Z",
    ]);
    let style = prop::sample::select(vec![
        "0",
        "1",
        "3",
        "4",
        "7",
        "22",
        "23",
        "24",
        "27",
        "31",
        "44",
        "39",
        "49",
        "38;5;9",
        "48;2;1;2;3",
        "4:3",
        "8",
        "28",
        "9",
        "29",
        "38:2::9:8:7",
    ])
    .prop_map(|it| format!("\x1b[{it}m"));
    prop_oneof![
        6 => "[ -~]{1,9}",
        3 => prop::sample::select(vec!["\r\n", "\n", "\r", "\r\t", "\x08"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["é", "e\u{301}", "─", "ｶ"]).prop_map(str::to_owned),
        2 => home, 2 => edit, 2 => erase, 2 => motion, 1 => region, 3 => style,
        2 => fixed.prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn random_output_looks_as_in_another_emulator(
        pieces in proptest::collection::vec(piece(), 0..40), cols in 4_u16..14, rows in 7_u16..10,
    ) {
        let size = Size::clamped(cols, rows);
        let (mut screen, mut other) = (Screen::new(size), Other::new(size));
        for (at, it) in pieces.iter().enumerate() {
            screen.feed(it.as_bytes());
            other.feed(it.as_bytes());
            if let Err(error) = compare(&screen, &other, "random") {
                return Err(TestCaseError::fail(format!("{error}\n after {:?}", &pieces[..=at])));
            }
        }
    }

    #[test]
    fn random_output_between_margins_looks_as_in_another_emulator(
        pieces in proptest::collection::vec(piece(), 0..40), (cols, rows) in (4_u16..14, 7_u16..10),
        (top, left) in (0_u16..3, 1_u16..4), beyond in 0_u16..4,
    ) {
        let size = Size::clamped(cols, rows);
        let mut screen = Screen::new(Size::clamped(left + cols + beyond, top + rows + beyond));
        let mut other = Other::new(size);
        let (right, bottom) = (left + cols, top + rows);
        let region = format!("\x1b[{};{bottom}r\x1b[?6h\x1b[H\x1b7", top + 1);
        screen.feed(format!("\x1b[?69h\x1b[{};{right}s{region}", left + 1).as_bytes());
        // Erasing, tab stops and the rows of a region count from the edges of the screen.
        let absolute = |it: &&String| {
            it.starts_with('\x1b') && it.ends_with(['J', 'K', 'X', 'r', 'e', 's'])
                || it.contains('\t') || it.as_str() == "\x1bH" || it.contains("\x1b[I") || it.contains("\x1b[2I")
        };
        for (at, it) in pieces.iter().filter(|it| !absolute(it)).enumerate() {
            screen.feed(it.as_bytes());
            other.feed(it.as_bytes());
            if let Err(error) = compare_part(&screen, (top, left), size, &other, "between margins") {
                return Err(TestCaseError::fail(format!("{error}\n at {at} of {pieces:?}")));
            }
        }
    }
}
