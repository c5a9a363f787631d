//! Whose turn it is when the processors are busy: sandboxes go behind the host that watches over them, which
//! goes behind hub and console. A key then passes eight floods; who is alone is as fast as ever.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    time::Duration,
};

/// How far the host of a sandbox steps back: its drains must keep up with programs, not with the operator.
const HOST: i32 = 5;
/// How far its programs step back from there; together it is what `nice` takes where nothing is said.
const PROGRAMS: i32 = 5;
/// Weight of a control group like that of a program behind both; a group of its own knows no niceness.
pub const GROUP: &str = "11";
pub const LEGACY_GROUP: &str = "112";

/// The kernel lets ordinary users move ten groups in a second, all together.
const AGAIN_AFTER: Duration = Duration::from_millis(150);
/// A hundred sandboxes started at once; whoever is not moved by then stays where it is.
const TRIES_MAX: u32 = 100;

/// Steps back as the host of a sandbox, with everything that it will start.
pub fn host() {
    step_back(HOST);
    tokio::spawn(move_group(group_of(std::process::id()), HOST));
}

/// Steps back once more, as the first process of a sandbox, before any program.
pub fn sandbox() {
    step_back(PROGRAMS);
}

/// Moves the session of a program that has just been started to where the program is.
pub fn program(pid: u32) {
    tokio::spawn(move_group(group_of(pid), HOST + PROGRAMS));
}

fn step_back(by: i32) {
    // Where it may not, it goes on as it is.
    let _ = rustix::process::nice(by);
}

/// The session of a process; opened at once, for the number may be another's later.
fn group_of(pid: u32) -> io::Result<File> {
    OpenOptions::new().write(true).open(format!("/proc/{pid}/autogroup"))
}

/// Desktops weigh sessions against each other, and niceness only within one: it is set for the session too.
async fn move_group(group: io::Result<File>, nice: i32) {
    // A kernel without it weighs single programs.
    let Ok(mut group) = group else { return };
    for _ in 0..TRIES_MAX {
        match group.write_all(nice.to_string().as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            _ => return,
        }
    }
}
