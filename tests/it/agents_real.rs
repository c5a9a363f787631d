//! Real agents in sandboxes, on a scripted model: what they ask comes here, and a no is a no however it comes about.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{agents::notes, given::LOOK_AGAIN, program::Home, skip::not_to_be_had};

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

/// It knows a key again by its last twenty characters.
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
END"#,
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

fn is_there(agent: &Agent) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|it| it.join(agent.name).exists());
    if !found {
        not_to_be_had(&format!("{} on PATH (npm has it)", agent.name));
    }
    found
}

/// A sandbox in which a model answers by a script, and asks wait for so long.
fn with_model(agent: &Agent, within: &str) -> Home {
    let home = Home::new();
    let own = home.config().join("agents");
    std::fs::create_dir_all(&own).unwrap();
    let mut profile = agent.profile.replace("--timeout 5m", &format!("--timeout {within}"));
    for (from, to) in agent.amends {
        profile = profile.replace(from, to);
    }
    std::fs::write(own.join(agent.name).with_extension("toml"), profile).unwrap();
    let model = home.workspace().join("model.py");
    std::fs::write(&model, MODEL).unwrap();
    let env = agent.env.iter().flat_map(|it| ["--env", it]);
    let mut words = vec!["run", "-d", "--name", "box", "--egress", "deny"];
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
const SLOW: Duration = Duration::from_secs(240);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

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

/// Types a task once it has nothing else to do.
fn type_in(home: &Home, task: &str) {
    home.ok(&["send", "box/2", task]);
    shows(home, task);
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
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = with_model(agent, "5m");
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
    // What asks dies: that is no yes.
    shows(&home, "rather-not-two");
    type_in(&home, "RUN touch three");
    let id = one_waits(&home, "touch three");
    home.ok(&["exec", "box", "--", "pkill", "-9", "-f", "sandwatch hook"]);
    let state = || home.json(&["approvals", "show", &id, "--json"])["state"].clone();
    in_time(&home, "nobody waits", || state() == "withdrawn");
    assert!(!is_made(&home, "three"));
}

/// What every agent does when nobody answers.
fn is_denied_in_time(agent: &Agent) {
    if !is_there(agent) {
        return;
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = with_model(agent, "3s");
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
