//! `hook`: speaks an agent's own protocol for hooks, and asks a person in its place.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
};

use serde_json::{Value, json};

use super::{
    args::{HookAgent, HookArgs},
    ask::{Speaker, news, over, person},
    out,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{ASK_BYTES_MAX, NAME_BYTES_MAX},
        text,
    },
    model::ask::{AskKind, Request, Verdict},
};

/// What an agent writes to a hook, in bytes.
pub const INPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The argument in which an agent says why.
const REMARK: &str = "description";
/// Said where other words were allowed than those that can be done here.
const NO_OTHER_WORDS: &str = "it was allowed in other words, which this agent takes from nobody";
/// Tools of Goose's own that only look at the workspace or at what it knows: its hook hears of every call.
const LOOKS: [&str; 7] = [
    "tree",
    "analyze",
    "load",
    "load_skill",
    "extensionmanager__list_resources",
    "extensionmanager__read_resource",
    "extensionmanager__search_available_extensions",
];
/// What blocks a call, in the protocol that these agents share.
const BLOCK: out::Code = 2;

/// Runs it so that whatever goes wrong blocks the call: an agent goes on when its hook fails in any other way.
pub fn or_block(run: impl FnOnce() -> Outcome<out::Code>) -> out::Code {
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    ended.unwrap_or_else(|_| Err(Fault::bug("the hook broke"))).unwrap_or_else(|fault| {
        out::report(&fault);
        BLOCK
    })
}

pub async fn hook(args: HookArgs) -> Outcome<out::Code> {
    let mut input = Vec::new();
    let read = io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut input);
    let read = read.map_err(|error| Fault::io("reading what the agent says", &error));
    let call = read.and_then(|_| read_call(args.agent, &input));
    let (question, request, arguments, speaker) = match call {
        Ok((Call::Asks(question, request, arguments), speaker)) => {
            (question, request, arguments, speaker)
        }
        // That nobody is there to be told is no fault of the agent's.
        Ok((Call::Over(request), speaker)) => {
            drop(over(request.as_ref(), &speaker).await);
            return Ok(out::DONE);
        }
        Ok((Call::News, speaker)) => {
            drop(news(&speaker).await);
            return Ok(out::DONE);
        }
        Err(fault) => {
            out::report(&fault);
            return Ok(BLOCK);
        }
    };
    let at_its_own_prompt = question == Question::PermissionRequest;
    let answered = person(&request, args.timeout, Some(&speaker), arguments.is_some()).await;
    let (verdict, message, edit) = match answered {
        // It would do what it asked for, and not what was allowed.
        Ok((_, Some(_))) if arguments.is_none() => {
            (Verdict::Deny, Some(NO_OTHER_WORDS.to_owned()), None)
        }
        Ok((answer, edit)) => (answer.verdict, answer.message, edit),
        // Somebody answered there.
        Err(fault) if at_its_own_prompt && fault.kind() == Kind::Lost => return Ok(out::DONE),
        // It is still there for whoever sits at the terminal.
        Err(fault) if at_its_own_prompt && fault.kind() == Kind::Unsupported => {
            out::report(&fault);
            return Ok(1);
        }
        // Every agent goes on by itself when a hook fails: so nothing here may fail but by a no.
        Err(fault) => (Verdict::Deny, Some(fault.message().to_owned()), None),
    };
    let edited = edit.zip(arguments).map(|(edit, arguments)| arguments.with(edit));
    let mut reply = question.reply(verdict, message.as_deref(), edited).to_string();
    reply.push('\n');
    let mut out = io::stdout().lock();
    let written = out.write_all(reply.as_bytes()).and_then(|()| out.flush());
    Ok(if written.is_ok() { out::DONE } else { BLOCK })
}

/// How an agent asks, and so how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Before every call of a tool.
    PreToolUse,
    /// The agent asks a person itself at the same time.
    PermissionRequest,
    /// Gemini's before every call.
    BeforeTool,
    /// Cursor's before each command and each call of a server's tool.
    Before,
    /// Goose's before every call: no answer is a no.
    Blocking,
}

/// What an agent tells its hook.
#[derive(Debug, PartialEq)]
enum Call {
    /// With the arguments that may be others, if the agent takes those from a hook.
    Asks(Question, Request, Option<Arguments>),
    /// What was asked needs no answer any more; `None` = all of it.
    Over(Option<Request>),
    News,
}

fn read_call(agent: HookAgent, input: &[u8]) -> Outcome<(Call, Speaker)> {
    if input.len() as u64 > INPUT_BYTES_MAX {
        return Err(Fault::invalid("the agent says more than a hook can take"));
    }
    let input: Value = serde_json::from_slice(input)
        .map_err(|error| Fault::invalid(format!("not what {agent:?} says to a hook: {error}")))?;
    let happens = input.get("hook_event_name").or_else(|| input.get("event"));
    let happens = happens.and_then(Value::as_str);
    let happens = happens.ok_or_else(|| Fault::invalid("the agent does not say what happens"))?;
    let asked = || {
        let tool = input.get("tool_name").and_then(Value::as_str).unwrap_or_default();
        let arguments = input.get("tool_input").cloned().unwrap_or(Value::Null);
        let cwd = input.get("cwd").or_else(|| input.get("working_dir")).and_then(Value::as_str);
        request(agent.word(), tool, &arguments, cwd)
    };
    let asks = |question: Question, request: Request| {
        let arguments = question.editable(agent, &input);
        Call::Asks(question, request, arguments)
    };
    let call = match happens {
        "PreToolUse" if agent == HookAgent::Goose => match input.get("tool_name") {
            Some(Value::String(tool)) if LOOKS.contains(&tool.as_str()) => Call::News,
            _ => asks(Question::Blocking, asked()?),
        },
        "PreToolUse" => asks(Question::PreToolUse, asked()?),
        "PermissionRequest" => asks(Question::PermissionRequest, asked()?),
        "BeforeTool" => asks(Question::BeforeTool, asked()?),
        "beforeShellExecution" => asks(Question::Before, shell(agent, &input)?),
        "beforeMCPExecution" => asks(Question::Before, asked()?),
        // It ran: what could not even be asked for was answered elsewhere all the same.
        "PostToolUse" | "PostToolUseFailure" | "AfterTool" => Call::Over(asked().ok()),
        "Stop" | "UserPromptSubmit" => Call::Over(None),
        // It may well be a question, by another name than is known here.
        _ if input.get("tool_name").is_some() => {
            let happens = text::shown(happens, NAME_BYTES_MAX);
            return Err(Fault::invalid(format!("not known what becomes of the tool: {happens}")));
        }
        _ => Call::News,
    };
    let mode = input.get("permission_mode").and_then(Value::as_str);
    let mode = mode.map(|it| text::shown(it, NAME_BYTES_MAX));
    let speaker = Speaker { agent: agent.word().to_owned(), mode, ..happening(&input, happens) };
    Ok((call, speaker))
}

/// What is told of what happens: with a call that is done, how to know the same one again.
fn happening(input: &Value, happens: &str) -> Speaker {
    let text_of = |key: &str| input.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_done = matches!(happens, "PostToolUse" | "PostToolUseFailure" | "AfterTool");
    let call = input.get("tool_input").filter(|_| is_done).map(|arguments| {
        let mut hasher = DefaultHasher::new();
        (text_of("tool_name"), arguments.to_string()).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    });
    Speaker {
        happens: Some(happens.to_owned()),
        about: text_of("tool_name")
            .or_else(|| text_of("notification_type"))
            .or_else(|| text_of("source")),
        call,
        note: text_of("message"),
        ..Speaker::default()
    }
}

/// A command that is no argument of a tool.
fn shell(agent: HookAgent, input: &Value) -> Outcome<Request> {
    let command = input.get("command").and_then(Value::as_str);
    let command = command.ok_or_else(|| Fault::invalid("the agent does not say which command"))?;
    let cwd = input.get("cwd").and_then(Value::as_str);
    request(agent.word(), "Shell", &json!({ "command": command }), cwd)
}

/// What a tool is called with, of which one argument may be another.
#[derive(Debug, PartialEq)]
struct Arguments {
    all: serde_json::Map<String, Value>,
    /// The one that is asked for.
    key: &'static str,
}

impl Arguments {
    fn with(mut self, subject: String) -> Value {
        self.all.insert(self.key.to_owned(), subject.into());
        Value::Object(self.all)
    }
}

impl Question {
    /// What is called, if the agent takes other arguments from a hook.
    fn editable(self, agent: HookAgent, input: &Value) -> Option<Arguments> {
        // All others would do what they asked for first.
        match (agent, self) {
            (HookAgent::Claude, Self::PermissionRequest | Self::PreToolUse)
            | (HookAgent::Codex, Self::PreToolUse)
            | (HookAgent::Gemini, Self::BeforeTool) => {}
            _ => return None,
        }
        let tool = input.get("tool_name").and_then(Value::as_str)?;
        let arguments = input.get("tool_input")?;
        let (_, key, _) = subject(tool, arguments)?;
        Some(Arguments { all: arguments.as_object()?.clone(), key })
    }

    fn reply(self, verdict: Verdict, message: Option<&str>, edited: Option<Value>) -> Value {
        let allowed = verdict == Verdict::Allow;
        let word = if allowed { "allow" } else { "deny" };
        let why =
            message.unwrap_or(if allowed { "allowed by a person" } else { "a person said no" });
        match self {
            Self::PermissionRequest => {
                let decision = match allowed {
                    true => match edited {
                        Some(edited) => json!({ "behavior": word, "updatedInput": edited }),
                        None => json!({ "behavior": word }),
                    },
                    false => json!({ "behavior": word, "message": why }),
                };
                json!({ "hookSpecificOutput": {
                    "hookEventName": "PermissionRequest", "decision": decision,
                } })
            }
            Self::PreToolUse => {
                let output = match edited.filter(|_| allowed) {
                    Some(edited) => json!({
                        "hookEventName": "PreToolUse",
                        "permissionDecision": word,
                        "permissionDecisionReason": why,
                        "updatedInput": edited,
                    }),
                    None => json!({
                        "hookEventName": "PreToolUse",
                        "permissionDecision": word,
                        "permissionDecisionReason": why,
                    }),
                };
                json!({ "hookSpecificOutput": output })
            }
            Self::BeforeTool => match edited.filter(|_| allowed) {
                Some(edited) => json!({
                    "decision": word, "reason": why,
                    "hookSpecificOutput": { "hookEventName": "BeforeTool", "tool_input": edited },
                }),
                None => json!({ "decision": word, "reason": why }),
            },
            Self::Blocking if allowed => json!({ "decision": "allow" }),
            Self::Blocking => json!({ "decision": "block", "reason": why }),
            Self::Before => json!({
                "permission": word, "user_message": why, "agent_message": why,
            }),
        }
    }
}

/// What a call of a tool means. All of it is in the request, or it is not asked for: each argument is in the subject,
/// in the diff, is the agent's remark, or stands by its own name.
pub fn request(agent: &str, tool: &str, arguments: &Value, cwd: Option<&str>) -> Outcome<Request> {
    let text_of = |key: &str| arguments.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut details = Vec::new();
    details.extend(cwd.map(|it| ("cwd".to_owned(), it.to_owned())));
    details.push(("tool".to_owned(), tool.to_owned()));
    let mut told = Vec::new();
    let (kind, subject) = match subject(tool, arguments) {
        Some((kind, key, subject)) => {
            told.push(key);
            if kind == AskKind::File {
                told.extend(changes(tool, arguments, &mut details));
            }
            let reason = text_of(REMARK).map(|_| REMARK);
            told.extend(reason);
            let fields = arguments.as_object().into_iter().flatten();
            for (key, value) in fields.filter(|(key, _)| !told.contains(&key.as_str())) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                details.push((key.clone(), value));
            }
            (kind, subject)
        }
        None => {
            let arguments = serde_json::to_string_pretty(arguments).unwrap_or_default();
            details.push(("arguments".to_owned(), arguments));
            let name = if tool.is_empty() { "a tool without a name" } else { tool };
            (AskKind::Tool, name.to_owned())
        }
    };
    let (reason, agent) = (text_of(REMARK), text::shown(agent, NAME_BYTES_MAX));
    let request = Request { kind, subject, details, reason, agent: Some(agent) };
    if request.bytes() > ASK_BYTES_MAX {
        return Err(Fault::invalid(format!(
            "{tool} with {} bytes, more than a person can look through; do it in smaller parts",
            request.bytes()
        )));
    }
    Ok(request)
}

/// What a tool that is known is about, and in which argument that stands; `None` = nobody knows.
fn subject(tool: &str, arguments: &Value) -> Option<(AskKind, &'static str, String)> {
    let (kind, keys): (AskKind, &[&'static str]) = match tool {
        "Bash" | "bash" | "Shell" | "shell" | "run_shell_command" => (AskKind::Exec, &["command"]),
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" | "edit" | "write" | "write_file"
        | "replace" | "apply_patch" => (AskKind::File, &["file_path", "notebook_path", "path"]),
        "WebFetch" | "web_fetch" | "webfetch" => (AskKind::Network, &["url"]),
        _ => return None,
    };
    let value = |key: &'static str| Some((key, arguments.get(key)?.as_str()?));
    let (key, value) = keys.iter().find_map(|it| value(it))?;
    Some((kind, key, value.to_owned()))
}

/// What an edit takes away and puts in, and which arguments that tells.
fn changes(
    tool: &str,
    arguments: &Value,
    details: &mut Vec<(String, String)>,
) -> Vec<&'static str> {
    let text_of = |key: &str| arguments.get(key).and_then(Value::as_str);
    let content = text_of("content").filter(|_| matches!(tool, "Write" | "write" | "write_file"));
    if let Some(content) = content {
        let what =
            if content.is_empty() { "all of the file, by nothing" } else { "all of the file" };
        details.push(("replaces".to_owned(), what.to_owned()));
    }
    let parts = [
        ("old_string", '-', text_of("old_string")),
        ("new_string", '+', text_of("new_string")),
        ("before", '-', text_of("before")),
        ("after", '+', text_of("after")),
        ("content", '+', content),
    ];
    let (mut diff, mut told) = (String::new(), Vec::new());
    // Two that put something in could not be told apart.
    let many = parts.iter().filter(|(_, sign, text)| *sign == '+' && text.is_some()).count() > 1;
    for (key, sign, text) in parts.into_iter().filter(|_| !many) {
        let Some(text) = text else { continue };
        for line in text.split_inclusive('\n') {
            diff.push(sign);
            diff.push_str(line);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            diff.push_str("\n\\ no newline at the end\n");
        }
        // What is not there to be seen stands by its name.
        if !text.is_empty() || key == "content" {
            told.push(key);
        }
    }
    if !diff.is_empty() {
        details.push(("diff".to_owned(), diff));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(agent: HookAgent, input: &Value) -> Outcome<Call> {
        read_call(agent, input.to_string().as_bytes()).map(|it| it.0)
    }

    fn asks(agent: HookAgent, input: &Value) -> (Question, Request) {
        match read(agent, input).unwrap() {
            Call::Asks(question, request, _) => (question, request),
            other => panic!("{other:?}"),
        }
    }

    fn editable(agent: HookAgent, input: &Value) -> Option<Arguments> {
        match read(agent, input).unwrap() {
            Call::Asks(_, _, arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_an_edit_and_a_tool_are_asked_for_as_what_they_are() {
        let mut input = json!({
            "hook_event_name": "PermissionRequest", "tool_name": "Bash", "cwd": "/w",
            "tool_input": { "command": "make it", "description": "Builds", "timeout": 5 },
        });
        let (_, request) = asks(HookAgent::Claude, &input);
        let Request { kind, subject, details, reason, agent } = request.clone();
        assert_eq!((kind, subject.as_str()), (AskKind::Exec, "make it"));
        assert_eq!((reason.as_deref(), agent.as_deref()), (Some("Builds"), Some("claude")));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(details, [pair("cwd", "/w"), pair("tool", "Bash"), pair("timeout", "5")]);
        // When it ran, the very same need not be asked any more.
        input["hook_event_name"] = "PostToolUse".into();
        assert_eq!(read(HookAgent::Claude, &input).unwrap(), Call::Over(Some(request)));
        let input = json!({
            "hook_event_name": "PreToolUse", "tool_name": "Edit",
            "tool_input": { "file_path": "a", "old_string": "x\ny", "new_string": "z", "replace_all": true },
        });
        let (question, request) = asks(HookAgent::Claude, &input);
        assert_eq!((request.kind, request.subject.as_str()), (AskKind::File, "a"));
        let end = "\\ no newline at the end\n";
        let diff = format!("-x\n-y\n{end}+z\n{end}");
        assert_eq!(
            request.details,
            [pair("tool", "Edit"), pair("diff", &diff), pair("replace_all", "true")]
        );
        let reply = question.reply(Verdict::Deny, Some("not now"), None);
        assert_eq!(reply["hookSpecificOutput"]["permissionDecisionReason"], "not now");
        let input = json!({
            "hook_event_name": "PreToolUse", "tool_name": "mcp__x__y", "tool_input": { "command": "z" },
        });
        let (_, request) = asks(HookAgent::Codex, &input);
        assert_eq!((request.kind, request.subject.as_str()), (AskKind::Tool, "mcp__x__y"));
        assert!(request.details.iter().any(|it| it.1.contains("\"command\": \"z\"")));
    }

    #[test]
    fn what_is_allowed_in_other_words_is_told_to_each_agent_as_it_takes_it() {
        use HookAgent::{Claude, Codex, Gemini};
        let call = |happens: &str, tool: &str| {
            json!({
                "hook_event_name": happens, "tool_name": tool,
                "tool_input": { "command": "make", "timeout": 5 },
            })
        };
        let edited = json!({ "command": "make -n", "timeout": 5 });
        for (agent, happens, tool, place) in [
            (Claude, "PermissionRequest", "Bash", "/hookSpecificOutput/decision/updatedInput"),
            (Claude, "PreToolUse", "Bash", "/hookSpecificOutput/updatedInput"),
            (Codex, "PreToolUse", "Bash", "/hookSpecificOutput/updatedInput"),
            (Gemini, "BeforeTool", "run_shell_command", "/hookSpecificOutput/tool_input"),
        ] {
            let call = call(happens, tool);
            let (question, _) = asks(agent, &call);
            let arguments = editable(agent, &call).unwrap();
            let reply =
                question.reply(Verdict::Allow, None, Some(arguments.with("make -n".to_owned())));
            assert_eq!(reply.pointer(place), Some(&edited), "{reply}");
            let denied = question.reply(Verdict::Deny, None, Some(edited.clone()));
            assert_eq!(denied.pointer(place), None, "{denied}");
        }
        // Codex takes none there, and of a tool that is not known nobody could say what is edited.
        assert_eq!(editable(Codex, &call("PermissionRequest", "Bash")), None);
        assert_eq!(editable(Claude, &call("PreToolUse", "mcp__x__y")), None);
        // What these do is what they asked for, whatever is replied.
        assert_eq!(editable(HookAgent::Opencode, &call("PermissionRequest", "bash")), None);
        for agent in [HookAgent::Cursor, HookAgent::Goose, HookAgent::Opencode, Gemini, Codex] {
            assert_eq!(editable(agent, &call("PermissionRequest", "Bash")), None, "{agent:?}");
        }
        for agent in [HookAgent::Cursor, HookAgent::Opencode, Gemini] {
            assert_eq!(editable(agent, &call("PreToolUse", "Bash")), None, "{agent:?}");
        }
    }

    #[test]
    fn no_two_calls_ask_for_the_same_and_none_hides_what_it_does() {
        let calls = [
            ("Write", json!({ "file_path": "a", "content": "x\n" })),
            ("Write", json!({ "file_path": "a", "content": "x" })),
            ("Write", json!({ "file_path": "a", "content": "x\r\n" })),
            ("Write", json!({ "file_path": "a", "content": "" })),
            ("Write", json!({ "file_path": "a" })),
            ("Write", json!({ "file_path": "a", "path": "b", "content": "x\n" })),
            ("Write", json!({ "file_path": "a", "content": "x\n", "new_string": "y\n" })),
            ("Write", json!({ "file_path": "a", "content": "y\n", "new_string": "x\n" })),
            ("write_file", json!({ "file_path": "a", "content": "x\n" })),
            ("Edit", json!({ "file_path": "a", "old_string": "", "new_string": "x\n" })),
            ("Edit", json!({ "file_path": "a", "new_string": "x\n" })),
            ("Edit", json!({ "file_path": "a", "old_string": "x\n", "new_string": "" })),
            ("Edit", json!({ "file_path": "a", "content": "x\n" })),
            ("edit", json!({ "path": "a", "before": "x\n", "after": "" })),
            ("edit", json!({ "path": "a", "before": "", "after": "x\n" })),
            ("edit", json!({ "path": "a", "before": "x\n" })),
            ("Bash", json!({ "command": "a" })),
            ("run_shell_command", json!({ "command": "a" })),
            ("Bash", json!({ "command": "a", "description": { "x": 1 } })),
        ];
        let asked = |(tool, input): &(&str, Value)| {
            let call = json!({
                "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": input,
            });
            let (_, request) = asks(HookAgent::Claude, &call);
            (request.kind, request.subject, request.details)
        };
        let all: Vec<_> = calls.iter().map(asked).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{:?}", calls[at]);
            assert!(one.2.iter().any(|it| *it == ("tool".to_owned(), calls[at].0.to_owned())));
        }
        let says =
            |at: usize| all[at].2.iter().map(|it| it.1.as_str()).collect::<Vec<_>>().join(" ");
        assert!(says(3).contains("all of the file, by nothing"), "{}", says(3));
        assert!(says(2).contains("+x\r\n") && says(1).contains("no newline"), "{}", says(2));
        assert!(says(5).contains('b') && says(12).contains("x\n"), "{}", says(5));
        assert!(says(18).contains("{\"x\":1}"), "{}", says(18));
    }

    #[test]
    fn goose_is_answered_in_its_own_words_and_asks_for_all_but_looking() {
        let call = |tool: &str, input: Value| {
            json!({
                "event": "PreToolUse", "session_id": "1", "tool_call_id": "call_1",
                "tool_name": tool, "tool_input": input, "working_dir": "/w",
            })
        };
        let command = json!({ "command": "make it" });
        let (question, request) = asks(HookAgent::Goose, &call("shell", command.clone()));
        assert_eq!((request.kind, request.subject.as_str()), (AskKind::Exec, "make it"));
        assert_eq!(request.details[0], ("cwd".to_owned(), "/w".to_owned()));
        assert_eq!(question.reply(Verdict::Allow, None, None), json!({ "decision": "allow" }));
        let denied = question.reply(Verdict::Deny, Some("not now"), None);
        assert_eq!(denied, json!({ "decision": "block", "reason": "not now" }));
        assert_eq!(editable(HookAgent::Goose, &call("shell", command)), None);
        let edit = json!({ "path": "a", "before": "x\n", "after": "y\n" });
        let (_, request) = asks(HookAgent::Goose, &call("edit", edit));
        assert_eq!((request.kind, request.subject.as_str()), (AskKind::File, "a"));
        assert!(request.details.contains(&("diff".to_owned(), "-x\n+y\n".to_owned())));
        assert_eq!(
            read(HookAgent::Goose, &call("tree", json!({ "path": "." }))).unwrap(),
            Call::News
        );
        for tool in ["delegate", "extensionmanager__manage_extensions", "read_image", "x__y", ""] {
            let (_, request) = asks(HookAgent::Goose, &call(tool, json!({ "source": "x" })));
            assert_eq!(request.kind, AskKind::Tool, "{tool}");
        }
        // The same name means something else elsewhere.
        let mut other = call("tree", json!({}));
        other["hook_event_name"] = "PreToolUse".into();
        asks(HookAgent::Claude, &other);
        let done = json!({ "event": "Stop", "last_assistant_message": "x" });
        assert_eq!(read(HookAgent::Goose, &done).unwrap(), Call::Over(None));
    }

    #[test]
    fn whatever_goes_wrong_blocks() {
        assert_eq!(or_block(|| Ok(out::DONE)), out::DONE);
        assert_eq!(or_block(|| Err(Fault::lost("nobody is there"))), BLOCK);
        assert_eq!(or_block(|| panic!("it breaks")), BLOCK);
    }

    #[test]
    fn news_are_passed_over_and_what_is_no_question_is_refused() {
        let news = json!({ "hook_event_name": "Notification", "message": "x" });
        assert_eq!(read(HookAgent::Claude, &news).unwrap(), Call::News);
        let stop = json!({ "hook_event_name": "Stop" });
        assert_eq!(read(HookAgent::Claude, &stop).unwrap(), Call::Over(None));
        let unknown = json!({ "hook_event_name": "BeforeEveryTool", "tool_name": "Bash" });
        for bad in [unknown, json!({}), json!([1]), json!({ "tool_name": "Bash" })] {
            assert!(read(HookAgent::Claude, &bad).is_err());
        }
        assert!(read_call(HookAgent::Gemini, b"{").is_err());
        let long = json!({
            "hook_event_name": "PreToolUse", "tool_name": "Bash",
            "tool_input": { "command": "x".repeat(ASK_BYTES_MAX) },
        });
        assert!(read(HookAgent::Claude, &long).is_err());
    }
}
