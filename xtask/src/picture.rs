//! `picture`: starts the real console in a PTY, on its scripted fleet and on a real sandbox, waits until
//! it has something to show, and writes its cells as pictures into assets/. Nothing in them is drawn by hand.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    num::NonZeroU16,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::{Done, root};

const COLS: u16 = 120;
const ROWS: u16 = 36;
/// Names of pictures of the scripted fleet, and the keys typed one after the other that lead there from the one before.
const SCRIPTED: &[(&str, &[&str])] =
    &[("console", &["4"]), ("gauges", &["m"]), ("files", &["q", "f", "l", "j", "j"])];
/// The same of a real sandbox, in which a program waits for itself.
const REAL: &[(&str, &[&str])] = &[("inspector", &["w"]), ("timeline", &["q", "H", "[", "[", "["])];
/// Where the programs of the real sandbox are: those of the system.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const DEADLOCK: &str = "import threading, time
for part in ('reading orders', 'reading prices', 'adding up', 'writing totals'):
    print('\x1b[32m*\x1b[0m', part, flush=True)
    open(part.replace(' ', '-') + '.csv', 'w').write(part)
    time.sleep(0.7)
a, b = threading.Lock(), threading.Lock()
def both(one, other):
    with one:
        time.sleep(1)
        with other:
            print('both')
threads = [threading.Thread(target=both, args=it) for it in ((a, b), (b, a))]
[it.start() for it in threads]
print('two threads, two locks', flush=True)
[it.join() for it in threads]
";
/// How long the scripted fleet gets to become interesting, and then how long for each key.
const FIRST: Duration = Duration::from_secs(12);
const EACH: Duration = Duration::from_secs(2);

/// One cell in pixels, and the size of the letters in it.
const WIDE: f32 = 8.4;
const HIGH: f32 = 17.0;
const LETTERS: f32 = 14.0;
const FOREGROUND: &str = "#d4d4d4";
const BACKGROUND: &str = "#111318";

pub fn run() -> Done {
    let program = build()?;
    let home = root().join("target/xtask-picture");
    drop(fs::remove_dir_all(&home));
    let project = home.join("project");
    fs::create_dir_all(&project)?;
    fs::write(project.join("report.py"), DEADLOCK)?;
    let mut pictures = Console::start(&program, &home, &project, &["demo"])?.take(SCRIPTED)?;
    let sandwatch = |args: &[&str]| -> Done {
        let mut command = std::process::Command::new(&program);
        let status = command
            .args(args)
            .env("SANDWATCH_HOME", &home)
            .env("PATH", PATH)
            .current_dir(&project)
            .status();
        match status?.success() {
            true => Ok(()),
            false => Err(format!("sandwatch {} failed", args.join(" ")).into()),
        }
    };
    let real = || -> Result<_, Box<dyn std::error::Error>> {
        sandwatch(&["run", "-d", "--name", "report", "--", "python3", "report.py"])?;
        sandwatch(&["wait", "report", "--for", "text=writing totals", "--timeout", "30s"])?;
        sandwatch(&["snapshot", "create", "report", "--name", "before-the-locks"])?;
        Console::start(&program, &home, &project, &[])?.take(REAL)
    };
    let real = real();
    // Whatever became of it, nothing of it stays.
    sandwatch(&["rm", "-y", "report"])?;
    sandwatch(&["hub", "stop"])?;
    pictures.extend(real?);
    fs::remove_dir_all(&home)?;
    for (name, picture) in pictures {
        fs::write(root().join(format!("assets/{name}.svg")), picture)?;
    }
    Ok(())
}

/// A console in a terminal of its own.
struct Console {
    child: Box<dyn Child + Send + Sync>,
    /// The terminal is there as long as this is.
    _terminal: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    output: mpsc::Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Console {
    fn start(
        program: &Path,
        home: &Path,
        project: &Path,
        args: &[&str],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let size = PtySize { rows: ROWS, cols: COLS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size)?;
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(project);
        command.env("SANDWATCH_HOME", home);
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env("LANG", "C.UTF-8");
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command)?;
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader()?;
        let writer = pair.master.take_writer()?;
        let (sender, output) = mpsc::sync_channel::<Vec<u8>>(64);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let sides = (NonZeroU16::new(ROWS), NonZeroU16::new(COLS));
        let (Some(rows), Some(cols)) = sides else { return Err("no picture of that size".into()) };
        let parser = vt100::Parser::new(rows, cols, 0);
        Ok(Self { child, _terminal: pair.master, writer, output, parser })
    }

    /// Takes these pictures, and ends it.
    fn take(
        mut self,
        pictures: &[(&'static str, &[&str])],
    ) -> Result<Vec<(&'static str, String)>, Box<dyn std::error::Error>> {
        let mut taken = Vec::new();
        self.feed(FIRST);
        for (name, keys) in pictures {
            for key in *keys {
                self.writer.write_all(key.as_bytes())?;
                self.feed(EACH);
            }
            println!("{name}\n{}\n", self.parser.screen().contents());
            taken.push((*name, draw(self.parser.screen())));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(taken)
    }

    /// Takes in what it draws for so long.
    fn feed(&mut self, long: Duration) {
        let end = Instant::now() + long;
        // A console that draws all the time leaves the channel never empty.
        while Instant::now() < end {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(_) => return,
            }
        }
    }
}

fn build() -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["build", "--quiet", "--bin", "sandwatch"])
        .current_dir(root())
        .status()?;
    if !status.success() {
        return Err("the console does not build".into());
    }
    Ok(root().join("target/debug/sandwatch"))
}

/// The picture: backgrounds first, then lines and blocks as shapes, then letters.
fn draw(screen: &vt100::Screen) -> String {
    let (width, height) = (f32::from(COLS) * WIDE + 16.0, f32::from(ROWS) * HIGH + 16.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"{LETTERS}\">\n<title>The console of sandwatch</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g transform=\"translate(8 8)\">\n"
    );
    for row in 0..ROWS {
        backgrounds(screen, row, &mut svg);
    }
    for row in 0..ROWS {
        letters(screen, row, &mut svg);
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

struct Look {
    foreground: String,
    background: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

impl PartialEq for Look {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.bold, it.dim, it.italic, it.underline);
        self.foreground == other.foreground && of(self) == of(other)
    }
}

fn look(cell: &vt100::Cell) -> Look {
    let (mut foreground, mut background) = (colour(cell.fgcolor()), colour(cell.bgcolor()));
    if cell.inverse() {
        let swapped = background.unwrap_or_else(|| BACKGROUND.into());
        background = Some(foreground.unwrap_or_else(|| FOREGROUND.into()));
        foreground = Some(swapped);
    }
    Look {
        foreground: foreground.unwrap_or_else(|| FOREGROUND.into()),
        background,
        bold: cell.bold(),
        dim: cell.dim(),
        italic: cell.italic(),
        underline: cell.underline(),
    }
}

fn colour(it: vt100::Color) -> Option<String> {
    const NAMED: [&str; 16] = [
        "#1d1f21", "#cc6666", "#8fbc6a", "#e0b36a", "#6ea8d8", "#b294bb", "#6fc1b4", "#c5c8c6",
        "#767b80", "#e57f7f", "#a9d485", "#f0c674", "#8cc2ee", "#c9aed2", "#8ad9cb", "#ffffff",
    ];
    match it {
        vt100::Color::Default => None,
        vt100::Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
        vt100::Color::Idx(index @ 0..=15) => Some(NAMED[usize::from(index)].into()),
        vt100::Color::Idx(index @ 232..) => {
            let grey = 8 + (index - 232) * 10;
            Some(format!("#{grey:02x}{grey:02x}{grey:02x}"))
        }
        vt100::Color::Idx(index) => {
            let level = |step: u8| if step == 0 { 0 } else { 55 + step * 40 };
            let at = index - 16;
            let (red, green, blue) = (level(at / 36), level(at / 6 % 6), level(at % 6));
            Some(format!("#{red:02x}{green:02x}{blue:02x}"))
        }
    }
}

fn backgrounds(screen: &vt100::Screen, row: u16, svg: &mut String) {
    let background = |col| screen.cell(row, col).and_then(|it| look(it).background);
    let mut col = 0;
    while col < COLS {
        let start = col;
        let fill = background(col);
        while col < COLS && background(col) == fill {
            col += 1;
        }
        if let Some(fill) = fill {
            let (x, y) = at(start, row);
            let wide = f32::from(col - start) * WIDE;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{HIGH}\" fill=\"{fill}\"/>"
            );
        }
    }
}

fn at(col: u16, row: u16) -> (f32, f32) {
    (f32::from(col) * WIDE, f32::from(row) * HIGH)
}

fn letters(screen: &vt100::Screen, row: u16, svg: &mut String) {
    let mut col = 0;
    while col < COLS {
        let Some(cell) = screen.cell(row, col) else { break };
        let text = cell.contents();
        if text.trim().is_empty() {
            col += 1;
            continue;
        }
        let style = look(cell);
        if let Some(shape) = shape(text, at(col, row), &style.foreground) {
            svg.push_str(&shape);
            col += 1;
            continue;
        }
        let (start, mut run) = (col, String::new());
        while let Some(next) = screen.cell(row, col) {
            let blank = next.contents().is_empty();
            let ends =
                !blank && (look(next) != style || shape(next.contents(), (0.0, 0.0), "").is_some());
            if ends || col >= COLS {
                break;
            }
            if !next.is_wide_continuation() {
                run.push_str(if blank { " " } else { next.contents() });
            }
            col += 1;
        }
        write_run(svg, run.trim_end(), start, row, &style);
    }
}

fn write_run(svg: &mut String, run: &str, col: u16, row: u16, style: &Look) {
    let (x, y) = at(col, row);
    let escaped = run.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let cells = run.chars().filter(|it| *it as u32 >= 32).count();
    let mut attributes = String::new();
    for (on, text) in [
        (style.bold, " font-weight=\"bold\""),
        (style.dim, " opacity=\"0.6\""),
        (style.italic, " font-style=\"italic\""),
        (style.underline, " text-decoration=\"underline\""),
    ] {
        if on {
            attributes.push_str(text);
        }
    }
    let plain = run.is_ascii();
    if plain {
        let _ = write!(attributes, " textLength=\"{:.1}\"", cells as f32 * WIDE);
    }
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{}\" xml:space=\"preserve\"{attributes}>{escaped}</text>",
        y + HIGH * 0.76,
        style.foreground
    );
}

/// Lines and blocks as shapes, so that they meet whatever font shows the picture.
fn shape(text: &str, (x, y): (f32, f32), fill: &str) -> Option<String> {
    let mut chars = text.chars();
    let (Some(sign), None) = (chars.next(), chars.next()) else { return None };
    let (left, right, up, down) = match sign {
        '─' => (true, true, false, false),
        '│' => (false, false, true, true),
        '┌' | '╭' => (false, true, false, true),
        '┐' | '╮' => (true, false, false, true),
        '└' | '╰' => (false, true, true, false),
        '┘' | '╯' => (true, false, true, false),
        '├' => (false, true, true, true),
        '┤' => (true, false, true, true),
        '┬' => (true, true, false, true),
        '┴' => (true, true, true, false),
        '┼' => (true, true, true, true),
        '▁'..='█' => {
            let eighths = (sign as u32 - '▁' as u32 + 1) as f32;
            let high = HIGH * eighths / 8.0;
            let top = y + HIGH - high;
            return Some(format!(
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{WIDE}\" height=\"{high:.1}\" fill=\"{fill}\"/>\n"
            ));
        }
        _ => return None,
    };
    let (middle_x, middle_y) = (x + WIDE / 2.0, y + HIGH / 2.0);
    let mut path = String::new();
    for (on, to_x, to_y) in [
        (left, x, middle_y),
        (right, x + WIDE, middle_y),
        (up, middle_x, y),
        (down, middle_x, y + HIGH),
    ] {
        if on {
            let _ = write!(path, "M{middle_x:.1} {middle_y:.1}L{to_x:.1} {to_y:.1}");
        }
    }
    Some(format!("<path d=\"{path}\" stroke=\"{fill}\" stroke-linecap=\"square\"/>\n"))
}
