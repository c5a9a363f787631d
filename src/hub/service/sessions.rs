//! Sessions: watching, typing, size, keyboard, waiting, history.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Sending, Service, ready, who};
use crate::{
    base::limits::PTY_CHUNK_BYTES_MAX,
    hub::stopped,
    runtime::Runtime,
    wire::{
        convert::{
            history::{history_in, search_in},
            hub::{exec_out, input_in, lease_in, nudge_in, wait_in},
            output::{output_out, request_in, screen_out},
            required, sandbox_id, session_id,
        },
        fault::{from_status, to_status},
        v1::{
            ExecRequest, ExecResponse, ExplainRequest, ExplainResponse, HistoryPage,
            HistoryRequest, InputRequest, InputResponse, LeaseRequest, LeaseResponse, NudgeRequest,
            NudgeResponse, OpenRequest, OpenResponse, Output, OutputRequest, ResizeRequest,
            ResizeResponse, ScreenRequest, ScreenResponse, SearchPage, SearchRequest,
            SyscallsRequest, SyscallsResponse, WaitRequest, WaitResponse, exec_request::Kind,
            sessions_server::Sessions,
        },
    },
};

#[async_trait]
impl Sessions for Service {
    type ExecStream = Sending<ExecResponse>;
    type OutputStream = Sending<Output>;
    type ScreenStream = Sending<ScreenResponse>;
    type InputStream = Sending<InputResponse>;
    type SyscallsStream = Sending<SyscallsResponse>;

    async fn open(&self, request: Request<OpenRequest>) -> Answer<OpenResponse> {
        let runtime = self.runtime(&request)?;
        let wire = request.into_inner();
        let id = sandbox_id(&wire.sandbox);
        let spec = required("spec", wire.spec).and_then(TryInto::try_into);
        let session = self.change(async move { runtime.open(&id?, spec?).await }).await?;
        Ok(Response::new(OpenResponse { session: Some((&session).into()) }))
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Answer<Self::ExecStream> {
        let runtime = self.runtime(&request)?;
        let (meters, who) = (self.shared.meters.clone(), who(&request)?.clone());
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|it| it.kind);
        let Some(Kind::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message of an exec is its start"));
        };
        // Anything but standard input ends it: the program must not read what nobody wrote.
        let stdin = messages.map_while(|message| match message.ok()?.kind? {
            Kind::Stdin(bytes) if bytes.len() <= PTY_CHUNK_BYTES_MAX => Some(bytes),
            Kind::Stdin(_) | Kind::Start(_) => None::<Bytes>,
        });
        let stdin = stdin.then(move |bytes| {
            let (meters, who) = (meters.clone(), who.clone());
            async move {
                meters.paced(&who, bytes.len()).await;
                bytes
            }
        });
        let exec = async {
            let id = sandbox_id(&start.sandbox)?;
            runtime.exec(&id, required("spec", start.spec)?.try_into()?, Box::pin(stdin)).await
        };
        let values = exec.await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(values, exec_out))
    }

    async fn output(&self, request: Request<OutputRequest>) -> Answer<Self::OutputStream> {
        let runtime = self.runtime(&request)?;
        let asked = request_in(request.get_ref()).map_err(|fault| to_status(&fault))?;
        let values = runtime.output(&asked.0, asked.1).await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(values, output_out))
    }

    async fn screen(&self, request: Request<ScreenRequest>) -> Answer<Self::ScreenStream> {
        let runtime = self.runtime(&request)?;
        let shot = async { runtime.screen(&session_id(&request.get_ref().session)?).await }.await;
        Ok(Response::new(ready(screen_out(shot.map_err(|fault| to_status(&fault))?))))
    }

    async fn input(&self, request: Request<Streaming<InputRequest>>) -> Answer<Self::InputStream> {
        let runtime = self.runtime(&request)?;
        let (shared, who) = (self.shared.clone(), who(&request)?.clone());
        // One after the other and in this very task: order is kept, and nothing stands between a key
        // and its program.
        let answers = request.into_inner().then(move |message| {
            let (runtime, shared, who) = (runtime.clone(), shared.clone(), who.clone());
            async move {
                let message = message.map_err(|status| from_status(&status))?;
                Ok(match shared.may_type(&who, message.data.len()) {
                    Ok(()) => type_in(&*runtime, message).await,
                    Err(fault) => InputResponse { seq: message.seq, fault: Some((&fault).into()) },
                })
            }
        });
        Ok(self.sending(Box::pin(answers), |answer| vec![answer]))
    }

    async fn nudge(&self, request: Request<NudgeRequest>) -> Answer<NudgeResponse> {
        let runtime = self.runtime(&request)?;
        let who = who(&request)?.clone();
        let sent = async {
            let (id, what) = nudge_in(request.into_inner())?;
            self.shared.may_type(&who, what.bytes())?;
            runtime.nudge(&id, what).await
        };
        sent.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(NudgeResponse {}))
    }

    async fn resize(&self, request: Request<ResizeRequest>) -> Answer<ResizeResponse> {
        let runtime = self.runtime(&request)?;
        let wire = request.into_inner();
        let resized = async {
            let size = required("size", wire.size)?.into();
            runtime.resize(&session_id(&wire.session)?, size).await
        };
        resized.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(ResizeResponse {}))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Answer<LeaseResponse> {
        let runtime = self.runtime(&request)?;
        let lease = async {
            let (id, verb) = lease_in(request.get_ref())?;
            runtime.lease(&id, verb).await
        };
        let lease = lease.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(LeaseResponse { lease: lease.as_ref().map(Into::into) }))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Answer<WaitResponse> {
        let runtime = self.runtime(&request)?;
        let asked = wait_in(request.into_inner()).map_err(|fault| to_status(&fault))?;
        tokio::select! {
            done = runtime.wait(&asked.0, asked.1, asked.2) => {
                done.map_err(|fault| to_status(&fault))?;
                Ok(Response::new(WaitResponse {}))
            }
            () = stopped(self.shared.stop.subscribe()) => {
                Err(to_status(&crate::base::fault::Fault::lost("the hub was stopped")))
            }
        }
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Answer<HistoryPage> {
        let runtime = self.runtime(&request)?;
        let asked = history_in(request.into_inner()).map_err(|fault| to_status(&fault))?;
        let page = runtime.history(&asked.0, asked.1).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(page.into()))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        let runtime = self.runtime(&request)?;
        let told = async {
            let id = session_id(&request.get_ref().session)?;
            runtime.explain(&id).await
        };
        let told = told.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(ExplainResponse { explained: Some((&told).into()) }))
    }

    async fn syscalls(&self, request: Request<SyscallsRequest>) -> Answer<Self::SyscallsStream> {
        let runtime = self.runtime(&request)?;
        let asked = request.get_ref();
        let parts = async { runtime.syscalls(&session_id(&asked.session)?, asked.pid).await };
        let parts = parts.await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(parts, |part| vec![(&part).into()]))
    }

    async fn search(&self, request: Request<SearchRequest>) -> Answer<SearchPage> {
        let runtime = self.runtime(&request)?;
        let asked = search_in(request.into_inner()).map_err(|fault| to_status(&fault))?;
        let page = runtime.search(&asked.0, asked.1).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(page.into()))
    }
}

async fn type_in(runtime: &dyn Runtime, message: InputRequest) -> InputResponse {
    let seq = message.seq;
    let done = async {
        let (id, bytes) = input_in(message)?;
        runtime.input(&id, bytes).await
    };
    InputResponse { seq, fault: done.await.err().as_ref().map(Into::into) }
}
