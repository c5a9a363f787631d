//! A program that uses the whole screen: an editor-like page on the alternate screen.

use super::terminal::{Flow, Terminal};

const TEXT: [&str; 8] = [
    "\x1b[35mfn\x1b[0m \x1b[34mretry\x1b[0m(times: \x1b[36mu32\x1b[0m) -> \x1b[36mOutcome\x1b[0m {",
    "    \x1b[35mfor\x1b[0m turn \x1b[35min\x1b[0m 0..times {",
    "        \x1b[35mmatch\x1b[0m call() {",
    "            Ok(it) => \x1b[35mreturn\x1b[0m Ok(it),",
    "            Err(_) => wait(turn), \x1b[2m// 待つ\x1b[0m",
    "        }",
    "    }",
    "}",
];

/// Draws, follows the size of the screen, takes keys; `q` leaves.
pub(super) async fn editor(terminal: &mut Terminal) -> Flow {
    terminal.write("\x1b[?1049h\x1b[?1h\x1b]2;retry.rs - editor\x07").await?;
    let mut typed = String::new();
    loop {
        draw(terminal, &typed).await?;
        let mut size = terminal.size.clone();
        size.mark_unchanged();
        let keys = tokio::select! {
            keys = terminal.read() => keys,
            changed = size.changed() => {
                if changed.is_err() { None } else { continue }
            }
        };
        let Some(keys) = keys else { break };
        if keys.contains(&b'q') {
            break;
        }
        typed.extend(String::from_utf8_lossy(&keys).chars().filter(|it| !it.is_control()));
        let excess = typed.chars().count().saturating_sub(40);
        typed = typed.chars().skip(excess).collect();
    }
    terminal.write("\x1b[?1l\x1b[?1049l").await
}

async fn draw(terminal: &mut Terminal, typed: &str) -> Flow {
    let size = terminal.size();
    let rows = usize::from(size.rows());
    let mut page = String::from("\x1b[?2026h\x1b[H\x1b[2J");
    for row in 0..rows.saturating_sub(2) {
        match TEXT.get(row) {
            Some(line) => page.push_str(&format!("\x1b[33m{:3}\x1b[0m {line}\r\n", row + 1)),
            None => page.push_str("\x1b[34m~\x1b[0m\r\n"),
        }
    }
    let cols = usize::from(size.cols());
    let bar = format!(" NORMAL  retry.rs  {}x{}  q leaves", size.cols(), size.rows());
    page.push_str(&format!("\x1b[7m{bar:cols$.cols$}\x1b[0m\r\n{typed}\x1b[?2026l"));
    terminal.write(page).await
}
