//! What is decided of an ask before a person sees it: by rules, in a bounded time, and with a look at where links
//! lead. In every doubt it is asked.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

use super::Inner;
use crate::{
    base::{clock::Timestamp, limits::RULES_WITHIN, text::shown},
    model::{
        ask::{Ask, AskKind, AskState, Decision, Request, RiskLevel, Verdict},
        sandbox::{Workspace, WorkspaceMode},
    },
    policy::{
        details::directories,
        path::plain,
        rules::{self, InForce, Outcome, Ruling, judge},
    },
};

/// What is told of a path, in bytes.
const SHOWN_BYTES: usize = 200;

impl Inner {
    /// What the rules say, and whether all that is there to be said is known: a file of rules that can't be read may
    /// deny anything. A link on the way is told among the risks.
    pub(super) async fn judged(
        &self,
        ask: &mut Ask,
        workspace: &Workspace,
        now: Timestamp,
    ) -> (Outcome, bool) {
        let in_force = self.rules(workspace).await;
        let whole = in_force.whole;
        let (request, workspace) = (ask.asked.request.clone(), workspace.clone());
        let work = move || look(&in_force, &request, &workspace, now);
        let judged = tokio::time::timeout(RULES_WITHIN, tokio::task::spawn_blocking(work)).await;
        let Ok(Ok((outcome, way))) = judged else {
            // What they deny is not known.
            return (asked("the rules did not answer in time".to_owned()), false);
        };
        if let Way::Link(path) = way {
            ask.risk.level = RiskLevel::High;
            ask.risk.findings.insert(0, format!("a part of its path is a link: {path}"));
        }
        (outcome, whole)
    }
}

fn asked(because: String) -> Outcome {
    Outcome { ruling: Ruling::Ask, by: Vec::new(), because }
}

/// Whether a path leads where its text says.
enum Way {
    /// It does, as far as can be seen from here.
    Plain,
    /// This part of the workspace has a link on the way.
    Link(String),
    /// It can't be looked at.
    Unseen,
}

fn look(
    in_force: &InForce,
    request: &Request,
    workspace: &Workspace,
    now: Timestamp,
) -> (Outcome, Way) {
    let (outcome, way) = (judge(in_force, request, &workspace.path, now), way(request, workspace));
    let because = match &way {
        Way::Link(path) => format!("a part of its path is a link: {path}"),
        Way::Unseen => "where its path leads can't be seen".to_owned(),
        Way::Plain => return (outcome, way),
    };
    let allowed = outcome.ruling == Ruling::Allow;
    (if allowed { asked(because) } else { outcome }, way)
}

/// Looks for links in the real directory. What lies in a copy-on-write workspace instead of it is not seen, nor is
/// anything outside of the workspace.
fn way(request: &Request, workspace: &Workspace) -> Way {
    let root = &workspace.path;
    let paths: Vec<PathBuf> = match request.kind {
        AskKind::File => rules::paths(request, root),
        AskKind::Exec => directories(request).map(|it| plain(&root.join(it))).collect(),
        _ => return Way::Plain,
    };
    let inside = paths.iter().filter_map(|it| it.strip_prefix(root).ok());
    let inside: Vec<&Path> = inside.filter(|it| !it.as_os_str().is_empty()).collect();
    if inside.is_empty() || workspace.mode == WorkspaceMode::None {
        return Way::Plain;
    }
    let Ok(directory) = open(CWD, root, ResolveFlags::empty()) else { return Way::Unseen };
    let mut unseen = false;
    for path in inside {
        match open(&directory, path, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
            // As far as it is there, no part of it is a link.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::LOOP) => return Way::Link(shown(&path.to_string_lossy(), SHOWN_BYTES)),
            Err(_) => unseen = true,
        }
    }
    if unseen { Way::Unseen } else { Way::Plain }
}

/// Opens what lies there without reading it or waiting for it.
fn open(at: impl std::os::fd::AsFd, path: &Path, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    openat2(at, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how)
}

/// Whether an answer of before may answer this: one that allows does so only while it is known what rules deny.
pub(super) fn may_answer(decision: &Decision, whole: bool) -> bool {
    whole || decision.answer.verdict == Verdict::Deny
}

/// Decisions that came into force, in the order in which they were made.
pub(super) fn decided(ended: Vec<Ask>) -> Vec<(Ask, Decision)> {
    // One of which nothing came is kept with how it ended instead.
    let came =
        ended.into_iter().filter(|it| matches!(it.state, AskState::Allowed | AskState::Denied));
    let mut decided: Vec<(Ask, Decision)> =
        came.filter_map(|it| it.decision.clone().map(|decision| (it, decision))).collect();
    decided.sort_by_key(|(_, decision)| decision.at);
    decided
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{
        base::id::{AskId, SandboxId},
        model::ask::{Answer, Asked, Risk, Scope},
        policy::rules::{Rule, Subject},
    };

    fn request(kind: AskKind, subject: &str) -> Request {
        let subject = subject.to_owned();
        Request { kind, subject, details: Vec::new(), reason: None, agent: None }
    }

    fn decision(at: i64, verdict: Verdict) -> Decision {
        let answer = Answer { verdict, scope: Scope::Hour, message: None };
        Decision::new(answer, at.to_string(), Timestamp(at), 0)
    }

    #[test]
    fn a_path_with_a_link_in_it_is_asked_whatever_its_text_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".git/hooks")).unwrap();
        fs::create_dir_all(dir.path().join("src/a")).unwrap();
        fs::write(dir.path().join("src/a/file"), "").unwrap();
        symlink("../.git", dir.path().join("src/l")).unwrap();
        symlink("nowhere", dir.path().join("src/a/dangling")).unwrap();
        let rule = |id: &str, subject| Rule {
            id: id.to_owned(),
            ruling: Ruling::Allow,
            subject,
            why: String::new(),
            until: None,
        };
        let rules = vec![
            rule("src", Subject::Path("src/**".to_owned())),
            rule("out", Subject::Path("/elsewhere/**".to_owned())),
            rule("ls", Subject::Command(vec![vec!["ls".to_owned()]])),
        ];
        let in_force = InForce { rules, whole: true };
        let mut workspace = Workspace { path: dir.path().to_owned(), mode: WorkspaceMode::Rw };
        for (kind, subject, cwd, ruling) in [
            (AskKind::File, "src/a/file", None, Ruling::Allow),
            (AskKind::File, "src/a/new", None, Ruling::Allow),
            (AskKind::File, "src/b/c/new", None, Ruling::Allow),
            (AskKind::File, "src/a/file/x", None, Ruling::Allow),
            (AskKind::File, "src/l/hooks/pre-commit", None, Ruling::Ask),
            (AskKind::File, "src/l", None, Ruling::Ask),
            (AskKind::File, "src/a/dangling", None, Ruling::Ask),
            (AskKind::File, "hooks/x", Some("src/l"), Ruling::Ask),
            (AskKind::File, "/elsewhere/x", None, Ruling::Allow),
            (AskKind::Exec, "ls", None, Ruling::Allow),
            (AskKind::Exec, "ls", Some("src/a"), Ruling::Allow),
            (AskKind::Exec, "ls", Some(""), Ruling::Allow),
            (AskKind::Exec, "ls", Some("src/l"), Ruling::Ask),
        ] {
            let mut request = request(kind, subject);
            request.details.extend(cwd.map(|it| ("cwd".to_owned(), it.to_owned())));
            let (out, _) = look(&in_force, &request, &workspace, Timestamp(0));
            assert_eq!(out.ruling, ruling, "{subject} {cwd:?}: {}", out.because);
        }
        // What can't be seen is asked.
        workspace.path = dir.path().join("gone");
        let (out, way) =
            look(&in_force, &request(AskKind::File, "src/a"), &workspace, Timestamp(0));
        assert!(out.ruling == Ruling::Ask && matches!(way, Way::Unseen), "{}", out.because);
    }

    #[test]
    fn an_answer_holds_for_its_hour_and_allows_nothing_while_rules_are_not_known() {
        let hour = 3_600_000;
        let allowed = decision(100, Verdict::Allow);
        let holds = |now| allowed.holds(Timestamp(now));
        // The last of these: the clock was set back.
        assert!(holds(100) && holds(99 + hour) && !holds(100 + hour) && !holds(99));
        assert!(may_answer(&allowed, true) && !may_answer(&allowed, false));
        assert!(may_answer(&decision(100, Verdict::Deny), false));
    }

    #[test]
    fn decisions_are_taken_up_in_the_order_in_which_they_were_made_and_only_if_something_came_of_them()
     {
        let ask = |created: i64, state, decision| Ask {
            asked: Asked {
                id: AskId::random(),
                request: request(AskKind::Exec, "x"),
                session: None,
                created_at: Timestamp(created),
                deadline_at: Timestamp(9999),
                askers: 1,
                about: Vec::new(),
                editable: false,
            },
            sandbox: SandboxId::random(),
            sandbox_name: String::new(),
            digest: String::new(),
            risk: Risk { level: RiskLevel::Low, findings: Vec::new() },
            state,
            decision,
        };
        let ended = vec![
            ask(3, AskState::Withdrawn, Some(decision(60, Verdict::Allow))),
            ask(2, AskState::Allowed, Some(decision(40, Verdict::Allow))),
            // Asked first and answered last.
            ask(1, AskState::Denied, Some(decision(50, Verdict::Deny))),
            ask(0, AskState::Expired, None),
        ];
        let order: Vec<i64> = decided(ended).iter().map(|it| it.1.at.0).collect();
        assert_eq!(order, [40, 50]);
    }
}
