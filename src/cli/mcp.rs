//! `mcp`: a server of the model context protocol on stdin and stdout, with one tool, by which an agent asks a person. It
//! keeps nothing and knows nothing else.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read, Write},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    args::{HookAgent, McpArgs},
    ask::{Speaker, person},
    hook::{INPUT_BYTES_MAX, request},
    out,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ASKS_PENDING_MAX, NAME_BYTES_MAX},
        text,
    },
    model::ask::{Request, Verdict},
};

/// The tool, as `--permission-prompt-tool mcp__NAME__approve` names it.
const TOOL: &str = "approve";
/// The newest revision of the protocol that this was written for; an older one is answered by its own date.
const REVISION: &str = "2025-06-18";
/// Numbers of faults in the protocol.
const NOT_JSON: i64 = -32700;
const NO_SUCH_METHOD: i64 = -32601;

pub async fn mcp(args: McpArgs) -> Outcome<out::Code> {
    let mut lines = listen();
    let (tell, mut told) = mpsc::channel::<Value>(ASKS_PENDING_MAX);
    let (mut asks, mut under_way) = (JoinSet::new(), HashMap::<String, AbortHandle>::new());
    loop {
        let message = tokio::select! {
            Some(_) = asks.join_next() => {
                under_way.retain(|_, it| !it.is_finished());
                continue;
            }
            Some(answer) = told.recv() => {
                answer_by(&answer)?;
                continue;
            }
            line = lines.recv() => match line {
                Some(line) => line?,
                // The agent is gone, and what it asked with it.
                None => return Ok(out::DONE),
            }
        };
        match heard(args.agent, &message) {
            Heard::Nothing => {}
            Heard::Answer(answer) => answer_by(&answer)?,
            // Whoever waits no more is asked for no more.
            Heard::Cancel(id) => {
                if let Some(ask) = under_way.remove(&id.to_string()) {
                    ask.abort();
                }
            }
            Heard::Ask(id, _) if under_way.len() >= ASKS_PENDING_MAX => {
                let why = Some("too much is asked at once");
                answer_by(&verdict(&id, Verdict::Deny, why, &Value::Null))?;
            }
            Heard::Ask(id, call) => {
                let (tell, agent, within) = (tell.clone(), args.agent, args.timeout);
                let key = id.to_string();
                let ask = asks.spawn(async move {
                    let answer = answered(&id, call, agent, within).await;
                    // Nobody is there to be told when it fails.
                    drop(tell.send(answer).await);
                });
                under_way.insert(key, ask);
            }
        }
    }
}

/// What the agent says, line by line, until it says nothing more.
fn listen() -> mpsc::Receiver<Outcome<Vec<u8>>> {
    let (say, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut input).take(INPUT_BYTES_MAX + 1).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                // Which call it is can't be told, so that nothing can be answered but by an end.
                Ok(_) if line.len() as u64 > INPUT_BYTES_MAX => {
                    Err(Fault::invalid("the agent says more than can be taken"))
                }
                Ok(_) => Ok(line),
                Err(error) => Err(Fault::io("reading what the agent says", &error)),
            };
            let last = line.is_err();
            if say.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    lines
}

fn answer_by(answer: &Value) -> Outcome<()> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{answer}").and_then(|()| out.flush());
    written.map_err(|error| Fault::io("answering the agent", &error))
}

/// What a message comes to.
#[derive(Debug, PartialEq)]
enum Heard {
    Answer(Value),
    /// By which id it is answered, and what is asked.
    Ask(Value, Call),
    /// The answer to this id is not waited for any more.
    Cancel(Value),
    Nothing,
}

/// What is asked, and what the agent gave it as; or what is wrong with it.
#[derive(Debug, PartialEq)]
struct Call {
    request: Result<Request, String>,
    input: Value,
}

fn heard(agent: HookAgent, message: &[u8]) -> Heard {
    if message.trim_ascii().is_empty() {
        return Heard::Nothing;
    }
    let Ok(message) = serde_json::from_slice::<Value>(message) else {
        return Heard::Answer(fault(&Value::Null, NOT_JSON, "this is no JSON"));
    };
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    let parameters = message.get("params").unwrap_or(&Value::Null);
    let Some(id) = message.get("id").filter(|it| it.is_string() || it.is_number()) else {
        let cancelled = parameters.get("requestId").filter(|_| method == "notifications/cancelled");
        return cancelled.map_or(Heard::Nothing, |it| Heard::Cancel(it.clone()));
    };
    match method {
        "initialize" => Heard::Answer(result(id, initialized(parameters))),
        "ping" => Heard::Answer(result(id, json!({}))),
        "tools/list" => Heard::Answer(result(id, json!({ "tools": [tool()] }))),
        "tools/call" => Heard::Ask(id.clone(), call(agent, parameters)),
        // It answers what nobody asked.
        "" => Heard::Nothing,
        other => {
            let what = format!("no such method: {}", text::shown(other, NAME_BYTES_MAX));
            Heard::Answer(fault(id, NO_SUCH_METHOD, &what))
        }
    }
}

fn initialized(parameters: &Value) -> Value {
    let wanted = parameters.get("protocolVersion").and_then(Value::as_str).unwrap_or(REVISION);
    // Dates compare as words do.
    let revision =
        if wanted.len() == REVISION.len() && wanted < REVISION { wanted } else { REVISION };
    json!({
        "protocolVersion": revision,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "sandwatch", "version": env!("CARGO_PKG_VERSION") },
    })
}

fn tool() -> Value {
    json!({
        "name": TOOL,
        "description": "Asks the person who supervises this sandbox whether a tool may be used, and waits for the answer.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "tool_name": { "type": "string", "description": "The tool" },
                "input": { "type": "object", "description": "What it is to be given" },
                "tool_use_id": { "type": "string", "description": "Which use of it" },
            },
            "required": ["tool_name", "input"],
        },
    })
}

fn call(agent: HookAgent, parameters: &Value) -> Call {
    let arguments = parameters.get("arguments").unwrap_or(&Value::Null);
    let input = arguments.get("input").cloned().unwrap_or(Value::Null);
    let asked = || {
        if parameters.get("name").and_then(Value::as_str) != Some(TOOL) {
            return Err(Fault::invalid(format!("there is one tool here: {TOOL}")));
        }
        let tool = arguments.get("tool_name").and_then(Value::as_str);
        let tool = tool.ok_or_else(|| Fault::invalid("the agent does not say which tool"))?;
        if !input.is_object() {
            return Err(Fault::invalid("the agent does not say what the tool is given"));
        }
        request(agent.word(), tool, &input, None)
    };
    let request = asked().map_err(|fault| fault.message().to_owned());
    Call { request, input }
}

/// Whatever goes wrong is a no, in the words that the agent knows.
async fn answered(id: &Value, call: Call, agent: HookAgent, within: Duration) -> Value {
    let Call { request, input } = call;
    let request = match request {
        Ok(request) => request,
        Err(why) => return verdict(id, Verdict::Deny, Some(&why), &input),
    };
    let speaker = Speaker { agent: agent.word().to_owned(), ..Speaker::default() };
    match person(&request, within, Some(&speaker), false).await {
        Ok((answer, _)) => verdict(id, answer.verdict, answer.message.as_deref(), &input),
        Err(fault) => verdict(id, Verdict::Deny, Some(fault.message()), &input),
    }
}

fn verdict(id: &Value, verdict: Verdict, message: Option<&str>, input: &Value) -> Value {
    let decision = match verdict {
        Verdict::Allow => json!({ "behavior": "allow", "updatedInput": input }),
        Verdict::Deny => {
            json!({ "behavior": "deny", "message": message.unwrap_or("a person said no") })
        }
    };
    result(id, json!({ "content": [{ "type": "text", "text": decision.to_string() }] }))
}

fn result(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn fault(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(message: &Value) -> Heard {
        heard(HookAgent::Claude, message.to_string().as_bytes())
    }

    #[test]
    fn it_says_what_it_is_and_asks_for_what_it_is_given() {
        let hello = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2024-11-05" },
        });
        let Heard::Answer(answer) = says(&hello) else { panic!("no answer") };
        assert_eq!(answer["result"]["protocolVersion"], "2024-11-05");
        let Heard::Answer(answer) = says(&json!({ "id": "a", "method": "tools/list" })) else {
            panic!("no answer")
        };
        assert_eq!(
            (&answer["id"], &answer["result"]["tools"][0]["name"]),
            (&"a".into(), &"approve".into())
        );
        let call = |name: &str, arguments: Value| {
            let call = json!({
                "id": 2, "method": "tools/call", "params": { "name": name, "arguments": arguments },
            });
            let Heard::Ask(id, call) = says(&call) else { panic!("nothing is asked") };
            assert_eq!(id, 2);
            call.request.map(|it| it.subject)
        };
        let given =
            json!({ "tool_name": "Bash", "input": { "command": "make" }, "tool_use_id": "x" });
        assert_eq!(call("approve", given.clone()), Ok("make".to_owned()));
        // What can't be asked for is no fault of the protocol's but a no.
        assert!(call("other", given).is_err());
        for less in [
            json!({}),
            json!({ "tool_name": "Bash" }),
            json!({ "tool_name": "Bash", "input": "make" }),
        ] {
            assert!(call("approve", less).is_err());
        }
    }

    #[test]
    fn garbage_is_answered_as_the_protocol_has_it() {
        assert_eq!(heard(HookAgent::Claude, b" \n"), Heard::Nothing);
        for (message, code) in
            [(&b"{\n"[..], NOT_JSON), (b"{\"id\":1,\"method\":\"resources/list\"}", NO_SUCH_METHOD)]
        {
            let Heard::Answer(answer) = heard(HookAgent::Claude, message) else {
                panic!("no answer")
            };
            assert_eq!(answer["error"]["code"], code);
        }
        assert_eq!(says(&json!({ "method": "notifications/initialized" })), Heard::Nothing);
        assert_eq!(says(&json!([1])), Heard::Nothing);
        let cancel = json!({ "method": "notifications/cancelled", "params": { "requestId": 7 } });
        assert_eq!(says(&cancel), Heard::Cancel(json!(7)));
    }

    #[test]
    fn a_verdict_is_in_the_agents_own_words() {
        let decision = |verdict: Value| -> Value {
            serde_json::from_str(verdict["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
        };
        let input = json!({ "command": "make" });
        let yes = decision(verdict(&json!(1), Verdict::Allow, None, &input));
        assert_eq!(yes, json!({ "behavior": "allow", "updatedInput": { "command": "make" } }));
        let no = decision(verdict(&json!(1), Verdict::Deny, Some("why"), &input));
        assert_eq!(no, json!({ "behavior": "deny", "message": "why" }));
    }
}
