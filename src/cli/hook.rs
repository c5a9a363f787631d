//! `hook`: speaks an agent's own protocol for hooks, and asks a person in its place.

use std::io::{self, Read, Write};

use serde_json::{Value, json};

use super::{
    args::{HookAgent, HookArgs},
    ask::person,
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
const INPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What blocks a call, in the protocol that these agents share.
const BLOCK: out::Code = 2;

pub async fn hook(args: HookArgs) -> Outcome<out::Code> {
    let mut input = Vec::new();
    let read = io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut input);
    read.map_err(|error| Fault::io("reading what the agent says", &error))?;
    let call = Call::read(args.agent, &input);
    let call = match call {
        Ok(Some(call)) => call,
        // News, which need no answer.
        Ok(None) => return Ok(out::DONE),
        Err(fault) => {
            out::report(&fault);
            return Ok(BLOCK);
        }
    };
    let (verdict, message) = match person(&call.request, args.timeout).await {
        Ok(answer) => (answer.verdict, answer.message),
        // Its own prompt is still there for whoever sits at the terminal.
        Err(fault) if call.event == Event::PermissionRequest && fault.kind() == Kind::Unsupported => {
            out::report(&fault);
            return Ok(1);
        }
        // Every agent goes on by itself when a hook fails: so nothing here may fail but by a no.
        Err(fault) => (Verdict::Deny, Some(fault.message().to_owned())),
    };
    let mut reply = call.reply(verdict, message.as_deref()).to_string();
    reply.push('\n');
    let mut out = io::stdout().lock();
    let written = out.write_all(reply.as_bytes()).and_then(|()| out.flush());
    Ok(if written.is_ok() { out::DONE } else { BLOCK })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Before every call of a tool.
    PreToolUse,
    /// The agent would ask a person itself.
    PermissionRequest,
    /// Gemini's before every call.
    BeforeTool,
}

/// What an agent wants to know.
#[derive(Debug, PartialEq)]
struct Call {
    event: Event,
    request: Request,
}

impl Call {
    /// `None` where nothing is asked.
    fn read(agent: HookAgent, input: &[u8]) -> Outcome<Option<Self>> {
        if input.len() as u64 > INPUT_BYTES_MAX {
            return Err(Fault::invalid("the agent says more than a hook can take"));
        }
        let input: Value = serde_json::from_slice(input)
            .map_err(|error| Fault::invalid(format!("not what {agent:?} says to a hook: {error}")))?;
        let event = match input.get("hook_event_name").and_then(Value::as_str) {
            Some("PreToolUse") => Event::PreToolUse,
            Some("PermissionRequest") => Event::PermissionRequest,
            Some("BeforeTool") => Event::BeforeTool,
            Some(_) => return Ok(None),
            None => return Err(Fault::invalid("the agent does not say what happens")),
        };
        let tool = input.get("tool_name").and_then(Value::as_str).unwrap_or_default();
        let arguments = input.get("tool_input").cloned().unwrap_or(Value::Null);
        let cwd = input.get("cwd").and_then(Value::as_str);
        let name = format!("{agent:?}").to_lowercase();
        let request = request(&name, tool, &arguments, cwd)?;
        Ok(Some(Self { event, request }))
    }

    fn reply(&self, verdict: Verdict, message: Option<&str>) -> Value {
        let allowed = verdict == Verdict::Allow;
        let word = if allowed { "allow" } else { "deny" };
        let why = message.unwrap_or(if allowed { "allowed by a person" } else { "a person said no" });
        match self.event {
            Event::PermissionRequest => {
                let decision = match allowed {
                    true => json!({ "behavior": word }),
                    false => json!({ "behavior": word, "message": why }),
                };
                json!({ "hookSpecificOutput": {
                    "hookEventName": "PermissionRequest", "decision": decision,
                } })
            }
            Event::PreToolUse => json!({ "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": word,
                "permissionDecisionReason": why,
            } }),
            Event::BeforeTool => json!({ "decision": word, "reason": why }),
        }
    }
}

/// What a call of a tool means. All of it is in the request, or it is not asked for.
fn request(agent: &str, tool: &str, arguments: &Value, cwd: Option<&str>) -> Outcome<Request> {
    let text_of = |key: &str| arguments.get(key).and_then(Value::as_str).map(str::to_owned);
    let first = |keys: &[&str]| keys.iter().find_map(|it| text_of(it));
    let mut details = Vec::new();
    details.extend(cwd.map(|it| ("cwd".to_owned(), it.to_owned())));
    let whole = |details: &mut Vec<(String, String)>| {
        details.push(("tool".to_owned(), tool.to_owned()));
        let arguments = serde_json::to_string_pretty(arguments).unwrap_or_default();
        details.push(("arguments".to_owned(), arguments));
    };
    // What is not told by the subject and is no remark.
    let rest = |details: &mut Vec<(String, String)>, told: &[&str]| {
        let Some(fields) = arguments.as_object() else { return };
        for (key, value) in fields.iter().filter(|(key, _)| !told.contains(&key.as_str())) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            details.push((key.clone(), value));
        }
    };
    let command = text_of("command").filter(|_| matches!(tool, "Bash" | "run_shell_command"));
    let path = first(&["file_path", "notebook_path", "path"]).filter(|_| {
        matches!(
            tool,
            "Edit" | "MultiEdit" | "Write" | "NotebookEdit" | "write_file" | "replace" | "apply_patch"
        )
    });
    let url = text_of("url").filter(|_| matches!(tool, "WebFetch" | "web_fetch"));
    let (kind, subject) = match (command, path, url) {
        (Some(command), ..) => {
            rest(&mut details, &["command", "description"]);
            (AskKind::Exec, command)
        }
        (_, Some(path), _) => {
            changes(arguments, &mut details);
            rest(
                &mut details,
                &["file_path", "notebook_path", "path", "old_string", "new_string", "content"],
            );
            (AskKind::File, path)
        }
        (.., Some(url)) => {
            rest(&mut details, &["url"]);
            (AskKind::Network, url)
        }
        _ => {
            whole(&mut details);
            let name = if tool.is_empty() { "a tool without a name" } else { tool };
            (AskKind::Tool, name.to_owned())
        }
    };
    let (reason, agent) = (text_of("description"), text::shown(agent, NAME_BYTES_MAX));
    let request = Request { kind, subject, details, reason, agent: Some(agent) };
    if request.bytes() > ASK_BYTES_MAX {
        return Err(Fault::invalid(format!(
            "{tool} with {} bytes, more than a person can look through; do it in smaller parts",
            request.bytes()
        )));
    }
    Ok(request)
}

/// What an edit takes away and puts in.
fn changes(arguments: &Value, details: &mut Vec<(String, String)>) {
    let text_of = |key: &str| arguments.get(key).and_then(Value::as_str);
    let lines = |sign: char, text: &str| -> String {
        text.lines().map(|it| format!("{sign}{it}\n")).collect()
    };
    let mut diff = String::new();
    diff.extend(text_of("old_string").map(|it| lines('-', it)));
    diff.extend(text_of("new_string").or_else(|| text_of("content")).map(|it| lines('+', it)));
    if !diff.is_empty() {
        details.push(("diff".to_owned(), diff));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(agent: HookAgent, input: Value) -> Outcome<Option<Call>> {
        Call::read(agent, input.to_string().as_bytes())
    }

    #[test]
    fn a_command_an_edit_and_a_tool_are_asked_for_as_what_they_are() {
        let input = json!({
            "hook_event_name": "PermissionRequest", "tool_name": "Bash", "cwd": "/w",
            "tool_input": { "command": "make it", "description": "Builds", "timeout": 5 },
        });
        let call = read(HookAgent::Claude, input).unwrap().unwrap();
        let Request { kind, subject, details, reason, agent } = call.request;
        assert_eq!((kind, subject.as_str()), (AskKind::Exec, "make it"));
        assert_eq!((reason.as_deref(), agent.as_deref()), (Some("Builds"), Some("claude")));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(details, [pair("cwd", "/w"), pair("timeout", "5")]);
        let input = json!({
            "hook_event_name": "PreToolUse", "tool_name": "Edit",
            "tool_input": { "file_path": "a", "old_string": "x\ny", "new_string": "z", "replace_all": true },
        });
        let call = read(HookAgent::Claude, input).unwrap().unwrap();
        assert_eq!((call.request.kind, call.request.subject.as_str()), (AskKind::File, "a"));
        assert_eq!(call.request.details, [pair("diff", "-x\n-y\n+z\n"), pair("replace_all", "true")]);
        let reply = call.reply(Verdict::Deny, Some("not now"));
        assert_eq!(reply["hookSpecificOutput"]["permissionDecisionReason"], "not now");
        let input = json!({
            "hook_event_name": "PreToolUse", "tool_name": "mcp__x__y", "tool_input": { "command": "z" },
        });
        let call = read(HookAgent::Codex, input).unwrap().unwrap();
        assert_eq!((call.request.kind, call.request.subject.as_str()), (AskKind::Tool, "mcp__x__y"));
        assert!(call.request.details.iter().any(|it| it.1.contains("\"command\": \"z\"")));
    }

    #[test]
    fn news_are_passed_over_and_what_is_no_question_is_refused() {
        let news = json!({ "hook_event_name": "Notification", "message": "x" });
        assert_eq!(read(HookAgent::Claude, news).unwrap(), None);
        for bad in [json!({}), json!([1]), json!({ "tool_name": "Bash" })] {
            assert!(read(HookAgent::Claude, bad).is_err());
        }
        assert!(Call::read(HookAgent::Gemini, b"{").is_err());
        let long = json!({
            "hook_event_name": "PreToolUse", "tool_name": "Bash",
            "tool_input": { "command": "x".repeat(ASK_BYTES_MAX) },
        });
        assert!(read(HookAgent::Claude, long).is_err());
    }
}
