//! What agents' hooks tell of what goes on. They run inside, so it is a claim; facts count before it.

use super::Says;
use crate::{
    base::{limits::NAME_BYTES_MAX, text::shown},
    model::session::Status,
};

/// What is shown of an agent's remark, in bytes.
const NOTE_BYTES_MAX: usize = 200;

/// One run of a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookWord {
    /// The agent, as `hook` names it.
    pub agent: String,
    /// What happens, in the agent's word: `Stop`.
    pub happens: String,
    /// The tool it is about, what is notified, or what a session begins with.
    pub tool: Option<String>,
    /// Tells calls of tools with other arguments apart.
    pub call: Option<String>,
    /// What the agent says beside.
    pub note: Option<String>,
}

impl HookWord {
    /// Bounded, and fit to be shown.
    pub fn new(agent: &str, happens: &str) -> Self {
        let word = |it: &str| shown(it, NAME_BYTES_MAX);
        Self { agent: word(agent), happens: word(happens), ..Self::default() }
    }

    #[must_use]
    pub fn about(mut self, tool: Option<&str>, call: Option<&str>, note: Option<&str>) -> Self {
        let word = |it: &str, most| Some(it).filter(|it| !it.is_empty()).map(|it| shown(it, most));
        self.tool = tool.and_then(|it| word(it, NAME_BYTES_MAX));
        self.call = call.and_then(|it| word(it, 2 * NAME_BYTES_MAX));
        self.note = note.and_then(|it| word(it, NOTE_BYTES_MAX));
        self
    }

    /// A person had a word: what it did before is no sign of going round in circles.
    pub(super) fn begins_anew(&self) -> bool {
        match self.happens.as_str() {
            "SessionStart" => !self.is_compaction(),
            it => matches!(
                it,
                "UserPromptSubmit"
                    | "BeforeAgent"
                    | "beforeSubmitPrompt"
                    | "Stop"
                    | "AfterAgent"
                    | "stop"
                    | "StopFailure"
                    | "SessionEnd"
            ),
        }
    }

    /// It begins anew by itself, in the middle of what it does.
    fn is_compaction(&self) -> bool {
        self.tool.as_deref() == Some("compact")
    }

    /// What it means for the status; `None` = nothing that is known here.
    pub(super) fn says(&self) -> Option<Says> {
        let agent = &self.agent;
        let tool = self.tool.as_deref().unwrap_or("a tool");
        let says = |what, status, words: String| Some(Says::new(what, status, words));
        match self.happens.as_str() {
            // It may well have been given something to do already, on its command line.
            "SessionStart" if !self.is_compaction() => Some(Says {
                what: "SessionStart",
                words: format!("{agent} has started"),
                ..Says::default()
            }),
            "UserPromptSubmit" | "BeforeAgent" | "beforeSubmitPrompt" => says(
                "UserPromptSubmit",
                Status::Working,
                format!("{agent} was given something to do"),
            ),
            "PreToolUse"
            | "BeforeTool"
            | "PermissionRequest"
            | "beforeShellExecution"
            | "beforeMCPExecution" => {
                says("PreToolUse", Status::Working, format!("{agent} calls {tool}"))
            }
            "PostToolUse" | "AfterTool" => {
                says("PostToolUse", Status::Working, format!("{agent} goes on: {tool} is done"))
            }
            "PostToolUseFailure" => {
                says("PostToolUse", Status::Working, format!("{agent} goes on: {tool} failed"))
            }
            "Notification" => self.notification(),
            "Stop" | "AfterAgent" | "stop" => {
                says("Stop", Status::Idle, format!("{agent} has ended its turn"))
            }
            "StopFailure" => {
                says("Stop", Status::Idle, format!("{agent} broke off its turn{}", self.remark()))
            }
            "SessionEnd" => says("SessionEnd", Status::Idle, format!("{agent} has ended")),
            _ => None,
        }
    }

    fn notification(&self) -> Option<Says> {
        let agent = &self.agent;
        let kind = self.tool.as_deref().unwrap_or_default();
        let (status, words) = match kind {
            "permission_prompt" | "elicitation_dialog" | "agent_needs_input" => {
                (Status::Waiting, "asks at its own prompt")
            }
            "idle_prompt" => (Status::Idle, "waits at its own prompt"),
            _ => return None,
        };
        Some(Says::new("Notification", status, format!("{agent} {words}{}", self.remark())))
    }

    fn remark(&self) -> String {
        self.note.as_ref().map(|it| format!(": {it}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_means_a_status_and_what_is_not_known_means_none() {
        let of = |happens: &str, tool: Option<&str>| {
            let word = HookWord::new("claude", happens).about(tool, None, Some("x\u{1b}[31m"));
            word.says().map(|it| (it.status.unwrap_or(Status::Unknown), it.words))
        };
        // That it is there says nothing of whether it has something to do.
        assert_eq!(of("SessionStart", Some("startup")).unwrap().0, Status::Unknown);
        assert_eq!(of("SessionStart", Some("compact")), None);
        assert_eq!(of("UserPromptSubmit", None).unwrap().0, Status::Working);
        assert_eq!(of("PostToolUse", Some("Bash")).unwrap().1, "claude goes on: Bash is done");
        assert_eq!(of("Stop", None).unwrap().0, Status::Idle);
        let asks = of("Notification", Some("permission_prompt")).unwrap();
        assert_eq!(asks.0, Status::Waiting);
        assert!(asks.1.ends_with(": x␛[31m"), "{}", asks.1);
        assert_eq!(of("Notification", Some("auth_success")), None);
        assert_eq!(of("SubagentStop", None), None);
        assert_eq!(of("TeaTime", None), None);
    }
}
