//! What a program said about itself through its output, already made safe to show and bounded.
//! A fact is the program's own word: it informs, it never authorises.

/// One thing the OSC side-parser took out of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// OSC 0/2: the title.
    Title(String),
    /// BEL outside of a string.
    Bell,
    /// OSC 7: the working directory, as the program says.
    Cwd(String),
    /// OSC 8: a hyperlink was opened; `uri` is http, https, file or mailto only.
    Link { uri: String },
    /// OSC 52: the program wants this on the clipboard.
    Clipboard(Vec<u8>),
    /// OSC 9, 777 or 99: a notification.
    Notify { title: Option<String>, body: String },
    /// OSC 9;4: progress in percent; `None` = indeterminate. `state`: 0 none, 1 normal, 2 error, 3 indeterminate, 4 paused.
    Progress { state: u8, percent: Option<u8> },
    /// OSC 133: shell prompt marks: `A` prompt, `B` command typed, `C` output, `D` done with its exit code.
    Prompt { mark: char, exit_code: Option<i32> },
    /// OSC 7501: program status. Keys and values as given, at most 16 pairs.
    Program { state: String, fields: Vec<(String, String)> },
}
