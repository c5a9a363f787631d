//! The socket on which programs in the sandbox ask a person. It can do nothing else: whoever speaks on it is not
//! to be trusted with more.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use tokio::{
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ANSWER_WITHIN, ASK_WITHIN, ASK_WITHIN_MAX, ASKERS_MAX, FAREWELL_WITHIN},
    },
    config::paths::SocketPath,
    driver::{ASK_DIR, ASK_PROGRAM, ASK_SOCKET},
    session::{agents::News, asks::Plea as Asking, house::House, status::HookWord},
    wire::{
        convert::{duration, required},
        shim::{Done, Frames, Plea, Reply, reply, send},
        v1::AskAnswer,
    },
};

/// Makes the directory that is shown in the sandbox, with the socket, and a place for this program, which speaks on
/// it.
pub fn open(ground: &Path) -> Outcome<UnixListener> {
    let dir = ground.join(ASK_DIR);
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir);
    // Not by the umask's leave.
    made.and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)))
        .and_then(|()| {
            // A shim before may have left a link: never to be written through.
            drop(fs::remove_file(dir.join(ASK_PROGRAM)));
            fs::File::create_new(dir.join(ASK_PROGRAM)).map(drop)
        })
        .map_err(|error| Fault::io(format!("making {}", dir.display()), &error))?;
    let path = dir.join(ASK_SOCKET);
    drop(fs::remove_file(&path));
    let short = SocketPath::open(&path)?;
    UnixListener::bind(short.path())
        .and_then(|it| fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map(|()| it))
        .map_err(|error| Fault::io(format!("listening on {}", path.display()), &error))
}

/// Serves whoever asks, for as long as it is polled.
pub async fn serve(listener: UnixListener, house: Arc<House>) {
    let mut askers = JoinSet::new();
    let places = Arc::new(Semaphore::new(ASKERS_MAX));
    loop {
        tokio::select! {
            Some(_) = askers.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Beyond the bound a connection is closed at once, which denies.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let house = Arc::clone(&house);
                    askers.spawn(async move {
                        converse(stream, &house).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "somebody who asks was not accepted");
                    tokio::time::sleep(FAREWELL_WITHIN).await;
                }
            },
        }
    }
}

async fn converse(stream: UnixStream, house: &House) {
    let parents = stream.peer_cred().ok().and_then(|it| it.pid()).map(parents).unwrap_or_default();
    let (reader, mut writer) = stream.into_split();
    let mut reader = Frames::new(reader);
    let answered = async {
        let plea = tokio::time::timeout(ANSWER_WITHIN, reader.next::<Plea>()).await;
        let plea = plea.map_err(|_| Fault::late("nothing was asked"))??;
        let plea = plea.ok_or_else(|| Fault::lost("nothing was asked"))?;
        let session = || house.session_of(&parents, plea.session.as_deref());
        if let Some(agent) = &plea.agent {
            let news = News::new(agent, plea.mode.as_deref());
            let session = session().await;
            house.heard(session.as_ref(), &news);
            if let Some(happens) = &plea.happens {
                let (about, call, note) = (&plea.about, &plea.call, &plea.note);
                let word = HookWord::new(agent, happens);
                let word = word.about(about.as_deref(), call.as_deref(), note.as_deref());
                house.told(session.as_ref(), &word);
            }
        }
        if plea.news {
            return Ok(reply::What::Done(Done {}));
        }
        if plea.over {
            let request = plea.request.map(TryInto::try_into).transpose()?;
            house.over(session().await.as_ref(), request.as_ref());
            return Ok(reply::What::Done(Done {}));
        }
        let request = required("plea.request", plea.request)?.try_into()?;
        let within = plea.within_ms.map(|it| duration("plea.within_ms", it, ASK_WITHIN_MAX));
        let within = within.transpose()?.unwrap_or(ASK_WITHIN);
        let session = session().await;
        let asking = Asking { request, session, about: Vec::new(), editable: plea.editable };
        tokio::select! {
            answer = house.ask(asking, within) => answer.map(|(answer, edit)| {
                reply::What::Answer(AskAnswer { edit, ..(&answer).into() })
            }),
            () = hung_up(&mut reader) => Err(Fault::lost("who asked waits no more")),
        }
    };
    let what = answered.await.unwrap_or_else(|fault| reply::What::Fault((&fault).into()));
    drop(tokio::time::timeout(ANSWER_WITHIN, send(&mut writer, &Reply { what: Some(what) })).await);
}

/// Nothing more is expected: whatever comes ends it.
async fn hung_up(reader: &mut Frames<OwnedReadHalf>) {
    drop(reader.next::<Plea>().await);
}

/// A process and those it comes from, nearest first; a bounded number of them.
fn parents(pid: i32) -> Vec<u32> {
    const MANY: usize = 64;
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may have anything in it but ends with the last parenthesis.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let first = u32::try_from(pid).ok().filter(|it| *it > 1);
    std::iter::successors(first, |it| parent(*it).filter(|it| *it > 1)).take(MANY).collect()
}
