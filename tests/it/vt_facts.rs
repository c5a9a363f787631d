//! What a program says about itself, and what it is answered.

use sandwatch::{
    base::units::Size,
    model::fact::Fact,
    vt::screen::{Found, Screen},
};

fn found(text: &str) -> Found {
    Screen::new(Size::clamped(20, 4)).feed(text.as_bytes())
}

#[track_caller]
fn says(text: &str, want: &[Fact]) {
    let facts: Vec<Fact> = found(text).facts.into_iter().map(|(_, it)| it).collect();
    assert_eq!(facts, want, "{text:?}");
    // A sequence may come in pieces.
    let mut screen = Screen::new(Size::DEFAULT);
    let pieces = text.as_bytes().chunks(1).flat_map(|it| screen.feed(it).facts);
    assert_eq!(pieces.map(|(_, it)| it).collect::<Vec<_>>(), want, "{text:?} in pieces");
}

fn answer(text: &str) -> String {
    let mut screen = Screen::new(Size::clamped(20, 4));
    let whole = screen.feed(text.as_bytes()).replies;
    String::from_utf8(whole).unwrap()
}

#[test]
fn facts_are_taken_out_of_the_output() {
    let notify = |title: Option<&str>, body: &str| Fact::Notify {
        title: title.map(str::to_owned),
        body: body.to_owned(),
    };
    says("a\x07", &[Fact::Bell]);
    says("\x1b]0;one\x07\x1b]2;two\x1b\\", &[Fact::Title("one".into()), Fact::Title("two".into())]);
    says("\x1b]7;file://host/a%20b/%C3%A9\x07", &[Fact::Cwd("/a b/é".into())]);
    says(
        "\x1b]8;id=1;https://x.example/\x07t\x1b]8;;\x07",
        &[Fact::Link { uri: "https://x.example/".into() }],
    );
    says("\x1b]8;;javascript:alert(1)\x07", &[]);
    says(
        "\x1b]52;c;aGVsbG8=\x07\x1b]52;c;?\x07\x1b]52;c;\x07",
        &[Fact::Clipboard(b"hello".to_vec())],
    );
    says("\x1b]9;done\x07", &[notify(None, "done")]);
    says(
        "\x1b]9;4;1;50\x07\x1b]9;4;3\x07\x1b]9;4;0;0\x07",
        &[
            Fact::Progress { state: 1, percent: Some(50) },
            Fact::Progress { state: 3, percent: None },
            Fact::Progress { state: 0, percent: None },
        ],
    );
    says("\x1b]9;2;not a notification\x07", &[]);
    says("\x1b]777;notify;T;B;C\x07", &[notify(Some("T"), "B;C")]);
    says("\x1b]99;i=1:d=0;half\x1b\\\x1b]99;i=1:d=1:p=body;whole\x1b\\", &[notify(None, "whole")]);
    says(
        "\x1b]133;A\x07\x1b]133;D;3\x07",
        &[
            Fact::Prompt { mark: 'A', exit_code: None },
            Fact::Prompt { mark: 'D', exit_code: Some(3) },
        ],
    );
    says(
        "\x1b]7501;state=blocked:kind=permission:app=x:msg=RGVwbG95Pw==\x1b\\",
        &[Fact::Program {
            state: "blocked".into(),
            fields: vec![
                ("kind".into(), "permission".into()),
                ("app".into(), "x".into()),
                ("msg".into(), "Deploy?".into()),
            ],
        }],
    );
    says("\x1b]7501;state=dancing\x07\x1b]7501;?\x07", &[]);
}

#[test]
fn facts_are_safe_to_show_and_bounded() {
    says("\x1b]0;a\u{202e}b\x01c\x07", &[Fact::Title("a<U+202E>b\u{2401}c".into())]);
    let long = "é".repeat(1000);
    let title = found(&format!("\x1b]0;{long}\x07")).facts.remove(0).1;
    assert_eq!(title, Fact::Title("é".repeat(128)));
    assert!(found(&format!("\x1b]0;{}\x07", "x".repeat(5000))).facts.is_empty());
    let clipboard = format!("\x1b]52;c;{}\x07", "QUJD".repeat(18_000));
    assert_eq!(found(&clipboard).facts.len(), 1);
    let clipboard = format!("\x1b]52;c;{}\x07", "QUJD".repeat(30_000));
    assert_eq!(found(&clipboard).facts.len(), 0);
    assert_eq!(found(&"\x07".repeat(10_000)).facts.len(), 256);
}

#[test]
fn a_link_is_told_as_it_is_or_not_at_all() {
    let link = |uri: &str| found(&format!("\x1b]8;;{uri}\x07")).facts.pop().map(|it| it.1);
    for cut in ["https://x/👨\u{200d}", "https://x/a\u{202e}b", "https://x/a\u{1}b"] {
        assert_eq!(link(cut), None, "{cut:?}");
    }
    let family = "https://x/👨\u{200d}👩".to_owned();
    assert_eq!(link(&family), Some(Fact::Link { uri: family }));
    // Made visible it would be longer than it may be, and end within the family.
    let padding = "\u{200b}".repeat(510);
    for end in 0..16 {
        assert_eq!(link(&format!("https://x/{padding}{}👨\u{200d}👩", "x".repeat(end))), None);
    }
}

#[test]
fn facts_say_where_they_were() {
    let at: Vec<usize> =
        found("ab\x07cd\x1b]0;t\x1b\\e\x07").facts.into_iter().map(|it| it.0).collect();
    assert_eq!(at, [3, 12, 14]);
}

#[test]
fn queries_are_answered() {
    assert_eq!(answer("\x1b[c"), "\x1b[?62;22;52c");
    assert_eq!(answer("\x1b[>c"), "\x1b[>1;1;0c");
    assert_eq!(answer("\x1b[5n"), "\x1b[0n");
    assert_eq!(answer("ab\r\nc\x1b[6nxyz"), "\x1b[2;2R");
    assert_eq!(answer(&format!("{}\x1b[6n", "x".repeat(20))), "\x1b[1;20R");
    assert_eq!(answer("\x1b[2;4r\x1b[?6h\x1b[2H\x1b[?6n"), "\x1b[?2;1R");
    assert_eq!(
        answer("\x1b[?2026$p\x1b[?2004h\x1b[?2004$p\x1b[?9999$p"),
        "\x1b[?2026;2$y\x1b[?2004;1$y\x1b[?9999;0$y"
    );
    assert_eq!(answer("\x1b[4$p\x1b[4h\x1b[4$p"), "\x1b[4;2$y\x1b[4;1$y");
    assert_eq!(answer("\x1b[>q"), format!("\x1bP>|sandwatch({})\x1b\\", env!("CARGO_PKG_VERSION")));
    assert_eq!(answer("\x1b]11;?\x07"), "\x1b]11;rgb:1212/1212/1212\x07");
    assert_eq!(
        answer("\x1b]4;196;?;1;?\x1b\\"),
        "\x1b]4;196;rgb:ffff/0000/0000\x1b\\\x1b]4;1;rgb:cdcd/0000/0000\x1b\\"
    );
    assert_eq!(answer("\x1b[?u\x1b[>5u\x1b[?u"), "\x1b[?0u\x1b[?5u");
    assert_eq!(answer("\x1b]7501;?\x1b\\"), "\x1b]7501;?\x1b\\");
    assert_eq!(answer("\x1b[18t"), "\x1b[8;4;20t");
    assert_eq!(
        answer("\x1bP+q544e;dead\x1b\\"),
        "\x1bP1+r544E=787465726D2D323536636F6C6F72\x1b\\\x1bP0+r\x1b\\"
    );
    assert_eq!(answer("\x1bP$qm\x1b\\"), "\x1bP0$r\x1b\\");
    let mut screen = Screen::new(Size::DEFAULT);
    screen.set_colours((1, 2, 3), (255, 255, 255));
    assert_eq!(screen.feed(b"\x1b]10;?\x07").replies, b"\x1b]10;rgb:0101/0202/0303\x07");
}

#[test]
fn no_answer_carries_what_the_program_said() {
    for asked in
        ["\x1b]0;rm -rf\x07\x1b[21t", "\x1b[20t", "\x1b]52;c;?\x07", "\x1bP+q\x1b\\", "\x05"]
    {
        assert!(!answer(asked).contains("rm"), "{asked:?}");
    }
    assert_eq!(answer("\x1b]0;x\x07\x1b[21t\x1b]52;c;?\x07\x05"), "");
    assert!(answer(&"\x1b[c".repeat(10_000)).len() <= 4096);
}
