//! Serves one seat on a unix socket: one connection per purpose, each with a task of its own.

use std::{os::fd::AsFd, sync::Arc};

use bytes::Bytes;
use tokio::{
    io::Interest,
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::{
    base::{
        descriptors,
        fault::{Fault, Outcome},
        limits::{
            FAREWELL_WITHIN, INPUT_BYTES_MAX, PTY_CHUNK_BYTES_MAX, SHIM_CONNECTIONS_MAX,
            SNAPSHOT_WITHIN, STDIN_QUEUED_MAX,
        },
    },
    model::{session::SessionSpec, syscall::SyscallPart},
    session::seat::{BoxStream, Seat, SeatEvent},
    wire::{
        convert::{
            self,
            output::{output_out, request_in},
        },
        shim::{Answer, Call, Done, Frames, Input, Welcome, answer, call, event_out, framed, send},
    },
};

type Calls = Frames<OwnedReadHalf>;

/// Serves until the sandbox is gone, then lets the hub read why. Tells how many connections there are.
pub async fn serve(
    listener: UnixListener,
    seat: Arc<dyn Seat>,
    welcome: Welcome,
    open: &watch::Sender<usize>,
) {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(SHIM_CONNECTIONS_MAX));
    let mut gone = std::pin::pin!(gone(Arc::clone(&seat)));
    loop {
        tokio::select! {
            biased;
            () = &mut gone => break,
            Some(_) = connections.join_next() => drop(open.send_replace(connections.len())),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if is_own(&stream) => {
                    // Beyond the bound a connection is closed at once: the caller says so.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let (seat, welcome) = (Arc::clone(&seat), welcome.clone());
                    connections.spawn(async move {
                        converse(stream, seat, welcome).await;
                        drop(place);
                    });
                    open.send_replace(connections.len());
                }
                Ok(_) => tracing::warn!("a connection of another user was refused"),
                Err(error) => {
                    // Out of descriptors, for one: others may be closed soon.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(FAREWELL_WITHIN).await;
                }
            },
        }
    }
    drop(
        tokio::time::timeout(FAREWELL_WITHIN, async {
            while connections.join_next().await.is_some() {}
        })
        .await,
    );
}

async fn gone(seat: Arc<dyn Seat>) {
    if let Ok(mut events) = seat.events().await {
        while let Some(event) = events.next().await {
            if matches!(event, SeatEvent::Gone { .. }) {
                return;
            }
        }
    }
}

/// The operator, or root.
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|it| it.uid() == own || it.uid() == 0)
}

struct Connection {
    calls: Calls,
    writer: OwnedWriteHalf,
    seat: Arc<dyn Seat>,
}

async fn converse(stream: UnixStream, seat: Arc<dyn Seat>, welcome: Welcome) {
    let (reader, writer) = stream.into_split();
    let mut connection = Connection { calls: Frames::new(reader), writer, seat };
    let call = match connection.calls.next::<Call>().await {
        Ok(Some(call)) => call,
        Ok(None) => return,
        Err(fault) => return connection.refuse(&fault).await,
    };
    if let Err(fault) = connection.serve(call, welcome).await {
        connection.refuse(&fault).await;
    }
}

impl Connection {
    async fn serve(&mut self, call: Call, welcome: Welcome) -> Outcome<()> {
        let seat = Arc::clone(&self.seat);
        let answer = match call.what {
            Some(call::What::Ping(_)) => answer::What::Welcome(welcome),
            Some(call::What::Events(_)) => return self.events().await,
            Some(call::What::Output(request)) => {
                let (session, request) = request_in(&request)?;
                return self.output(seat.output(&session, request).await?).await;
            }
            Some(call::What::Input(input)) => return self.input(input).await,
            Some(call::What::Hold(it)) => return self.hold(it.memory).await,
            Some(call::What::GiveRoot(_)) => return self.root().await,
            Some(call::What::Exec(spec)) => return self.exec(spec.try_into()?).await,
            Some(call::What::Syscalls(it)) => {
                let id = convert::session_id(&it.session)?;
                return self.syscalls(seat.syscalls(&id, it.pid).await?).await;
            }
            Some(call::What::Open(open)) => {
                let id = convert::session_id(&open.session)?;
                let spec = open.spec.ok_or_else(|| Fault::invalid("missing: open.spec"))?;
                answer::What::Session((&seat.open(id, spec.try_into()?).await?).into())
            }
            Some(call::What::TellTraffic(_)) => {
                answer::What::Traffic((&seat.traffic().await?).into())
            }
            Some(call::What::ExplainSession(it)) => {
                let id = convert::session_id(&it.session)?;
                answer::What::Explained((&seat.explain(&id).await?).into())
            }
            Some(call::What::TellRuled(it)) => {
                answer::What::Ruled((&seat.ruled((it.gate, it.number), it.all).await?).into())
            }
            Some(other) => done(&*seat, other).await?,
            None => {
                let version = env!("CARGO_PKG_VERSION");
                return Err(Fault::unsupported(format!(
                    "the shim of this sandbox is of version {version} and does not know this call"
                ))
                .hint("make the sandbox anew with the current version"));
            }
        };
        self.answer(answer).await;
        Ok(())
    }

    /// Sends one answer; `false` when nobody listens any more.
    async fn answer(&mut self, what: answer::What) -> bool {
        send(&mut self.writer, &Answer::from(what)).await.is_ok()
    }

    async fn refuse(&mut self, fault: &Fault) {
        self.answer(answer::What::Fault(fault.into())).await;
    }

    async fn events(&mut self) -> Outcome<()> {
        let mut events = self.seat.events().await?;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) if send(&mut self.writer, &event_out(&event)).await.is_ok() => {}
                    _ => return Ok(()),
                },
                // Nothing is expected; the end is noticed.
                _ = self.calls.next::<Call>() => return Ok(()),
            }
        }
    }

    /// Programs are held for as long as the connection is.
    async fn hold(&mut self, memory: bool) -> Outcome<()> {
        let held = self.seat.hold(memory).await?;
        if self.answer(answer::What::Done(Done {})).await {
            // A hub that hangs is not waited for longer than it would work.
            let until = tokio::time::timeout(2 * SNAPSHOT_WITHIN, self.calls.next::<Call>());
            drop(until.await);
        }
        drop(held);
        Ok(())
    }

    /// The root goes along with the answer.
    async fn root(&mut self) -> Outcome<()> {
        let root = self.seat.root().await?;
        let answer = framed(&Answer::from(answer::What::Done(Done {})))
            .map_err(|error| Fault::io("answering", &error))?;
        let socket: &UnixStream = self.writer.as_ref();
        let sent = socket.async_io(Interest::WRITABLE, || {
            descriptors::send_with(socket.as_fd(), &answer, root.as_fd())
        });
        // A hub that hung up wants no answer.
        drop(sent.await);
        Ok(())
    }

    async fn output(
        &mut self,
        mut output: BoxStream<Outcome<crate::model::output::Output>>,
    ) -> Outcome<()> {
        loop {
            tokio::select! {
                next = output.next() => match next {
                    Some(next) => for message in output_out(next?) {
                        if !self.answer(answer::What::Output(message)).await {
                            return Ok(());
                        }
                    },
                    None => return Ok(()),
                },
                _ = self.calls.next::<Call>() => return Ok(()),
            }
        }
    }

    /// A process is looked at for as long as the connection is.
    async fn syscalls(&mut self, mut parts: BoxStream<SyscallPart>) -> Outcome<()> {
        loop {
            tokio::select! {
                part = parts.next() => match part {
                    Some(part) if self.answer(answer::What::Syscalls((&part).into())).await => {}
                    _ => return Ok(()),
                },
                _ = self.calls.next::<Call>() => return Ok(()),
            }
        }
    }

    async fn input(&mut self, first: Input) -> Outcome<()> {
        let mut input = first;
        loop {
            let taken = match convert::session_id(&input.session) {
                Ok(_) if input.data.len() > INPUT_BYTES_MAX => Err(Fault::invalid(format!(
                    "more than {INPUT_BYTES_MAX} bytes at once: {}",
                    input.data.len()
                ))),
                // Its own memory: a slice would keep the whole of the receive buffer.
                Ok(id) => self.seat.input(&id, Bytes::copy_from_slice(&input.data)).await,
                Err(fault) => Err(fault),
            };
            let answer = match taken {
                Ok(()) => answer::What::Done(Done {}),
                Err(fault) => answer::What::Fault((&fault).into()),
            };
            if !self.answer(answer).await {
                return Ok(());
            }
            input = match self.calls.next::<Call>().await?.and_then(|it| it.what) {
                Some(call::What::Input(next)) => next,
                None => return Ok(()),
                Some(_) => return Err(Fault::invalid("not input on a connection for input")),
            };
        }
    }

    async fn exec(&mut self, spec: SessionSpec) -> Outcome<()> {
        let (stdin, pieces) = mpsc::channel(STDIN_QUEUED_MAX);
        let mut stdin = Some(stdin);
        let pieces = Box::pin(ReceiverStream::new(pieces));
        let mut output = self.seat.exec(spec, pieces).await?;
        loop {
            let room = async {
                match &stdin {
                    Some(stdin) => stdin.reserve().await.is_ok(),
                    None => true,
                }
            };
            tokio::select! {
                next = output.next() => match next {
                    Some(next) => if !self.answer(answer::What::Exec(next?.into())).await {
                        return Ok(());
                    },
                    None => return Ok(()),
                },
                // Read only while the program takes its input: the socket holds the rest back.
                call = async { (room.await, self.calls.next::<Call>().await) } => match call {
                    (true, Ok(Some(Call { what: Some(call::What::Stdin(piece)) }))) => {
                        if piece.data.len() > PTY_CHUNK_BYTES_MAX {
                            return Err(Fault::invalid("a piece of input is too long"));
                        }
                        if let Some(stdin) = &stdin {
                            drop(stdin.try_send(piece.data));
                        }
                    }
                    (false, Ok(Some(Call { what: Some(call::What::Stdin(_)) })))
                    | (_, Ok(Some(Call { what: Some(call::What::StdinEnd(_)) }))) => stdin = None,
                    // The hub hung up: dropping the output kills the program.
                    _ => return Ok(()),
                },
            }
        }
    }
}

/// The calls that are answered with a plain done.
async fn done(seat: &dyn Seat, what: call::What) -> Outcome<answer::What> {
    match what {
        call::What::Resize(resize) => {
            let size = resize.size.ok_or_else(|| Fault::invalid("missing: resize.size"))?;
            seat.resize(&convert::session_id(&resize.session)?, size.into()).await?;
        }
        call::What::SetLease(lease) => {
            let id = convert::session_id(&lease.session)?;
            seat.set_lease(&id, lease.lease.map(TryInto::try_into).transpose()?).await?;
        }
        call::What::AnswerAsk(it) => {
            let answer = convert::required("answer_ask.answer", it.answer)?;
            let edit = convert::ask::edit_in(&answer)?;
            seat.answer(&convert::ask_id(&it.ask)?, answer.try_into()?, edit).await?;
        }
        call::What::Forget(it) => {
            seat.forget(&convert::required("forget.request", it.request)?.try_into()?).await?;
        }
        call::What::Give(it) => seat.give(convert::secret::given_in(it.given)?).await?,
        call::What::Pause(_) => seat.pause().await?,
        call::What::Resume(_) => seat.resume().await?,
        call::What::Stop(stop) => {
            seat.stop(convert::sandbox::grace(stop.grace_ms)?).await?;
        }
        call::What::Vacate(_) => seat.vacate().await?,
        call::What::Remove(_) => seat.remove().await?,
        _ => return Err(Fault::invalid("not a call that opens a connection")),
    }
    Ok(answer::What::Done(Done {}))
}
