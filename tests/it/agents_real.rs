//! Real agents in sandboxes, on a scripted model: what they ask comes here, and a no is a no however it comes about.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Stdio},
    sync::{Mutex, MutexGuard, TryLockError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sandwatch::model::sandbox::Isolation;
use serde_json::{Value, json};

use crate::{agents::notes, program::Home, runtimes, skip::not_to_be_had};

const MODEL: &str = include_str!("../agents/model.py");
const PORT: &str = "8787";

/// How one agent is made to run without its maker's servers.
struct Agent {
    name: &'static str,
    profile: &'static str,
    /// What its profile needs beside, so that it asks nothing at its start.
    amends: &'static [(&'static str, &'static str)],
    /// Variables of the sandbox.
    env: &'static [&'static str],
    /// Prepares its home; `$PWD` is the workspace.
    seed: &'static str,
    /// Behind its name.
    args: &'static [&'static str],
}

/// It knows a key again by its last twenty characters. What its workspace allows changes nothing.
const CLAUDE: Agent = Agent {
    name: "claude",
    profile: include_str!("../../assets/agents/claude.toml"),
    amends: &[],
    env: &[
        "ANTHROPIC_API_KEY=a-key-that-opens-nil",
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8787",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
        "DISABLE_AUTOUPDATER=1",
    ],
    seed: r#"cat > ~/.claude.json <<END
{"hasCompletedOnboarding": true, "theme": "dark", "projects": {"$PWD": {"hasTrustDialogAccepted": true}},
 "customApiKeyResponses": {"approved": ["a-key-that-opens-nil"], "rejected": []}}
END
mkdir -p .claude; echo '{"permissions": {"allow": ["Bash", "Edit"]}}' > .claude/settings.json"#,
    args: &[],
};

const CODEX: Agent = Agent {
    name: "codex",
    profile: include_str!("../../assets/agents/codex.toml"),
    amends: &[],
    env: &["NO_KEY=none"],
    seed: r#"mkdir -p ~/.codex; cat > ~/.codex/config.toml <<END
model = "scripted"
model_provider = "scripted"
check_for_update_on_startup = false
[model_providers.scripted]
name = "scripted"
base_url = "http://127.0.0.1:8787/v1"
wire_api = "responses"
env_key = "NO_KEY"
[analytics]
enabled = false
[projects."$PWD"]
trust_level = "trusted"
END"#,
    args: &[],
};

const GEMINI: Agent = Agent {
    name: "gemini",
    profile: include_str!("../../assets/agents/gemini.toml"),
    amends: &[(
        "\"hooksConfig\"",
        r#""security": { "auth": { "selectedType": "gemini-api-key" }, "folderTrust": { "enabled": false } },
           "general": { "enableAutoUpdate": false }, "privacy": { "usageStatisticsEnabled": false }, "hooksConfig""#,
    )],
    env: &["GEMINI_API_KEY=none", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8787"],
    seed: "",
    args: &["-i"],
};

/// It fetches no list of models from its maker. What else it would fetch at its start it is refused at once, where it would
/// wait for minutes. What its user's settings allow changes nothing.
const OPENCODE: Agent = Agent {
    name: "opencode",
    profile: include_str!("../../assets/agents/opencode.toml"),
    amends: &[],
    env: &[
        "OPENCODE_DISABLE_MODELS_FETCH=1",
        "OPENCODE_DISABLE_AUTOUPDATE=1",
        "npm_config_registry=http://127.0.0.1:8787",
    ],
    seed: r#"mkdir -p ~/.config/opencode; cat > ~/.config/opencode/opencode.json <<END
{"model": "scripted/scripted", "small_model": "scripted/scripted", "autoupdate": false, "share": "disabled",
 "permission": "allow", "provider": {"scripted": {"npm": "@ai-sdk/openai-compatible", "name": "scripted",
 "options": {"baseURL": "http://127.0.0.1:8787/v1", "apiKey": "none"},
 "models": {"scripted": {"name": "scripted", "tool_call": true}}}}}
END"#,
    args: &["--prompt"],
};

/// It keeps no key in a keyring, and has no name to think of for what it is told.
const GOOSE: Agent = Agent {
    name: "goose",
    profile: include_str!("../../assets/agents/goose.toml"),
    amends: &[],
    env: &[
        "GOOSE_PROVIDER=openai",
        "GOOSE_MODEL=scripted",
        "GOOSE_DISABLE_KEYRING=1",
        "OPENAI_HOST=http://127.0.0.1:8787",
        "OPENAI_API_KEY=none",
    ],
    seed: "",
    args: &["run", "--interactive", "--text"],
};

fn is_there(agent: &Agent) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|it| it.join(agent.name).exists());
    if !found {
        not_to_be_had(&format!("{} on PATH (npm has it)", agent.name));
    }
    found
}

/// A sandbox in which a model answers by a script, and asks wait for so long.
fn with_model(agent: &Agent, within: &str, more: &[&str]) -> Home {
    let home = Home::new();
    let own = home.config().join("agents");
    std::fs::create_dir_all(&own).unwrap();
    let mut profile = agent.profile.replace("--timeout 5m", &format!("--timeout {within}"));
    profile = profile.replace(r#""--timeout", "5m""#, &format!(r#""--timeout", "{within}""#));
    for (from, to) in agent.amends {
        profile = profile.replace(from, to);
    }
    std::fs::write(own.join(agent.name).with_extension("toml"), profile).unwrap();
    let model = home.workspace().join("model.py");
    std::fs::write(&model, MODEL).unwrap();
    let env = agent.env.iter().flat_map(|it| ["--env", it]);
    let mut words = vec!["run", "-d", "--name", "box", "--egress", "deny"];
    words.extend(more);
    words.extend(env);
    words.extend(["--", "python3", "model.py", PORT]);
    home.ok(&words);
    home.ok(&["wait", "box", "--for", "text=ready", "--timeout", "60s"]);
    home.ok(&["exec", "box", "--", "sh", "-c", agent.seed]);
    home
}

/// Starts it on a task.
fn start(home: &Home, agent: &Agent, task: &str) {
    let mut words = vec!["shell", "-d", "box", "--", agent.name];
    words.extend(agent.args);
    words.push(task);
    home.ok(&words);
}

/// Real agents take their time to start, above all beside each other.
const SLOW: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Each takes a processor to start: two at a time.
static PLACES: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

fn place() -> MutexGuard<'static, ()> {
    loop {
        for place in &PLACES {
            match place.try_lock() {
                Ok(place) => return place,
                Err(TryLockError::Poisoned(it)) => return it.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Waits until something is so; what the agent shows is told when it never is.
#[track_caller]
fn in_time(home: &Home, what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SLOW;
    while !so() {
        let screen = || home.run(&["screen", "box/2"]).stdout;
        assert!(Instant::now() < deadline, "never: {what}\n{}\n{}", notes(home), screen());
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Waits until the agent shows this, across the ends of lines.
#[track_caller]
fn shows(home: &Home, text: &str) {
    let wanted: String = text.split_whitespace().collect();
    in_time(home, &format!("it shows {text}"), || {
        let screen = home.ok(&["screen", "box/2"]);
        screen.split_whitespace().collect::<String>().contains(&wanted)
    });
}

/// Types a task, and its end once nothing moves any more: an end that comes at once is taken for a part of a paste.
fn type_in(home: &Home, task: &str) {
    home.ok(&["wait", "box/2", "--for", "idle", "--timeout", "60s"]);
    home.ok(&["send", "box/2", task]);
    shows(home, task);
    home.ok(&["wait", "box/2", "--for", "idle", "--timeout", "60s"]);
    home.ok(&["send", "box/2", "<Enter>"]);
}

fn one_waits(home: &Home, subject: &str) -> String {
    let mut found = None;
    in_time(home, &format!("{subject} is asked"), || {
        let all: Vec<Value> =
            serde_json::from_value(home.json(&["approvals", "ls", "--json"])).unwrap();
        found = all
            .iter()
            .find(|it| it["subject"] == subject)
            .map(|it| it["id"].as_str().unwrap().to_owned());
        found.is_some()
    });
    found.unwrap()
}

fn is_made(home: &Home, name: &str) -> bool {
    home.run(&["exec", "box", "--", "test", "-e", name]).code == 0
}

fn kill_hub(home: &Home) {
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// What every agent does that asks by a hook.
fn asks_here(agent: &Agent) {
    if !is_there(agent) {
        return;
    }
    let _place = place();
    let home = with_model(agent, "5m", &[]);
    start(&home, agent, "RUN touch one");
    let id = one_waits(&home, "touch one");
    let told = || notes(&home).contains("asks reach us: box/2");
    in_time(&home, "it is known that it asks here", told);
    assert!(!is_made(&home, "one"));
    home.ok(&["approvals", "allow", &id]);
    in_time(&home, "it did what was allowed", || is_made(&home, "one"));
    shows(&home, "result:");
    // The hub dies while it holds, and the next one denies.
    type_in(&home, "RUN touch two");
    one_waits(&home, "touch two");
    kill_hub(&home);
    let id = one_waits(&home, "touch two");
    assert!(!is_made(&home, "two"));
    home.ok(&["approvals", "deny", &id, "--message", "rather-not-two"]);
    shows(&home, "rather-not-two");
    assert!(!is_made(&home, "two"));
    // What asks dies: that is no yes. The shell that an agent put around it lives.
    shows(&home, "rather-not-two");
    type_in(&home, "RUN touch three");
    let id = one_waits(&home, "touch three");
    home.ok(&["exec", "box", "--", "pkill", "-9", "-f", "^/run/sandwatch/sandwatch hook"]);
    let state = || home.json(&["approvals", "show", &id, "--json"])["state"].clone();
    in_time(&home, "nobody waits", || state() == "withdrawn");
    assert!(!is_made(&home, "three"));
}

/// What every agent does when nobody answers.
fn is_denied_in_time(agent: &Agent) {
    if !is_there(agent) {
        return;
    }
    let _place = place();
    let home = with_model(agent, "3s", &[]);
    start(&home, agent, "RUN touch late");
    in_time(&home, "nobody answered", || {
        let all = home.json(&["approvals", "ls", "--all", "--json"]);
        all.as_array()
            .unwrap()
            .iter()
            .any(|it| it["subject"] == "touch late" && it["state"] == "expired")
    });
    shows(&home, "nobody answered in time");
    assert!(!is_made(&home, "late"));
}

/// Waits until it is said to be so by that source, and gives what it stands on.
fn is_said_to_be(home: &Home, status: &str, source: &str) -> Value {
    let mut told = Value::Null;
    let decided = |told: &Value| {
        let all = told["evidence"].as_array().unwrap();
        all.iter().find(|it| it["counts"] == "decides").map(|it| it["source"].clone())
    };
    in_time(home, &format!("it is {status} by {source}"), || {
        told = home.json(&["explain", "box/2", "--json"]);
        told["status"] == status && decided(&told) == Some(source.into())
    });
    told
}

/// What every agent tells whose hooks say when it has something to do and when its turn is over.
fn tells_what_it_does(agent: &Agent) {
    if !is_there(agent) {
        return;
    }
    let _place = place();
    let home = with_model(agent, "5m", &[]);
    start(&home, agent, "RUN sleep 20; touch one");
    let id = one_waits(&home, "sleep 20; touch one");
    let told = is_said_to_be(&home, "waiting", "runtime");
    assert!(told["status_why"].as_str().unwrap().contains("sleep 20"), "{told}");
    home.ok(&["approvals", "allow", &id]);
    in_time(&home, "it works again, by its hook too", || {
        let told = home.json(&["explain", "box/2", "--json"]);
        let all = told["evidence"].as_array().unwrap();
        let hook = all.iter().find(|it| it["source"] == "hook").map(|it| it["says"].clone());
        told["status"] == "working" && hook == Some("working".into())
    });
    in_time(&home, "it did what was allowed", || is_made(&home, "one"));
    let mut told = Value::Null;
    in_time(&home, "its turn is over", || {
        told = home.json(&["explain", "box/2", "--json"]);
        let over = format!("{} has ended its turn", agent.name);
        told["status"] == "idle" && told.to_string().contains(&over)
    });
    // The model's own server waits for whoever comes.
    let model = home.json(&["explain", "box", "--json"]);
    assert_eq!(model["status"], "idle", "{model}");
}

#[test]
fn what_claude_does_is_told_by_its_hooks_and_its_asks() {
    tells_what_it_does(&CLAUDE);
}

#[test]
fn what_gemini_does_is_told_by_its_hooks_and_its_asks() {
    tells_what_it_does(&GEMINI);
}

#[test]
fn what_opencode_does_is_told_by_its_plugin_and_its_asks() {
    tells_what_it_does(&OPENCODE);
}

#[test]
fn what_goose_does_is_told_by_its_hooks_and_its_asks() {
    tells_what_it_does(&GOOSE);
}

#[test]
fn on_a_kernel_of_its_own_an_agent_asks_here_too() {
    if let Some(skip) = runtimes::reason(Isolation::Gvisor) {
        return skip();
    }
    for agent in [&CLAUDE, &GOOSE] {
        if !is_there(agent) {
            continue;
        }
        let _place = place();
        let home = with_model(agent, "5m", &["--isolation", "gvisor"]);
        start(&home, agent, "RUN touch one");
        let id = one_waits(&home, "touch one");
        in_time(&home, "it is known that it asks here", || {
            notes(&home).contains("asks reach us: box/2")
        });
        // Nobody outside sees whose program it is: it says so itself.
        let session = home.json(&["ls", "--json"])[0]["sessions"][1]["id"].clone();
        assert_eq!(home.json(&["approvals", "show", &id, "--json"])["session"], session);
        assert!(!is_made(&home, "one"));
        home.ok(&["approvals", "allow", &id]);
        in_time(&home, "it did what was allowed", || is_made(&home, "one"));
        shows(&home, "result:");
        type_in(&home, "RUN touch two");
        let id = one_waits(&home, "touch two");
        home.ok(&["approvals", "deny", &id, "--message", "rather-not-two"]);
        shows(&home, "rather-not-two");
        assert!(!is_made(&home, "two"));
    }
}

#[test]
fn goose_asks_here() {
    asks_here(&GOOSE);
}

#[test]
fn goose_is_denied_what_nobody_answers() {
    is_denied_in_time(&GOOSE);
}

#[test]
fn codex_asks_here() {
    asks_here(&CODEX);
}

#[test]
fn claude_asks_here() {
    asks_here(&CLAUDE);
}

#[test]
fn codex_is_denied_what_nobody_answers() {
    is_denied_in_time(&CODEX);
}

#[test]
fn claude_is_denied_what_nobody_answers() {
    is_denied_in_time(&CLAUDE);
}

#[test]
fn gemini_asks_here() {
    asks_here(&GEMINI);
}

#[test]
fn gemini_is_denied_what_nobody_answers() {
    is_denied_in_time(&GEMINI);
}

#[test]
fn opencode_asks_here() {
    asks_here(&OPENCODE);
}

#[test]
fn opencode_is_denied_what_nobody_answers() {
    is_denied_in_time(&OPENCODE);
}

/// A client of the protocol, on a server in the sandbox.
struct Client {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(home: &Home) -> Self {
        let mut command = home.command(&["exec", "-i", "box", "--", "sandwatch", "mcp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{message}").unwrap();
    }

    fn heard(&mut self) -> Value {
        serde_json::from_str(&self.said.next().unwrap().unwrap()).unwrap()
    }

    fn ask(&mut self, id: u32, command: &str) {
        let arguments =
            json!({ "tool_name": "Bash", "input": { "command": command }, "tool_use_id": "x" });
        let params = json!({ "name": "approve", "arguments": arguments });
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
    }
}

/// The id of an answer, and the decision in it.
fn decision(answer: &Value) -> (u64, Value) {
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    (answer["id"].as_u64().unwrap(), serde_json::from_str(text).unwrap())
}

#[test]
fn a_tool_of_a_server_asks_and_several_wait_beside_each_other() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    let mut client = Client::start(&home);
    client.say(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": "2025-06-18" } }));
    assert_eq!(client.heard()["result"]["serverInfo"]["name"], "sandwatch");
    client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    client.ask(1, "one");
    client.ask(2, "two");
    client.ask(3, "three");
    let [one, two, three] = ["one", "two", "three"].map(|it| one_waits(&home, it));
    home.ok(&["approvals", "allow", &two]);
    let yes = json!({ "behavior": "allow", "updatedInput": { "command": "two" } });
    assert_eq!(decision(&client.heard()), (2, yes));
    home.ok(&["approvals", "deny", &one, "--message", "not now"]);
    assert_eq!(decision(&client.heard()), (1, json!({ "behavior": "deny", "message": "not now" })));
    // What is not waited for any more is asked for no more; nor is anything when the agent is gone.
    client.say(&json!({ "method": "notifications/cancelled", "params": { "requestId": 3 } }));
    let state = |id: &str| home.json(&["approvals", "show", id, "--json"])["state"].clone();
    in_time(&home, "it is withdrawn", || state(&three) == "withdrawn");
    client.say(&json!("nonsense"));
    client.ask(4, "four");
    let four = one_waits(&home, "four");
    drop(client.child.stdin.take());
    assert!(client.child.wait().unwrap().success());
    in_time(&home, "it is withdrawn too", || state(&four) == "withdrawn");
}

#[test]
fn claude_without_a_terminal_asks_by_the_tool() {
    if !is_there(&CLAUDE) {
        return;
    }
    let _place = place();
    let home = with_model(&CLAUDE, "5m", &[]);
    let server =
        r#"{"mcpServers":{"sandwatch":{"command":"/run/sandwatch/sandwatch","args":["mcp"]}}}"#;
    let run = |task: &str| {
        let words = ["exec", "box", "--", "claude", "-p", task, "--mcp-config", server];
        let words = [&words[..], &["--permission-prompt-tool", "mcp__sandwatch__approve"]].concat();
        home.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for (task, verdict) in [("one", "allow"), ("two", "deny")] {
        let claude = run(&format!("RUN touch {task}"));
        let id = one_waits(&home, &format!("touch {task}"));
        home.ok(&["approvals", verdict, &id]);
        let ended = claude.wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(is_made(&home, task), verdict == "allow", "{ended:?}");
    }
}
