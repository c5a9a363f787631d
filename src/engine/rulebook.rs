//! Rules as people work on them: which there are and how often they answered, what a new one would do, and how one is
//! made or taken out. Decision 0024.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Inner,
    audit::words,
    hits::Answered,
    reach::{NOWHERE, Setting, bare, drafts},
    rules::{hash, named},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{
            ASKS_LISTED_BYTES_MAX, REACH_ASKS_MAX, RULEBOOK_WITHIN, RULES_CHANGE_WITHIN,
            RULES_WRITTEN_BYTES_MAX,
        },
        text::{shown, visible},
    },
    config::{
        policy::{
            Entry,
            domain::entries,
            edit::{block, entry_of, id_for, preamble, with, without, written},
        },
        source::{self, FILE_BYTES_MAX, Over},
    },
    model::{
        ask::{Ask, AskState, Choice, Verdict},
        audit::Action,
        rule::{Domain, Draft, KnownRule, Proposal, Question, RuleName, Rulebook, Ruling},
        sandbox::{Workspace, WorkspaceMode},
    },
    policy::{
        details, propose, risk,
        rules::{Rule, judge},
    },
    runtime::Identity,
    wire::stored,
};

impl Inner {
    pub(super) async fn rulebook(self: &Arc<Self>) -> Outcome<Rulebook> {
        let until = clock::monotonic() + RULEBOOK_WITHIN;
        let (engine, directory) = (Arc::clone(self), self.paths.projects());
        let doing = format!("looking through {}", directory.display());
        let look = move || Ok(engine.projects());
        let looked = self.rules.listing.within(RULEBOOK_WITHIN, &doing, look).await;
        let (projects, wrong) = match looked {
            Err(fault) if fault.kind() == Kind::Late => (Vec::new(), vec![fault.to_string()]),
            looked => looked?,
        };
        let mut book = Rulebook { rules: Vec::new(), wrong };
        let hits = self.store.rule_hits().await?;
        let domains = std::iter::once(Domain::All).chain(projects.into_iter().map(Domain::Project));
        for domain in domains {
            let file = self.rule_file(&domain).display().to_string();
            if clock::monotonic() >= until {
                book.wrong.push(format!("{file}: it was not looked at, the others took too long"));
                continue;
            }
            let in_force = {
                // Every ask wants it too.
                match self.rules.turn().await {
                    Ok(_turn) => self.read_rules(&domain).await,
                    Err(fault) => {
                        book.wrong.push(format!("{file}: it was not looked at: {fault}"));
                        continue;
                    }
                }
            };
            if !in_force.whole {
                book.wrong.push(format!("{file}: it can't be understood, and allows nothing"));
            }
            for rule in in_force.iter() {
                let rule = Rule { id: bare(&rule.id).to_owned(), ..rule.clone() };
                let hit = hits.iter().find(|it| it.file == file && it.id == rule.id);
                book.rules.push(KnownRule {
                    hits: hit.map_or(0, |it| it.hits),
                    last_at: hit.map(|it| Timestamp(it.last_at)),
                    ..rule.known(domain.clone(), &file)
                });
            }
        }
        Ok(book)
    }

    pub(super) async fn propose(self: &Arc<Self>, question: Question) -> Outcome<Proposal> {
        match question {
            Question::Answer { ask, digest, choice } => {
                let found = self.fleet().shown_ask(&ask, &digest);
                match found {
                    Some(ask) => self.answer_would(&ask?, &choice).await,
                    None => Err(self.why_not(&ask).await),
                }
            }
            Question::Rules { text, domain } => {
                let entries = read(&text)?;
                let setting = self.setting(domain).await?;
                Ok(Proposal { drafts: drafts(setting, entries).await?, ..Proposal::default() })
            }
            Question::Rule(name) => {
                let setting = self.setting(name.domain.clone()).await?;
                let all = self.file_entries(&name.domain).await?;
                let entry = all.into_iter().find(|it| it.rule.id == name.id);
                let entry = entry.ok_or_else(|| no_rule(&name.id))?;
                let drafts = drafts(setting, vec![entry]).await?;
                let there = drafts.into_iter().map(|it| Draft { refused: None, ..it });
                Ok(Proposal { drafts: there.collect(), ..Proposal::default() })
            }
        }
    }

    /// What an answer would do beside answering.
    pub(super) async fn answer_would(
        self: &Arc<Self>,
        ask: &Ask,
        choice: &Choice,
    ) -> Outcome<Proposal> {
        let mut proposal = Proposal::default();
        let workspace = self.fleet().get(&ask.sandbox)?.sandbox.workspace.clone();
        if let Some(edit) = &choice.edit {
            let edited = self.edited(ask, edit, &workspace).await?;
            proposal.risk = Some(edited.risk);
        }
        if choice.answer.scope.is_rule() {
            let (_, draft) = self.rule_of(ask, choice, &workspace).await?;
            proposal.drafts.push(draft);
        }
        Ok(proposal)
    }

    /// The ask in other words, if nothing forbids those.
    pub(super) async fn edited(
        &self,
        ask: &Ask,
        edit: &str,
        workspace: &Workspace,
    ) -> Outcome<Ask> {
        if !ask.asked.editable {
            return Err(Fault::unsupported(
                "who asks can do it in no other words than it asked in",
            )
            .hint("deny it, with a message that says what to do instead"));
        }
        let mut edited = ask.clone();
        edit.clone_into(&mut edited.asked.request.subject);
        let request = &edited.asked.request;
        if edit.trim().is_empty() || request.bytes() > crate::base::limits::ASK_BYTES_MAX {
            return Err(Fault::invalid(
                "what is allowed instead is empty, or too long to be looked through",
            ));
        }
        edited.risk = risk::look(request, &workspace.path);
        let (outcome, whole) = self.judged(&mut edited, workspace, clock::wall()).await;
        if outcome.ruling == Ruling::Deny {
            return Err(Fault::denied(format!(
                "nobody may allow that: {}",
                visible(&outcome.because)
            )));
        }
        if !whole {
            return Err(Fault::failed(
                "what the rules deny is not known now, so nothing is allowed in other words",
            )
            .hint("sandwatch policy check tells what is wrong with them"));
        }
        Ok(edited)
    }

    /// The rule that an answer would make, and what is to be known of it.
    pub(super) async fn rule_of(
        &self,
        ask: &Ask,
        choice: &Choice,
        workspace: &Workspace,
    ) -> Outcome<(Entry, Draft)> {
        if choice.edit.is_some() {
            return Err(Fault::invalid("a rule is made of what was asked for, not of other words"));
        }
        let domain = domain_of(choice, workspace)?;
        let setting = self.setting(domain).await?;
        let (request, verdict) = (&ask.asked.request, choice.answer.verdict);
        let ruling = match verdict {
            Verdict::Allow => Ruling::Allow,
            Verdict::Deny => Ruling::Deny,
        };
        let entry = match &choice.rule {
            Some(text) => one(read(text)?)?,
            None => {
                let below = matches!(setting.domain, Domain::Project(_));
                let subject = propose::subject(request, &workspace.path, ruling, below);
                let subject = subject.map_err(|why| {
                    Fault::unsupported(format!("no rule can be made of it: {why}"))
                        .hint("answer it once, or for the session")
                })?;
                let id = id_for(&subject, |id| setting.own.iter().any(|it| it == id));
                let why = choice.answer.message.clone();
                let why = why.unwrap_or_else(|| match verdict {
                    Verdict::Allow => format!("allowed when {} asked", ask.sandbox_name),
                    Verdict::Deny => format!("denied when {} asked", ask.sandbox_name),
                });
                entry_of(Rule { id, ruling, subject, why: visible(&why), until: None })
            }
        };
        let fits = {
            let lasting = [Rule { until: None, ..entry.rule.clone() }];
            let outcome = judge(&lasting, request, &workspace.path, clock::wall());
            !outcome.by.is_empty() && outcome.ruling == ruling
        };
        let mut draft = one(drafts(setting, vec![entry.clone()]).await?)?;
        if !fits {
            let why = format!("it does not {} what is asked for", verdict.word());
            draft.refused.get_or_insert(why);
        }
        Ok((entry, draft))
    }

    /// Makes rules; all or none.
    pub(super) async fn add_rules(
        self: &Arc<Self>,
        who: &Identity,
        text: &str,
        domain: Domain,
    ) -> Outcome<Vec<KnownRule>> {
        let entries = read(text)?;
        let setting = self.setting(domain.clone()).await?;
        let drafts = drafts(setting, entries.clone()).await?;
        let refused: Vec<String> = drafts
            .iter()
            .filter_map(|it| it.refused.as_ref().map(|why| format!("rule {}: {why}", it.name.id)))
            .collect();
        if !refused.is_empty() {
            return Err(Fault::invalid(refused.join("\n")).hint("nothing was changed"));
        }
        self.put_rules(who, &domain, entries).await
    }

    /// Makes rules that were looked at, and that nothing is against.
    pub(super) async fn put_rules(
        self: &Arc<Self>,
        who: &Identity,
        domain: &Domain,
        entries: Vec<Entry>,
    ) -> Outcome<Vec<KnownRule>> {
        let (who, domain) = (who.clone(), domain.clone());
        self.changing(async move |engine| {
            let before = engine.rules.text(&engine.rule_file(&domain)).await?;
            let mut after = match (&before, &domain) {
                (Some(text), _) => text.clone(),
                (None, Domain::All) => String::new(),
                (None, Domain::Project(workspace)) => {
                    let workspace = workspace.to_str().ok_or_else(|| {
                        Fault::unsupported(
                            "a directory whose name is no UTF-8 has no rules of its own",
                        )
                    })?;
                    preamble(workspace)
                }
            };
            let blocks: Vec<String> = entries.iter().map(block).collect();
            for it in &blocks {
                after = with(&after, it);
            }
            let ids = entries.iter().map(|it| it.rule.id.clone()).collect();
            let change = ("added", ids, blocks.join("\n"));
            engine.write_rules(&who, &domain, before, after, change).await?;
            engine.answer_waiting();
            let file = engine.rule_file(&domain).display().to_string();
            Ok(entries.iter().map(|it| it.rule.known(domain.clone(), &file)).collect())
        })
        .await
    }

    /// Takes a rule out of its file; where a hash is given, only the one that has it.
    pub(super) async fn remove_rule(
        self: &Arc<Self>,
        who: &Identity,
        name: &RuleName,
        made: Option<&str>,
    ) -> Outcome<KnownRule> {
        let (who, name, made) = (who.clone(), name.clone(), made.map(str::to_owned));
        self.changing(async move |engine| {
            let path = engine.rule_file(&name.domain);
            let before = engine.rules.text(&path).await?.ok_or_else(|| no_rule(&name.id))?;
            let file = path.display().to_string();
            let all = entries(&name.domain, &file, &before)?;
            let entry = all.into_iter().find(|it| it.rule.id == name.id);
            let entry = entry.ok_or_else(|| no_rule(&name.id))?;
            if made.is_some_and(|it| it != hash(&block(&entry))) {
                let text = format!("rule {} is not the one that the answer made any more", name.id);
                return Err(Fault::failed(text)
                    .hint("it stays; if it is to go all the same: sandwatch policy rm"));
            }
            let is_project = matches!(name.domain, Domain::Project(_));
            let (after, taken) = without(&before, &name.id, is_project)?;
            let change = ("removed", vec![name.id.clone()], taken);
            engine.write_rules(&who, &name.domain, Some(before), after, change).await?;
            let hits = engine.store.forget_hits(file.clone(), name.id.clone()).await?;
            Ok(KnownRule {
                hits: hits.as_ref().map_or(0, |it| it.hits),
                last_at: hits.map(|it| Timestamp(it.last_at)),
                ..entry.rule.known(name.domain.clone(), &file)
            })
        })
        .await
    }

    /// Changes rules when it is their turn, which is kept to the end of that, however long a file takes; who wants it waits
    /// a bounded time.
    async fn changing<T, F>(
        self: &Arc<Self>,
        change: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send,
    {
        let (turn, engine) = (self.rules.turn().await?, Arc::clone(self));
        let done = Self::detached(async move {
            let done = change(engine).await;
            drop(turn);
            done
        });
        let done = tokio::time::timeout(RULES_CHANGE_WITHIN, done).await;
        done.unwrap_or_else(|_| {
            Err(Fault::late("changing the rules takes too long").hint(
                "it may still be done: sandwatch policy show tells what is in force, and \
                 sandwatch audit ls who did it",
            ))
        })
    }

    /// Writes a file of rules, and who did it into the audit record: both or neither. For whoever has the turn, and waits
    /// as long as that takes.
    async fn write_rules(
        &self,
        who: &Identity,
        domain: &Domain,
        before: Option<String>,
        after: String,
        (change, ids, rules): (&str, Vec<String>, String),
    ) -> Outcome<()> {
        let path = self.rule_file(domain);
        let name = path.display().to_string();
        if after.len() > FILE_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "{name} would be larger than {FILE_BYTES_MAX} bytes"
            )));
        }
        let left = entries(domain, &name, &after)?.len();
        let (to, text, was) = (path.clone(), after.clone(), before.clone());
        let write = move || source::write(&to, Over::This(was.as_deref()), &text);
        self.rules.files.to_its_end(write).await?;
        let act = words::by_client(who, Action::PolicyChanged, &name)
            .with("change", change)
            .with("rules", ids)
            .with("rule_text", rules.as_str())
            .with("rule_sha256", hash(&rules))
            .with("sha256", hash(&after))
            .with("rules_in_force", left as u64);
        if let Err(fault) = self.store.record(vec![act]).await {
            let undo = move || match before {
                Some(before) => source::write(&path, Over::This(Some(&after)), &before),
                None => take_away(&path, &after),
            };
            let undone = self.rules.files.to_its_end(undo).await;
            let undone = undone.map_or_else(
                |it| format!(", and {name} is not as it was: {it}"),
                |()| String::new(),
            );
            return Err(Fault::failed(format!(
                "the audit record can't be written, so no rule is changed: {fault}{undone}"
            ))
            .hint("look whether the disk is full or can't be written: sandwatch doctor"));
        }
        self.rules_written(&path, &after);
        self.read_rules(domain).await;
        Ok(())
    }

    async fn file_entries(&self, domain: &Domain) -> Outcome<Vec<Entry>> {
        let Some(text) = self.rules.text(&self.rule_file(domain)).await? else {
            return Ok(Vec::new());
        };
        entries(domain, &self.rule_file(domain).display().to_string(), &text)
    }

    /// What rules of a domain are held against. A file that can't be understood takes no more rules.
    async fn setting(&self, domain: Domain) -> Outcome<Setting> {
        let workspace = match &domain {
            Domain::All => Workspace { path: PathBuf::from(NOWHERE), mode: WorkspaceMode::None },
            Domain::Project(path) => {
                if !path.is_absolute() {
                    return Err(Fault::invalid("the directory of rules must start with `/`"));
                }
                Workspace { path: path.clone(), mode: WorkspaceMode::Rw }
            }
        };
        let own = self.file_entries(&domain).await?.into_iter().map(|it| it.rule.id).collect();
        let in_force = self.rules(&workspace).await;
        let kept = self.store.asks(REACH_ASKS_MAX, ASKS_LISTED_BYTES_MAX).await?;
        let read = kept.iter().filter_map(|it| stored::ask(it).ok());
        let ended: Vec<Ask> = read.filter(|it| it.state != AskState::Pending).collect();
        let places: Vec<Option<PathBuf>> = {
            let fleet = self.fleet();
            let place = |it: &Ask| fleet.get(&it.sandbox).ok();
            let places = ended.iter().map(place);
            places.map(|it| it.map(|it| it.sandbox.workspace.path.clone())).collect()
        };
        let placed =
            ended.into_iter().zip(places).filter_map(|(ask, place)| match (&domain, place) {
                (Domain::All, Some(it)) => Some((ask, it)),
                // Of a sandbox that is no more it is known where its program was.
                (Domain::All, None) => {
                    let asked_in = {
                        let mut all = details::directories(&ask.asked.request);
                        all.find(|it| it.is_absolute()).map(Path::to_owned)
                    };
                    Some((ask, asked_in.unwrap_or_else(|| PathBuf::from(NOWHERE))))
                }
                (Domain::Project(of), Some(it)) => (it == *of).then_some((ask, it)),
                (Domain::Project(_), None) => None,
            });
        let asks = Arc::new(placed.collect());
        let file = self.rule_file(&domain).display().to_string();
        Ok(Setting { domain, file, in_force, own, asks, now: clock::wall() })
    }

    /// Rules that have answered in a sandbox, by their files.
    pub(super) fn answered(
        &self,
        id: &SandboxId,
        names: &[String],
        at: Timestamp,
        times: u64,
    ) -> Option<Answered> {
        let workspace = self.fleet().get(id).ok()?.sandbox.workspace.path.clone();
        let rules = names.iter().map(|it| {
            let name = named(it, &workspace);
            (self.rule_file(&name.domain).display().to_string(), name.id)
        });
        Some(Answered { rules: rules.collect(), at: at.0, times })
    }
}

fn no_rule(id: &str) -> Fault {
    Fault::absent(format!("there is no rule {}", shown(id, 64))).hint("see `sandwatch policy show`")
}

/// For which sandboxes the rule of an answer is.
pub(super) fn domain_of(choice: &Choice, workspace: &Workspace) -> Outcome<Domain> {
    match choice.answer.scope {
        crate::model::ask::Scope::Always => Ok(Domain::All),
        _ if workspace.mode == WorkspaceMode::None => Err(Fault::unsupported(
            "the sandbox has no workspace, so there is no directory for a rule of its own",
        )),
        _ => Ok(Domain::Project(workspace.path.clone())),
    }
}

fn read(text: &str) -> Outcome<Vec<Entry>> {
    if text.len() > RULES_WRITTEN_BYTES_MAX {
        return Err(Fault::invalid(format!("rules of more than {RULES_WRITTEN_BYTES_MAX} bytes")));
    }
    let entries = written(text)?;
    match entries.is_empty() {
        true => Err(Fault::invalid("there is no rule in it")),
        false => Ok(entries),
    }
}

fn one<T>(mut all: Vec<T>) -> Outcome<T> {
    match (all.pop(), all.is_empty()) {
        (Some(it), true) => Ok(it),
        _ => Err(Fault::invalid("it is one rule that is made, not several")),
    }
}

/// Takes a file away that was made just before and still says what was put into it.
fn take_away(path: &Path, says: &str) -> Outcome<()> {
    if source::read(path)?.as_deref() != Some(says) {
        return Err(Fault::failed(format!("{} was changed meanwhile", path.display())));
    }
    std::fs::remove_file(path)
        .map_err(|error| Fault::io(format!("removing {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;
    use crate::{
        base::id::ClientId,
        engine::demo,
        model::audit::{Act, AuditRequest},
    };

    #[tokio::test]
    async fn a_file_that_hangs_is_written_with_who_did_it_when_it_hangs_no_more() {
        let home = tempfile::tempdir().unwrap();
        let engine = demo(home.path().to_owned(), 1).await.unwrap();
        let engine = Arc::clone(&engine.inner);
        let path = engine.rule_file(&Domain::All);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let who = Identity { client: ClientId::random(), name: "somebody".to_owned(), peer: None };
        let (go, hangs) = std::sync::mpsc::sync_channel::<()>(1);
        // What is done with files waits behind this one.
        let (begun, began) = tokio::sync::oneshot::channel();
        let hanging = engine.rules.files.clone();
        tokio::spawn(async move {
            let hang = move || {
                begun.send(()).ok();
                hangs.recv().ok();
                Ok(())
            };
            hanging.to_its_end(hang).await
        });
        began.await.unwrap();
        let text = "[[rule]]\nid = \"x\"\nverdict = \"deny\"\nhost = \"x.example\"\n";
        let of = who.clone();
        let late = engine.changing(async move |engine| {
            let change = ("added", vec!["x".to_owned()], text.to_owned());
            engine.write_rules(&of, &Domain::All, None, text.to_owned(), change).await
        });
        let late: Fault = late.await.unwrap_err();
        assert_eq!(late.kind(), Kind::Late);
        assert!(late.hint_text().is_some_and(|it| it.contains("may still be done")), "{late}");
        // Nothing is begun meanwhile, and nothing allowed.
        let workspace = Workspace { path: NOWHERE.into(), mode: WorkspaceMode::None };
        assert!(!engine.rules(&workspace).await.whole);
        let name = RuleName { id: "x".to_owned(), domain: Domain::All };
        let second = engine.remove_rule(&who, &name, None).await.unwrap_err();
        assert_eq!(second.kind(), Kind::Late);
        assert!(!path.exists());
        go.send(()).unwrap();
        // Whoever has the turn after it finds both.
        while !engine.rules(&workspace).await.whole {}
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let mut pages = engine.audit(AuditRequest::default()).await.unwrap();
        let mut acts: Vec<Act> = Vec::new();
        while let Some(page) = pages.next().await {
            acts.extend(page.unwrap().into_iter().map(|it| it.act));
        }
        acts.retain(|it| it.action == Action::PolicyChanged.word());
        let said: Vec<_> = acts.iter().map(|it| (it.actor.as_str(), it.text("change"))).collect();
        assert_eq!(said, [("somebody", Some("added"))]);
        assert_eq!(engine.rules(&workspace).await.len(), 1);
    }

    #[test]
    fn a_file_that_was_made_goes_again_only_while_it_says_what_was_put_in() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rules.toml");
        source::write(&file, Over::This(None), "one").unwrap();
        assert!(take_away(&file, "two").is_err() && file.exists());
        take_away(&file, "one").unwrap();
        assert!(!file.exists());
    }
}
