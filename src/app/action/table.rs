//! The one table of actions: keymaps, palette, help, hints, the `:` line and the docs all read it.

use super::{ActionSpec, Argument, Risk, Scope};

macro_rules! command {
    () => {
        None
    };
    ($name:literal $argument:ident) => {
        Some(($name, Argument::$argument))
    };
}

macro_rules! actions {
    ($($variant:ident, $id:literal, $scope:ident, $risk:ident, $title:literal, $help:literal,
       [$($where:ident $key:literal),*] $(, $name:literal $argument:ident)?;)*) => {
        /// Everything a user can ask for, by key, palette, mouse or command line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $(#[doc = $help] $variant,)* }

        /// The table, in the order of `Action`.
        pub const ACTIONS: &[ActionSpec] = &[$(ActionSpec {
            action: Action::$variant, id: $id, scope: Scope::$scope, risk: Risk::$risk,
            title: $title, help: $help, keys: &[$((Scope::$where, $key)),*],
            command: command!($($name $argument)?),
        },)*];
    };
}

actions! {
    // variant, id, scope, risk, title, help, [scope key ...], "command" Argument
    Quit, "app.quit", Global, None, "Quit",
        "Leave the terminal as it was; sandboxes keep running.",
        [Global "ctrl-c"], "quit" Nothing;
    Back, "app.back", Global, None, "Back",
        "Close what is open, else go back to the fleet; there `q` quits, and `esc` does not.",
        [Global "q", Global "esc"];
    Palette, "app.palette", Global, None, "Palette",
        "Find any action by its name and run it.",
        [Global "ctrl-k", Prefix "ctrl-k", Prefix "p"];
    Command, "app.command", Global, None, "Command line",
        "Type a command by name, with completion and history.",
        [Global ":", Prefix ":"];
    Help, "app.help", Global, None, "Help",
        "Show every action with its keys; type to narrow the list.",
        [Global "?", Prefix "?", Global "f1"], "help" Nothing;
    Notices, "app.notices", Global, None, "Notices",
        "Show the latest notices, newest first.",
        [Global "ctrl-n"], "notices" Nothing;
    Doctor, "app.doctor", Global, None, "Doctor",
        "Ask the hub what works on its machine, what does not, and how to get it.",
        [], "doctor" Hub;
    Contexts, "app.contexts", Global, None, "Contexts",
        "Add a hub to this console, or take one out.",
        [], "context" Context;
    Reconnect, "app.reconnect", Global, None, "Reconnect",
        "Look at once for hubs that are down.",
        [Global "R", Prefix "R"], "reconnect" Nothing;
    NextPlace, "app.next", Global, None, "Next place",
        "Move between the fleet and the panes, left to right.",
        [Global "tab", Prefix "o"];
    PreviousPlace, "app.previous", Global, None, "Previous place",
        "Move between the fleet and the panes, right to left.",
        [Global "backtab"];
    Suspend, "app.suspend", Global, None, "Suspend",
        "Stop the console as a job of your shell; sandboxes keep running.",
        [Global "ctrl-z"], "suspend" Nothing;
    Redraw, "app.redraw", Global, None, "Redraw",
        "Draw the whole screen again.",
        [Global "ctrl-l", Prefix "ctrl-l"], "redraw" Nothing;
    Mouse, "app.mouse", Global, None, "Mouse on/off",
        "Give the mouse back to your terminal, or take it again.",
        [Prefix "m", Global "alt-m"], "mouse" Nothing;
    Theme, "app.theme", Global, None, "Theme",
        "Use another theme, by name.",
        [], "theme" Theme;
    Keymap, "app.keymap", Global, None, "Keymap",
        "Use another keymap, by name.",
        [], "keymap" Keymap;
    FleetToggle, "app.fleet", Global, None, "Fleet on/off",
        "Show or hide the fleet beside the panes.",
        [Global "F", Prefix "f"], "fleet" Nothing;

    ListDown, "list.down", List, None, "Down",
        "Move to the next row.",
        [List "j", List "down", View "j", View "down"];
    ListUp, "list.up", List, None, "Up",
        "Move to the previous row.",
        [List "k", List "up", View "k", View "up"];
    ListTop, "list.top", List, None, "First",
        "Move to the first row.",
        [List "g", List "home", View "g", View "home"];
    ListBottom, "list.bottom", List, None, "Last",
        "Move to the last row.",
        [List "G", List "end", View "G", View "end"];
    ListHalfDown, "list.half_down", List, None, "Half a page down",
        "Move down by half of the visible rows.",
        [List "ctrl-d", List "pagedown", View "ctrl-d", View "pagedown", Ask "space"];
    ListHalfUp, "list.half_up", List, None, "Half a page up",
        "Move up by half of the visible rows.",
        [List "ctrl-u", List "pageup", View "ctrl-u", View "pageup"];
    ListNextAttention, "list.attention", List, None, "Next that needs you",
        "Move to the next sandbox that asks, calls (it rang or sent a notification) or failed.",
        [List "!", Prefix "!"], "attention" Nothing;
    Filter, "list.filter", List, None, "Filter",
        "Narrow the fleet by words and tokens such as status:failed; `!` turns one around.",
        [List "/"], "filter" Filter;
    Mark, "list.mark", List, None, "Mark",
        "Mark or unmark a row; verbs then act on all marked ones.",
        [List "space"];
    MarkAll, "list.mark_all", List, None, "Mark all",
        "Mark every row that the filter shows.",
        [List "*"];
    MarkNone, "list.mark_none", List, None, "Unmark all",
        "Take every mark away.",
        [List "\\"];

    New, "sandbox.new", List, None, "New sandbox",
        "Choose a program and what it may use, and start it in a sandbox.",
        [Global "n", Prefix "c"], "new" Program;
    Run, "sandbox.run", List, None, "Run",
        "Start a program in a sandbox on the current directory, copy-on-write.",
        [], "run" Program;
    Shell, "sandbox.shell", List, None, "Shell",
        "Open a shell, or run a command, beside the agent in the same sandbox.",
        [Global "s", Prefix "s"], "shell" SandboxProgram;
    Pause, "sandbox.pause", List, None, "Pause or resume",
        "Freeze every process of the sandbox, or let them go on.",
        [Global "p"], "pause" Sandbox;
    Stop, "sandbox.stop", List, Confirm, "Stop",
        "End every process of the sandbox; its files stay.",
        [List "x"], "stop" Sandbox;
    Start, "sandbox.start", List, Confirm, "Start again",
        "Start the first command of a stopped sandbox again, on its files as they are.",
        [List "r", Panes "r"], "start" Sandbox;
    Remove, "sandbox.remove", List, Confirm, "Remove",
        "End the sandbox and delete its files; recordings stay.",
        [List "D", List "delete"], "remove" Sandbox;
    Info, "sandbox.info", List, None, "Describe",
        "Show what is known of the sandbox, and the evidence for its status.",
        [Global "i", Prefix "i"], "info" Sandbox;
    CopyName, "sandbox.copy", List, None, "Copy name",
        "Copy the name of the session or sandbox to the clipboard.",
        [List "y", View "y"];

    Snapshot, "snapshot.take", List, None, "Snapshot",
        "Keep this moment of the sandbox's files, at once.",
        [Global "c"], "snapshot" SandboxName;
    SnapshotNamed, "snapshot.take_named", List, None, "Named snapshot",
        "Keep this moment of the sandbox's files under a name.",
        [Global "C"];
    SnapshotMemory, "snapshot.take_memory", List, None, "Snapshot of programs",
        "Keep this moment with the running programs, which go on from there when it is restored or forked.",
        [Global "M"], "snapshot-memory" SandboxName;
    Snapshots, "snapshot.show", List, None, "Snapshots",
        "Show what is kept of the sandbox: go back to it, branch from it, see what changed.",
        [Global "S", Prefix "S"], "snapshots" Sandbox;
    Diff, "diff.show", List, None, "What changed",
        "Show what the sandbox changed in its copy of the workspace, and apply it.",
        [Global "d", Prefix "D"], "diff" Sandbox;

    AsksShow, "asks.show", List, None, "Asks",
        "Show what waits for an answer in the whole fleet, and what was answered; again opens the one under the cursor.",
        [Global "I", Prefix "a"], "asks" Nothing;

    RulesShow, "rules.show", Global, None, "Rules",
        "Show the rules that answer without you, how often they did, and when last.",
        [Global "P"], "rules" Hub;
    EgressShow, "egress.show", List, None, "What went out",
        "Show what went out of the sandbox's network, and what was kept in.",
        [Global "L"], "egress" Sandbox;
    AuditShow, "audit.show", Global, None, "Audit record",
        "Show who did and decided what, the newest first, and whether all of the record is as it was.",
        [Global "U"], "audit" Hub;

    GaugesShow, "gauges.show", Global, None, "Gauges",
        "Show what sandboxes and this machine use, now and before: processors, memory, disks, network, GPUs.",
        [Global "m", Prefix "g"], "gauges" Nothing;
    GaugesWhole, "gauges.whole", Gauges, None, "Charts",
        "Give the charts of the row under the cursor the whole place, or only their half.",
        [Gauges "enter"];
    GaugesSort, "gauges.sort", Gauges, None, "Sort",
        "Sort by the next figure: name, cpu, memory, pids, disk, network, GPU memory.",
        [Gauges "o"];
    GaugesSpan, "gauges.span", Gauges, None, "Time span",
        "Let charts go further back: 2 minutes, 10 minutes, 1 hour, 6 hours, 1 day.",
        [Gauges "t"];

    StatusShow, "status.show", List, None, "Why",
        "Show what a session does and what that stands on: the evidence, its processes, and what each waits on.",
        [Global "w", Prefix "e"], "why" Sandbox;

    SyscallsShow, "status.syscalls", Records, None, "System calls",
        "In the inspector: show what the process under the cursor calls, as it calls it; it is slower meanwhile, and it is in the audit record.",
        [Records "v"];
    Nudge, "status.nudge", Records, None, "Send a line",
        "In the inspector: type one line into the session, with enter behind it, without stepping in.",
        [Records "t"];
    Interrupt, "status.interrupt", Records, Confirm, "Interrupt",
        "In the inspector: type ctrl-c into the session.",
        [Records "X"];

    RecordOpen, "records.open", Records, None, "Read",
        "Read all of the row under the cursor.",
        [Records "enter"];
    RuleAdd, "rules.add", Records, None, "New rule",
        "Write a rule in one line; what it would have answered is shown before it is made.",
        [Records "a"];
    RuleRemove, "rules.remove", Records, Confirm, "Take out",
        "Take the rule under the cursor out of its file.",
        [Records "x", Records "D", Records "delete"];

    FilesShow, "files.show", List, None, "Files",
        "Show the files of the sandbox as they are now: read, search, copy and edit them.",
        [Global "f", Prefix "F"], "files" Sandbox;
    FileOpen, "files.open", Files, None, "Open",
        "Open or close the directory under the cursor, or read the file; there, further along long lines.",
        [Files "enter", Files "l", Files "right"];
    FileClose, "files.close", Files, None, "Out",
        "Back along long lines, then to the tree; there, close the directory or go to the one it is in.",
        [Files "h", Files "left"];
    FilesSystem, "files.system", Files, None, "System on/off",
        "Show the whole system instead of the workspace, or back.",
        [Files "t"];
    FilesSearch, "files.search", Files, None, "Search lines",
        "Look for words in all files below the top of the tree.",
        [Files "ctrl-f"];
    FileFollow, "files.follow", Files, None, "Follow",
        "Keep the end of the file in sight while it grows, or no longer.",
        [Files "F"];
    FileHex, "files.hex", Files, None, "Bytes on/off",
        "Show the bytes of the file instead of its text, or back.",
        [Files "x"];
    FileEdit, "files.edit", Files, None, "Edit",
        "Edit a copy of the file in your editor; it is written back when it is another then.",
        [Files "e"];
    FileGet, "files.get", Files, None, "Copy here",
        "Copy the file to a place of yours, which is asked for.",
        [Files "D"];
    FilesSince, "files.since", Files, None, "Marks since",
        "Choose the moment that the marks tell changes since, from the list of snapshots.",
        [Files "b"];
    FilesSinceStart, "files.since_start", Files, None, "Marks since start",
        "Mark what changed since the sandbox began again, instead of since a snapshot.",
        [Files "B"];

    TimelineShow, "timeline.show", List, None, "Timeline",
        "Show what happened in the sandbox, and the screen of a session as it was at any time.",
        [Global "H", Prefix "H"], "timeline" Sandbox;
    TimelineAway, "timeline.away", Global, None, "While you were away",
        "Show what happened in the whole fleet since you were last here.",
        [Global "A", Prefix "A"], "away" Nothing;
    TimelinePlay, "timeline.play", Timeline, None, "Play or hold",
        "Play the recording from where its clock stands, or hold it; what is idle is skipped.",
        [Timeline "space"];
    TimelineBack, "timeline.back", Timeline, None, "Back 5 s",
        "Turn the clock back by five seconds.",
        [Timeline "left", Timeline "h"];
    TimelineOn, "timeline.on", Timeline, None, "On 5 s",
        "Turn the clock on by five seconds.",
        [Timeline "right", Timeline "l"];
    TimelineFarBack, "timeline.far_back", Timeline, None, "Back 1 min",
        "Turn the clock back by a minute.",
        [Timeline "<", Timeline "shift-left"];
    TimelineFarOn, "timeline.far_on", Timeline, None, "On 1 min",
        "Turn the clock on by a minute.",
        [Timeline ">", Timeline "shift-right"];
    TimelineNext, "timeline.next", Timeline, None, "Next event",
        "Go to what happened next, of those in the list.",
        [Timeline "]"];
    TimelinePrevious, "timeline.previous", Timeline, None, "Previous event",
        "Go to what happened before, of those in the list.",
        [Timeline "["];
    TimelineFaster, "timeline.faster", Timeline, None, "Faster",
        "Play at twice the speed, up to 16x.",
        [Timeline "+", Timeline "="];
    TimelineSlower, "timeline.slower", Timeline, None, "Slower",
        "Play at half the speed, down to ½x.",
        [Timeline "-"];
    TimelineLive, "timeline.live", Timeline, None, "Live end",
        "Go to the end of the recording, and follow it while it is written.",
        [Timeline "F"];
    TimelineKind, "timeline.kind", Timeline, None, "Kind",
        "List only one kind: asks, statuses, programs, snapshots, files, network, keyboard, notices; then all again.",
        [Timeline "t"];
    TimelineFleet, "timeline.fleet", Timeline, None, "Fleet on/off",
        "List what happened in the whole fleet; once more, in the sandbox of the row alone.",
        [Timeline "a"];
    TimelineOpen, "timeline.open", Timeline, None, "Open",
        "Answer the ask of the row, if it waits; else show the recording of its session at that time.",
        [Timeline "enter"];
    TimelineWhole, "timeline.whole", Timeline, None, "Screen alone",
        "Give the screen the whole place, or share it with the list again.",
        [Timeline "z"];
    TimelineExport, "timeline.export", Timeline, None, "Export a part",
        "Begin a part here; where it ends, once more writes it as asciicast to the directory of the console.",
        [Timeline "e"];

    DiffBefore, "snapshot.diff_before", Snapshots, None, "Changes up to it",
        "Show what changed from the snapshot before to this one.",
        [Snapshots "enter"];
    DiffNow, "snapshot.diff_now", Snapshots, None, "Changes since",
        "Show what changed from this snapshot to now.",
        [Snapshots "d"];
    FilesMarks, "snapshot.marks", Snapshots, None, "Files since",
        "Show the files as they are now, with marks for what changed since this snapshot.",
        [Snapshots "b"];
    Restore, "snapshot.restore", Snapshots, Confirm, "Restore",
        "End the sandbox's programs and give it the files of this snapshot; what it is now is kept.",
        [Snapshots "r"];
    Fork, "snapshot.fork", List, None, "Fork",
        "Make a new sandbox that begins with this snapshot, or with the sandbox as it is.",
        [Snapshots "F"], "fork" SandboxName;
    SnapshotRemove, "snapshot.remove", Snapshots, Confirm, "Remove snapshot",
        "Delete this snapshot for good.",
        [Snapshots "D", Snapshots "delete"];

    DiffEnter, "diff.enter", Diff, None, "Read",
        "Go to the changed lines of the file under the cursor.",
        [Diff "enter"];
    Stage, "diff.stage", Diff, None, "Stage",
        "Choose the file under the cursor for applying, or in its lines the hunk; or no longer.",
        [Diff "space"];
    StageFile, "diff.stage_file", Diff, None, "Stage file",
        "Choose all of the file under the cursor, from its lines too; or no longer.",
        [Diff "w"];
    StageAll, "diff.stage_all", Diff, None, "Stage all",
        "Choose every file for applying.",
        [Diff "*"];
    StageNone, "diff.stage_none", Diff, None, "Stage none",
        "Choose no file and no hunk.",
        [Diff "\\"];
    Apply, "diff.apply", Diff, Confirm, "Apply",
        "Write what is staged, else the file under the cursor, to the real directory.",
        [Diff "a"];
    ApplyOver, "diff.apply_over", Diff, Confirm, "Apply over conflicts",
        "The same, also where the real directory has changed meanwhile.",
        [Diff "A"];
    TakeBack, "diff.take_back", Diff, Confirm, "Take back",
        "Undo the last apply; what was changed since stays.",
        [Diff "u"];
    TakeBackOver, "diff.take_back_over", Diff, Confirm, "Take back over",
        "Undo the last apply, also where the real directory has changed since.",
        [Diff "U"];
    HunkNext, "diff.hunk_next", Diff, None, "Next hunk",
        "Go to the next changed place of the file.",
        [Diff "]"];
    HunkPrevious, "diff.hunk_previous", Diff, None, "Previous hunk",
        "Go to the changed place before it.",
        [Diff "["];
    DiffRight, "diff.right", Diff, None, "Right",
        "From the files to the lines; there, further along long ones.",
        [Diff "l", Diff "right"];
    DiffLeft, "diff.left", Diff, None, "Left",
        "Back along long lines, then to the files.",
        [Diff "h", Diff "left"];
    DiffSystem, "diff.system", Diff, None, "System on/off",
        "Look at the whole system instead of the workspace, or back.",
        [Diff "t"];

    AskOpen, "asks.open", Asks, None, "Read",
        "Read all of the ask under the cursor, to answer it.",
        [Asks "enter"];
    AskRevoke, "asks.revoke", Asks, None, "Take back",
        "Among those that have ended: take back an answer that holds on, so that the very same is asked again.",
        [Asks "u"];
    AskAllow, "ask.allow", Ask, None, "Allow once",
        "Allow this ask alone; with a high risk, after a word is typed.",
        [Ask "a"];
    AskAllowSession, "ask.allow_session", Ask, None, "Allow for session",
        "Allow the very same request of this sandbox until it is removed.",
        [Ask "s"];
    AskAllowHour, "ask.allow_hour", Ask, None, "Allow for an hour",
        "Allow the very same request of this sandbox for an hour.",
        [Ask "t"];
    AskAllowAlways, "ask.allow_always", Ask, None, "Allow always",
        "Allow it by a rule for every sandbox, which is shown and can be edited before it is made.",
        [Ask "A"];
    AskAllowProject, "ask.allow_project", Ask, None, "Allow for project",
        "The same by a rule for the sandboxes on its directory alone.",
        [Ask "P"];
    AskEdit, "ask.edit", Ask, None, "Edit and allow",
        "Allow it once in other words, where who asks can do it in those.",
        [Ask "e"];
    AskSnapshot, "ask.allow_snapshot", Ask, None, "Snapshot and allow",
        "Keep this moment of the sandbox first, then allow this ask alone.",
        [Ask "c"];
    AskDeny, "ask.deny", Ask, None, "Deny",
        "Deny this ask.",
        [Ask "d"];
    AskDenySay, "ask.deny_say", Ask, None, "Deny and say",
        "Deny this ask, with a line for the agent.",
        [Ask "r"];
    AskFocused, "ask.focused", Ask, None, "Take what is set off",
        "Deny an ask of high risk; after one that is over, go on to the next.",
        [Ask "enter"];

    Find, "view.find", View, None, "Find",
        "Look for a pattern: in snapshots, in paths, or in the lines of a file.",
        [View "/"];
    FindNext, "view.find_next", View, None, "Next match",
        "Go to the next match.",
        [View "n"];
    FindPrevious, "view.find_previous", View, None, "Previous match",
        "Go to the match before it.",
        [View "N"];
    Again, "view.again", View, None, "Look again",
        "Ask the hub anew.",
        [View "R"];

    StepIn, "session.step_in", Panes, None, "Step in",
        "Take the keyboard of the session and type into it.",
        [List "enter", Panes "enter"], "attach" Sandbox;
    Leave, "session.leave", Pane, None, "Leave",
        "Give the keyboard back and only watch again.",
        [Pane "ctrl-q", Prefix "d", Prefix "q", Prefix "esc"];
    TakeOver, "session.take_over", Panes, None, "Take over",
        "Take the keyboard from whoever holds it; they are told.",
        [Panes "t", Prefix "t"], "takeover" Nothing;
    SendPrefix, "session.send_prefix", Pane, None, "Send the prefix",
        "Type the prefix key itself into the session.",
        [Prefix "prefix"];
    Scrollback, "session.scrollback", Panes, None, "Scrollback",
        "Go back through what the session printed; search, select and copy.",
        [Global "l", Panes "ctrl-u", Panes "pageup", Prefix "[", Prefix "l",
         Prefix "pageup"], "logs" Sandbox;

    PaneNext, "pane.next", Panes, None, "Next pane",
        "Move to the next pane.",
        [Panes "j", Panes "down", Panes "right", Prefix "n", Prefix "down",
         Prefix "right"];
    PanePrevious, "pane.previous", Panes, None, "Previous pane",
        "Move to the previous pane.",
        [Panes "k", Panes "up", Panes "left", Prefix "up", Prefix "left"];
    PaneAdd, "pane.add", List, None, "Keep in a pane",
        "Give this session a pane of its own beside the others.",
        [List "o", List "+"];
    PaneClose, "pane.close", Panes, None, "Close pane",
        "Stop watching in this pane; the session goes on.",
        [Panes "x", Prefix "x"];
    PaneZoom, "pane.zoom", Panes, None, "Zoom",
        "Give the whole screen to one pane, or share it again.",
        [Global "z", Prefix "z"], "zoom" Nothing;
    Layout, "pane.layout", Panes, None, "Layout",
        "Show 1, 2, 4 or 6 panes.",
        [], "layout" Layout;
    LayoutOne, "pane.layout_1", Panes, None, "One pane",
        "Show one pane.", [Global "1", Prefix "1"];
    LayoutTwo, "pane.layout_2", Panes, None, "Two panes",
        "Show two panes.", [Global "2", Prefix "2"];
    LayoutFour, "pane.layout_4", Panes, None, "Four panes",
        "Show four panes.", [Global "4", Prefix "4"];
    LayoutSix, "pane.layout_6", Panes, None, "Six panes",
        "Show six panes.", [Global "6", Prefix "6"];
    SessionNext, "pane.session_next", Panes, None, "Next session",
        "Show the next session of this sandbox in the pane.",
        [Global "]", Prefix ")"];
    SessionPrevious, "pane.session_previous", Panes, None, "Previous session",
        "Show the previous session of this sandbox in the pane.",
        [Global "[", Prefix "("];
    TabNew, "tab.new", Panes, None, "New tab",
        "Open a tab with panes of its own.",
        [Global "T", Prefix "w"], "tab" Nothing;
    TabNext, "tab.next", Panes, None, "Next tab",
        "Go to the next tab.",
        [Global "}", Prefix "tab"];
    TabPrevious, "tab.previous", Panes, None, "Previous tab",
        "Go to the previous tab.",
        [Global "{", Prefix "backtab"];
    TabClose, "tab.close", Panes, None, "Close tab",
        "Close this tab; its sessions go on.",
        [Prefix "&"];

    ScrollDown, "scroll.down", Scroll, None, "Down",
        "Move one line towards the present.",
        [Scroll "j", Scroll "down"];
    ScrollUp, "scroll.up", Scroll, None, "Up",
        "Move one line back.",
        [Scroll "k", Scroll "up"];
    ScrollLeft, "scroll.left", Scroll, None, "Left",
        "Move one column to the left.",
        [Scroll "h", Scroll "left"];
    ScrollRight, "scroll.right", Scroll, None, "Right",
        "Move one column to the right.",
        [Scroll "l", Scroll "right"];
    ScrollLineStart, "scroll.line_start", Scroll, None, "Start of line",
        "Move to the first column.",
        [Scroll "0", Scroll "home"];
    ScrollLineEnd, "scroll.line_end", Scroll, None, "End of line",
        "Move to the last character of the line.",
        [Scroll "$", Scroll "end"];
    ScrollHalfDown, "scroll.half_down", Scroll, None, "Half a page down",
        "Move half a page towards the present.",
        [Scroll "ctrl-d", Scroll "pagedown", Scroll "ctrl-f"];
    ScrollHalfUp, "scroll.half_up", Scroll, None, "Half a page up",
        "Move half a page back.",
        [Scroll "ctrl-u", Scroll "pageup", Scroll "ctrl-b"];
    ScrollTop, "scroll.top", Scroll, None, "Oldest",
        "Move to the oldest line there is.",
        [Scroll "g"];
    ScrollLive, "scroll.live", Scroll, None, "Back to live",
        "Leave scrollback and go back to where it was opened.",
        [Scroll "G", Scroll "q", Scroll "esc", Scroll "f"];
    ScrollSearch, "scroll.search", Scroll, None, "Search",
        "Look for a pattern in everything the session printed.",
        [Scroll "/", Panes "/", Prefix "/"], "search" Pattern;
    ScrollOlder, "scroll.older", Scroll, None, "Older match",
        "Go to the next match, further back.",
        [Scroll "n"];
    ScrollNewer, "scroll.newer", Scroll, None, "Newer match",
        "Go to the next match, towards the present.",
        [Scroll "N"];
    Select, "scroll.select", Scroll, None, "Select",
        "Start or end selecting at the cursor.",
        [Scroll "v", Scroll "space"];
    SelectLines, "scroll.select_lines", Scroll, None, "Select lines",
        "Start or end selecting whole lines.",
        [Scroll "V"];
    Copy, "scroll.copy", Scroll, None, "Copy",
        "Copy what is selected, or the line, to the clipboard.",
        [Scroll "y", Scroll "enter"];

    DialogAccept, "dialog.accept", Dialog, None, "Accept",
        "Do what the box says.",
        [Dialog "enter"];
    DialogCancel, "dialog.cancel", Dialog, None, "Cancel",
        "Close the box; nothing happens.",
        [Dialog "esc", Dialog "ctrl-c", Read "q"];
    DialogNext, "dialog.next", Dialog, None, "Next field",
        "Move to the next field or row.",
        [Dialog "tab", Dialog "down", Read "j"];
    DialogPrevious, "dialog.previous", Dialog, None, "Previous field",
        "Move to the previous field or row.",
        [Dialog "backtab", Dialog "up", Read "k"];
    DialogRight, "dialog.right", Dialog, None, "Next choice",
        "Take the next choice of the field.",
        [Dialog "right"];
    DialogLeft, "dialog.left", Dialog, None, "Previous choice",
        "Take the previous choice of the field.",
        [Dialog "left"];
    DialogPageDown, "dialog.page_down", Dialog, None, "Page down",
        "Move down by a page.",
        [Dialog "pagedown", Dialog "ctrl-d"];
    DialogPageUp, "dialog.page_up", Dialog, None, "Page up",
        "Move up by a page.",
        [Dialog "pageup", Dialog "ctrl-u"];

    LineAccept, "line.accept", Line, None, "Done",
        "Do what was typed: run the command, or keep the filter or the search.",
        [Line "enter"];
    LineCancel, "line.cancel", Line, None, "Cancel",
        "Leave the line; what was there before comes back.",
        [Line "esc", Line "ctrl-c", Line "ctrl-g"];
    LineComplete, "line.complete", Line, None, "Complete",
        "Complete the word before the cursor.",
        [Line "tab"];
    LineUp, "line.up", Line, None, "Up",
        "The previous row, or the previous line of the history.",
        [Line "up", Line "ctrl-p"];
    LineDown, "line.down", Line, None, "Down",
        "The next row, or the next line of the history.",
        [Line "down", Line "ctrl-n"];
    LineLeft, "line.left", Line, None, "Left",
        "Move the cursor one character to the left.",
        [Line "left"];
    LineRight, "line.right", Line, None, "Right",
        "Move the cursor one character to the right.",
        [Line "right"];
    LineStart, "line.start", Line, None, "Start",
        "Move the cursor to the start of the line.",
        [Line "home", Line "ctrl-a"];
    LineEnd, "line.end", Line, None, "End",
        "Move the cursor to the end of the line.",
        [Line "end", Line "ctrl-e"];
    LineErase, "line.erase", Line, None, "Erase",
        "Erase the character before the cursor.",
        [Line "backspace", Line "ctrl-h"];
    LineEraseWord, "line.erase_word", Line, None, "Erase word",
        "Erase the word before the cursor.",
        [Line "ctrl-w", Line "alt-backspace"];
    LineEraseAll, "line.erase_all", Line, None, "Erase all",
        "Erase everything before the cursor.",
        [Line "ctrl-u"];
    LineDelete, "line.delete", Line, None, "Delete",
        "Delete the character under the cursor.",
        [Line "delete", Line "ctrl-d"];
}
