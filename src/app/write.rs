//! The box in which a rule is written, or what is allowed in place of what was asked for. What it would do is looked at
//! before it is done: the first `enter` looks, the next one does it.

use super::{ask::Tone, effect::EffectId, gate::Gate, line::Editor, records::draft_details};
use crate::{
    base::text::visible,
    model::{
        ask::{Ask, Choice, RiskLevel},
        rule::Proposal,
    },
};

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writing {
    /// The rule that allows an ask and all that are like it.
    Rule { ask: Box<Ask>, choice: Choice },
    /// What is allowed in place of what was asked for.
    Edit { ask: Box<Ask> },
    /// A rule of no ask.
    New,
}

/// The box.
#[derive(Clone, Debug)]
pub struct WriteBox {
    pub what: Writing,
    pub editor: Editor,
    /// What was looked at, and what it would do; `None` until the hub has answered.
    pub(super) weighed: Option<(String, Proposal)>,
    /// What the hub looks at now, and the text that was sent to it.
    pub(super) asked: Option<(EffectId, String)>,
    pub wrong: Option<String>,
    pub gate: Gate,
}

impl WriteBox {
    pub(super) fn new(what: Writing, text: &str, bytes_max: usize, mark: u64) -> Self {
        Self {
            what,
            editor: Editor::new(text, bytes_max),
            weighed: None,
            asked: None,
            wrong: None,
            gate: Gate::new(mark, 0),
        }
    }

    pub fn ask(&self) -> Option<&Ask> {
        match &self.what {
            Writing::Rule { ask, .. } | Writing::Edit { ask } => Some(ask),
            Writing::New => None,
        }
    }

    pub fn title(&self) -> &'static str {
        match self.what {
            Writing::Rule { .. } => "Allow by a rule",
            Writing::Edit { .. } => "Allow in other words",
            Writing::New => "New rule",
        }
    }

    /// What would be done by the text as it is now, if that was looked at.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.weighed.as_ref().filter(|it| it.0 == self.editor.text()).map(|it| &it.1)
    }

    pub fn is_looking(&self) -> bool {
        self.asked.is_some()
    }

    /// What is said of it below the text.
    pub fn says(&self) -> Vec<(String, Tone)> {
        let Some(proposal) = self.proposal() else {
            let text = match (&self.what, self.is_looking()) {
                (_, true) => "the hub looks at it",
                (Writing::New, false) => {
                    "id = \"…\", verdict = \"allow\", command = [\"make\", \"test\"], why = \"…\" \
                     (or path, host, tool; until, match, not_match)"
                }
                (_, false) => "not looked at yet",
            };
            return vec![(text.to_owned(), Tone::Dim)];
        };
        let mut out = Vec::new();
        for draft in &proposal.drafts {
            out.extend(draft.text.lines().map(|it| (format!("  {}", visible(it)), Tone::Subject)));
            out.push((format!("in {}", visible(&draft.file)), Tone::Dim));
            if let Some(why) = &draft.refused {
                out.push((format!("it can't be made: {}", visible(why)), Tone::Error));
            }
            out.extend(draft_details(draft).into_iter().map(|(_, text, tone)| (text, tone)));
        }
        if let Some(risk) = &proposal.risk {
            let tone = match risk.level {
                RiskLevel::Low => Tone::Plain,
                RiskLevel::Medium => Tone::Warning,
                RiskLevel::High => Tone::Error,
            };
            let level = risk.level.word().to_uppercase();
            out.push((format!("risk {level}; no rule denies it"), tone));
            out.extend(risk.findings.iter().map(|it| (format!("! {}", visible(it)), tone)));
        }
        out
    }

    /// Whether what was looked at can be done.
    pub fn is_ready(&self) -> bool {
        let refused = |it: &Proposal| it.drafts.iter().any(|it| it.refused.is_some());
        self.proposal().is_some_and(|it| !refused(it))
    }
}
