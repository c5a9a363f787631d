//! The largest screens: their keyframes are taken by whoever gets them, and are exact.

use proptest::prelude::*;
use sandwatch::{
    base::{
        limits::{KEYFRAME_BYTES_MAX, KEYFRAME_CELL_BYTES_MAX, SCREEN_CELLS_MAX},
        units::Size,
    },
    runtime::ScreenShot,
    vt::screen::Screen,
    wire::convert::output::{ScreenReader, screen_out},
};

/// What one cell may be filled with: every attribute, two colours, as much text as fits, or nothing.
fn cell() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        "x",
        "é",
        "中",
        "𝒳\u{20d0}\u{20d1}\u{20d2}\u{301}\u{1e00a}",
        "\x1b[C",
        "\x1b[X\x1b[C",
        " ",
    ]);
    let colour = |kind: u8| {
        (100_u8.., 100_u8.., 100_u8..)
            .prop_map(move |(r, g, b)| format!("\x1b[{kind};2;{r};{g};{b}m"))
    };
    let marks =
        prop::sample::select(vec!["\x1b[m", "\x1b[0;1;3;4;5;7;9m", "\x1b[0;2;3;4;5;7;8;9m"]);
    (marks, colour(38), colour(48), text)
        .prop_map(|(marks, front, back, text)| format!("{marks}{front}{back}{text}"))
}

fn fill(screen: &mut Screen, cells: &[String]) {
    let size = screen.size();
    screen.feed(b"\x1b[H");
    let count = usize::from(size.cols()) * usize::from(size.rows());
    let all: String = cells.iter().cycle().take(count).map(String::as_str).collect();
    screen.feed(all.as_bytes());
}

/// The bound, and the way over the wire and back.
fn check(screen: &Screen) -> Result<(), TestCaseError> {
    let size = screen.size();
    let state = screen.keyframe();
    let cells = usize::from(size.cols()) * usize::from(size.rows());
    prop_assert!(state.len() <= 2 * cells * KEYFRAME_CELL_BYTES_MAX + 1024, "{}", state.len());
    prop_assert!(state.len() <= KEYFRAME_BYTES_MAX);
    let shot = ScreenShot { offset: 0, size, state: state.clone().into(), title: None };
    let mut reader = ScreenReader::default();
    let mut taken = None;
    for message in screen_out(shot) {
        taken = reader.take(message).unwrap();
    }
    let taken = taken.unwrap();
    let again = Screen::from_keyframe(taken.size, &taken.state);
    prop_assert_eq!(again.size(), size);
    prop_assert!(again.keyframe() == state, "another keyframe");
    prop_assert!(again.lines() == screen.lines(), "other lines");
    prop_assert_eq!((again.modes(), again.cursor()), (screen.modes(), screen.cursor()));
    Ok(())
}

#[test]
fn a_size_has_no_more_cells_than_a_keyframe_holds() {
    for (cols, rows, want) in
        [(1000, 1000, 262), (512, 600, 512), (262, 1000, 1000), (2, 1000, 1000)]
    {
        let size = Size::clamped(cols, rows);
        assert_eq!((size.cols(), size.rows()), (cols, want));
        assert!(u32::from(size.cols()) * u32::from(size.rows()) <= SCREEN_CELLS_MAX);
    }
    assert_eq!(Size::parse("1000x262"), Some(Size::clamped(1000, 1000)));
    assert_eq!(Size::parse("1000x263"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_cell_takes_more_than_its_share(
        cells in proptest::collection::vec(cell(), 1..200), other in proptest::collection::vec(cell(), 1..50),
    ) {
        let mut screen = Screen::new(Size::clamped(30, 20));
        fill(&mut screen, &cells);
        screen.feed(b"\x1b[?1049h");
        fill(&mut screen, &other);
        check(&screen)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn the_largest_screens_are_taken_whole(cells in proptest::collection::vec(cell(), 100..300)) {
        let mut screen = Screen::new(Size::clamped(1000, 1000));
        fill(&mut screen, &cells);
        screen.feed(b"\x1b[?2004h");
        prop_assert!(screen.keyframe().len() > 8 * 1024 * 1024);
        check(&screen)?;
    }
}
