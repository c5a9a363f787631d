//! The description beside a recording's segments: a small text file of `key=value` lines.

use std::{fs, io::Read, path::Path};

use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        limits::META_BYTES_MAX,
        units::Size,
    },
    model::session::ExitStatus,
};

const FILE: &str = "meta";

/// What is known of a recording besides its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub session: SessionId,
    pub sandbox: SandboxId,
    pub sandbox_name: String,
    pub session_name: String,
    pub command: Vec<String>,
    pub started_at: Timestamp,
    /// The size it started with.
    pub size: Size,
    /// A recording, kept when the sandbox is removed; otherwise only scrollback.
    pub record: bool,
    pub ended_at: Option<Timestamp>,
    pub exit: Option<ExitStatus>,
    pub lost_bytes: u64,
}

impl Meta {
    /// Writes the file in one step: readers see the old or the new one.
    pub fn save(&self, dir: &Path) -> Outcome<()> {
        let (path, fresh) = (dir.join(FILE), dir.join("meta.new"));
        fs::write(&fresh, self.text())
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|it| Fault::io(format!("writing {}", path.display()), &it))
    }

    /// Reads the file of `dir`; `Invalid` when it is not such a file.
    pub fn load(dir: &Path) -> Outcome<Self> {
        let path = dir.join(FILE);
        let mut text = String::new();
        let read = fs::File::open(&path)
            .and_then(|file| file.take(META_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => Self::parse(&text)
                .ok_or_else(|| Fault::invalid(format!("damaged file: {}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Fault::absent(format!("no recording: {}", dir.display())))
            }
            Err(error) => Err(Fault::io(format!("reading {}", path.display()), &error)),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &str| {
            out.push_str(key);
            out.push('=');
            escape(&mut out, value);
            out.push('\n');
        };
        line("session", self.session.as_str());
        line("sandbox", self.sandbox.as_str());
        line("sandbox_name", &self.sandbox_name);
        line("session_name", &self.session_name);
        for argument in &self.command {
            line("argument", argument);
        }
        line("started_at", &self.started_at.0.to_string());
        line("size", &format!("{}x{}", self.size.cols(), self.size.rows()));
        line("record", if self.record { "yes" } else { "no" });
        if let Some(at) = self.ended_at {
            line("ended_at", &at.0.to_string());
        }
        match self.exit {
            Some(ExitStatus::Code(code)) => line("exit_code", &code.to_string()),
            Some(ExitStatus::Signal(signal)) => line("exit_signal", &signal.to_string()),
            None => {}
        }
        line("lost_bytes", &self.lost_bytes.to_string());
        out
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut session, mut sandbox, mut started_at) = (None, None, None);
        let (mut sandbox_name, mut session_name) = (String::new(), String::new());
        let (mut size, mut record, mut ended_at, mut exit) = (Size::DEFAULT, true, None, None);
        let (mut command, mut lost_bytes) = (Vec::new(), 0);
        for line in text.lines() {
            let (key, value) = line.split_once('=')?;
            let value = unescape(value);
            match key {
                "session" => session = SessionId::parse(&value),
                "sandbox" => sandbox = SandboxId::parse(&value),
                "sandbox_name" => sandbox_name = value,
                "session_name" => session_name = value,
                "argument" => command.push(value),
                "started_at" => started_at = value.parse().ok().map(Timestamp),
                "size" => size = Size::parse(&value).unwrap_or(size),
                "record" => record = value == "yes",
                "ended_at" => ended_at = value.parse().ok().map(Timestamp),
                "exit_code" => exit = value.parse().ok().map(ExitStatus::Code),
                "exit_signal" => exit = value.parse().ok().map(ExitStatus::Signal),
                "lost_bytes" => lost_bytes = value.parse().unwrap_or(0),
                _ => {} // of a newer version
            }
        }
        Some(Self {
            session: session?,
            sandbox: sandbox?,
            sandbox_name,
            session_name,
            command,
            started_at: started_at?,
            size,
            record,
            ended_at,
            exit,
            lost_bytes,
        })
    }
}

fn escape(out: &mut String, value: &str) {
    for it in value.chars() {
        match it {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            it => out.push(it),
        }
    }
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(it) = rest.next() {
        match it {
            '\\' => match rest.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            it => out.push(it),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_comes_back_as_it_was_written() {
        let meta = Meta {
            session: SessionId::random(),
            sandbox: SandboxId::random(),
            sandbox_name: "a=b".to_owned(),
            session_name: "x\\n\r\ny".to_owned(),
            command: vec!["sh".to_owned(), "-c".to_owned(), "echo\n=\\".to_owned(), String::new()],
            started_at: Timestamp(-5),
            size: Size::clamped(100, 30),
            record: false,
            ended_at: Some(Timestamp(7)),
            exit: Some(ExitStatus::Signal(9)),
            lost_bytes: 3,
        };
        assert_eq!(Meta::parse(&meta.text()), Some(meta));
    }
}
