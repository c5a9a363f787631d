//! `ask`, and the way to a person from inside a sandbox: its socket, on which nothing else can be said.

use std::time::Duration;

use tokio::net::UnixStream;

use super::{args::AskArgs, json::AnswerView, out};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::ANSWER_WITHIN,
        text,
    },
    config::{environment::Variable, paths::SocketPath},
    model::ask::{Request, Verdict},
    session::asks::Said,
    wire::{
        convert::{ask::edit_in, milliseconds},
        shim::{Frames, Plea, Reply, reply, send},
    },
};

pub async fn ask(args: AskArgs) -> Outcome<out::Code> {
    if args.reach {
        return reach().await.map(|_| out::DONE);
    }
    let details = args.detail.into_iter().map(|it| (it.key, it.value)).collect();
    let request = Request {
        kind: args.kind,
        subject: args.subject.unwrap_or_default(),
        details,
        reason: args.reason,
        agent: None,
    };
    let (answer, edit) = person(&request, args.timeout, None, args.editable).await?;
    if args.json {
        out::json(&AnswerView::new(&answer, edit.as_deref()))?;
    } else if args.editable {
        if let Some(message) = &answer.message {
            out::tell(message);
        }
        if answer.verdict == Verdict::Allow {
            // It is to be run, byte for byte.
            out::print(&format!("{}\n", edit.as_deref().unwrap_or(&request.subject)))?;
        }
    } else if let Some(message) = &answer.message {
        out::print(&format!("{}\n", text::visible(message)))?;
    }
    match answer.verdict {
        Verdict::Allow => Ok(out::DONE),
        Verdict::Deny if args.json => Ok(out::code_of(Kind::Denied)),
        Verdict::Deny => Err(Fault::denied("a person said no")),
    }
}

/// The agent that speaks, its own word for how it asks, and what happens in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    pub agent: String,
    pub mode: Option<String>,
    pub happens: Option<String>,
    /// The tool, or the kind of remark, that it is about.
    pub about: Option<String>,
    /// Tells calls of tools with other arguments apart.
    pub call: Option<String>,
    pub note: Option<String>,
}

fn plea(speaker: Option<&Speaker>) -> Plea {
    Plea {
        session: Variable::Session.text(),
        agent: speaker.map(|it| it.agent.clone()),
        mode: speaker.and_then(|it| it.mode.clone()),
        happens: speaker.and_then(|it| it.happens.clone()),
        about: speaker.and_then(|it| it.about.clone()),
        call: speaker.and_then(|it| it.call.clone()),
        note: speaker.and_then(|it| it.note.clone()),
        ..Plea::default()
    }
}

/// Asks a person, from inside a sandbox. `Late` when nobody answers in time. What is allowed may be in other words only
/// where that is fine.
pub async fn person(
    request: &Request,
    within: Duration,
    speaker: Option<&Speaker>,
    editable: bool,
) -> Outcome<Said> {
    let plea = Plea {
        request: Some(request.into()),
        within_ms: Some(milliseconds(within)),
        editable,
        ..plea(speaker)
    };
    match speak(&plea, within).await? {
        reply::What::Answer(answer) => {
            let edit = edit_in(&answer)?;
            if edit.is_some() && !editable {
                return Err(Fault::failed("something else is allowed than what was asked for"));
            }
            Ok((answer.try_into()?, edit))
        }
        reply::What::Fault(fault) => Err(fault.into()),
        reply::What::Done(_) => Err(Fault::lost("no answer came")),
    }
}

/// Tells that what was asked, this or all of it, was answered elsewhere.
pub async fn over(request: Option<&Request>, speaker: &Speaker) -> Outcome<()> {
    let plea = Plea { request: request.map(Into::into), over: true, ..plea(Some(speaker)) };
    done(&plea).await
}

/// Tells that an agent is there, how it asks, and what happens in it.
pub async fn news(speaker: &Speaker) -> Outcome<()> {
    done(&Plea { news: true, ..plea(Some(speaker)) }).await
}

async fn done(plea: &Plea) -> Outcome<()> {
    match speak(plea, Duration::ZERO).await? {
        reply::What::Fault(fault) => Err(fault.into()),
        _ => Ok(()),
    }
}

async fn reach() -> Outcome<UnixStream> {
    let outside = || {
        Fault::unsupported("nobody can be asked from here: this is no sandbox that can ask")
            .hint("`sandwatch ask` is for programs in sandboxes of drivers local and docker")
    };
    let path = Variable::Ask.raw().ok_or_else(outside)?;
    let path = SocketPath::open(std::path::Path::new(&path)).map_err(|_| outside())?;
    UnixStream::connect(path.path())
        .await
        .map_err(|error| Fault::lost(format!("reaching who is to be asked: {error}")))
}

async fn speak(plea: &Plea, within: Duration) -> Outcome<reply::What> {
    let (reader, mut writer) = reach().await?.into_split();
    let asked = async {
        send(&mut writer, plea)
            .await
            .map_err(|error| Fault::lost(format!("the question did not get through: {error}")))?;
        let reply = Frames::new(reader).next::<Reply>().await?;
        reply.and_then(|it| it.what).ok_or_else(|| Fault::lost("no answer came"))
    };
    let late = || Fault::late("nobody answered in time");
    // Who holds it answers at its deadline; one that hangs does not.
    tokio::time::timeout(within + ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(late()))
}
