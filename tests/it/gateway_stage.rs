//! A gateway of the tests' own: it speaks what OpenShell speaks as far as it is known here, over loopback, and does as badly as it
//! is told to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sandwatch::driver::openshell::generated::v1::{
    self, open_shell_server::OpenShell, open_shell_server::OpenShellServer,
    sandbox_stream_event::Payload,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    gateway_terminals::Terminals,
    gateway_wire::{Tls, accept},
    program::Home,
};

/// What it does wrong, from now on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Each call takes so long.
    pub delay: Duration,
    /// Takes calls and answers none.
    pub stalls: bool,
    /// Ends each stream of news after so many lines of the log, as for a reader too slow.
    pub hangs_up_after: Option<usize>,
    /// Tells the newest lines once more to who says from where, and too many of them.
    pub repeats: bool,
    /// The first so many approvals are refused: the policy is another by now.
    pub stale: usize,
    /// Refuses these calls.
    pub denied: BTreeSet<&'static str>,
    /// Does not know these calls.
    pub unknown: BTreeSet<&'static str>,
    /// Lists are in another order each time.
    pub reorders: bool,
    /// Leaves this one out of lists.
    pub leaves_out: Option<String>,
    /// What is stopped or deleted never is so far.
    pub never_done: bool,
}

pub(crate) struct State {
    pub faults: Faults,
    pub sandboxes: BTreeMap<String, Fake>,
    /// Every call, and what matters of it.
    pub calls: Vec<String>,
    pub approvals: u32,
    turn: usize,
    made: usize,
}

/// One sandbox.
pub(crate) struct Fake {
    pub told: v1::Sandbox,
    pub chunks: Vec<v1::PolicyChunk>,
    pub log: Vec<v1::SandboxLogLine>,
    news: broadcast::Sender<v1::SandboxStreamEvent>,
}

#[derive(Clone)]
pub(crate) struct Gateway {
    pub state: Arc<Mutex<State>>,
    /// Who must be said to ask.
    token: Option<String>,
    terminals: Option<Arc<Terminals>>,
    up: Arc<watch::Sender<bool>>,
}

/// One that runs; it ends with this.
pub(crate) struct Running {
    pub gateway: Gateway,
    pub at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What is served.
#[derive(Default)]
pub(crate) struct Kind {
    pub token: Option<String>,
    /// Certificates of it and of whom it trusts.
    pub tls: Option<Tls>,
    pub terminals: Option<Arc<Terminals>>,
    pub at: Option<SocketAddr>,
}

pub(crate) fn serve(kind: Kind) -> Running {
    let state = State {
        faults: Faults::default(),
        sandboxes: BTreeMap::new(),
        calls: Vec::new(),
        approvals: 0,
        turn: 0,
        made: 0,
    };
    serve_again(kind, Arc::new(Mutex::new(state)))
}

/// The same gateway, at the same place if that is said.
pub(crate) fn serve_again(kind: Kind, state: Arc<Mutex<State>>) -> Running {
    let gateway = Gateway {
        state,
        token: kind.token,
        terminals: kind.terminals,
        up: Arc::new(watch::Sender::new(true)),
    };
    let (stop, stopped) = oneshot::channel();
    let (told, at) = std::sync::mpsc::channel();
    let served = gateway.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let at = kind.at.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(at).unwrap();
            let listener = socket.listen(64).unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let (peers, accepted) = mpsc::channel(16);
            let accepting = tokio::spawn(accept(listener, kind.tls, peers));
            let ends = async move { drop(stopped.await) };
            let server = OpenShellServer::new(served);
            let serving = tonic::transport::Server::builder()
                .add_service(server)
                .serve_with_incoming(ReceiverStream::new(accepted));
            tokio::select! {
                done = serving => done.unwrap(),
                () = ends => {}
            }
            accepting.abort();
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    Running { gateway, at: at.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
}

impl Running {
    /// The same name for it everywhere here.
    pub(crate) const CONTEXT: &'static str = "lab";

    pub(crate) fn address(&self, tls: bool) -> String {
        let scheme = if tls { "https" } else { "http" };
        format!("openshell+{scheme}://127.0.0.1:{}", self.at.port())
    }

    /// A home in which it is a context, and the current one.
    pub(crate) fn home(&self) -> GatewayHome {
        self.home_over(false, &[])
    }

    /// The same over TLS, with these credentials.
    pub(crate) fn home_over(&self, tls: bool, files: &[(&str, &str)]) -> GatewayHome {
        let home = Home::new();
        home.ok(&["context", "add", Self::CONTEXT, &self.address(tls), "--use"]);
        let dir = home.path().join("state/contexts").join(Self::CONTEXT);
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
            fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o600)).unwrap();
        }
        GatewayHome(home)
    }
}

/// One whose hub ends with it, and leaves what the gateway has.
pub(crate) struct GatewayHome(Home);

impl GatewayHome {
    pub(crate) fn of(home: Home) -> Self {
        Self(home)
    }
}

impl std::ops::Deref for GatewayHome {
    type Target = Home;
    fn deref(&self) -> &Home {
        &self.0
    }
}

impl Drop for GatewayHome {
    fn drop(&mut self) {
        drop(self.0.command(&["hub", "stop"]).output());
    }
}

impl Gateway {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Makes one that is ready.
    pub(crate) fn make(&self, name: &str) -> String {
        self.make_in(name, "default", 2)
    }

    pub(crate) fn make_in(&self, name: &str, workspace: &str, phase: i32) -> String {
        let mut state = self.lock();
        state.made += 1;
        let id = format!("{workspace}/{name}#{}", state.made);
        let meta = v1::ObjectMeta {
            id: id.clone(),
            name: name.to_owned(),
            created_at_ms: 1_700_000_000_000,
            labels: [("team".to_owned(), "a".to_owned())].into(),
            workspace: workspace.to_owned(),
            ..v1::ObjectMeta::default()
        };
        let spec = v1::SandboxSpec {
            command: vec!["claude".to_owned(), "--print".to_owned()],
            tty: true,
            ..v1::SandboxSpec::default()
        };
        let status = v1::SandboxStatus {
            phase,
            current_policy_version: 1,
            main_process_instance_id: "one".to_owned(),
            ..v1::SandboxStatus::default()
        };
        let told = v1::Sandbox { metadata: Some(meta), spec: Some(spec), status: Some(status) };
        let news = broadcast::Sender::new(1024);
        let fake = Fake { told, chunks: Vec::new(), log: Vec::new(), news };
        state.sandboxes.insert(id.clone(), fake);
        id
    }

    /// Changes one, and tells whoever watches it.
    pub(crate) fn change(&self, id: &str, by: impl FnOnce(&mut Fake)) {
        let mut state = self.lock();
        let fake = state.sandboxes.get_mut(id).unwrap();
        by(fake);
        let told = fake.told.clone();
        drop(fake.news.send(event(Payload::Sandbox(told))));
    }

    pub(crate) fn phase(&self, id: &str, phase: i32) {
        self.change(id, |it| it.told.status.get_or_insert_default().phase = phase);
    }

    /// Removes one behind everybody's back.
    pub(crate) fn lose(&self, id: &str) {
        self.lock().sandboxes.remove(id);
    }

    pub(crate) fn say(&self, id: &str, ms: i64, message: &str) {
        let line = v1::SandboxLogLine {
            sandbox_id: id.to_owned(),
            timestamp_ms: ms,
            level: "INFO".to_owned(),
            target: "proxy".to_owned(),
            message: message.to_owned(),
            source: "sandbox".to_owned(),
            ..v1::SandboxLogLine::default()
        };
        let mut state = self.lock();
        let fake = state.sandboxes.get_mut(id).unwrap();
        fake.log.push(line.clone());
        drop(fake.news.send(event(Payload::Log(line))));
    }

    /// Puts a draft before whoever decides.
    pub(crate) fn draft(&self, id: &str, chunk: &str, host: &str, token: &str) {
        let endpoint = v1::NetworkEndpoint {
            host: host.to_owned(),
            port: 443,
            ..v1::NetworkEndpoint::default()
        };
        let rule =
            v1::NetworkPolicyRule { endpoints: vec![endpoint], ..v1::NetworkPolicyRule::default() };
        let chunk = v1::PolicyChunk {
            id: chunk.to_owned(),
            status: "pending".to_owned(),
            rule_name: format!("allow_{host}"),
            proposed_rule: Some(rule),
            rationale: "the agent needs it".to_owned(),
            binary: "/usr/bin/curl".to_owned(),
            review_token: token.to_owned(),
            created_at_ms: 1_700_000_000_000,
            ..v1::PolicyChunk::default()
        };
        self.change(id, |it| {
            it.chunks.retain(|old| old.id != chunk.id);
            it.chunks.push(chunk);
        });
    }

    pub(crate) fn chunk(&self, id: &str, chunk: &str) -> v1::PolicyChunk {
        let state = self.lock();
        state.sandboxes[id].chunks.iter().find(|it| it.id == chunk).unwrap().clone()
    }

    pub(crate) fn calls_of(&self, call: &str) -> Vec<String> {
        self.lock().calls.iter().filter(|it| it.starts_with(call)).cloned().collect()
    }

    /// What comes before every answer.
    async fn begin<T>(
        &self,
        call: &'static str,
        what: &str,
        request: &Request<T>,
    ) -> Result<(), Status> {
        let faults = {
            let mut state = self.lock();
            state.calls.push(format!("{call} {what}"));
            state.faults.clone()
        };
        let said = request.metadata().get("authorization").and_then(|it| it.to_str().ok());
        if let Some(token) = &self.token
            && said != Some(format!("Bearer {token}").as_str())
        {
            return Err(Status::unauthenticated("no such token"));
        }
        tokio::time::sleep(faults.delay).await;
        let mut up = self.up.subscribe();
        if faults.stalls {
            // For ever, or until the tests end.
            drop(up.wait_for(|it| !it).await);
        }
        if faults.denied.contains(call) {
            return Err(Status::permission_denied("role \u{1b}[31mviewer"));
        }
        if faults.unknown.contains(call) {
            return Err(Status::unimplemented(""));
        }
        Ok(())
    }

    fn found(&self, named: &v1::SandboxNamed) -> Result<String, Status> {
        let state = self.lock();
        let is_it = |it: &&Fake| {
            let meta = it.told.metadata.as_ref().unwrap();
            meta.name == named.name && meta.workspace == named.workspace
        };
        let found = state.sandboxes.values().find(is_it);
        let found = found.ok_or_else(|| Status::not_found("no such sandbox"))?;
        Ok(found.told.metadata.as_ref().unwrap().id.clone())
    }

    fn named(&self, name: &str, workspace: &str) -> Result<String, Status> {
        let named = v1::SandboxNamed { name: name.to_owned(), workspace: workspace.to_owned() };
        self.found(&named)
    }
}

pub(crate) fn event(payload: Payload) -> v1::SandboxStreamEvent {
    v1::SandboxStreamEvent { payload: Some(payload) }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl OpenShell for Gateway {
    type WatchSandboxStream = Streamed<v1::SandboxStreamEvent>;
    type ExecSandboxInteractiveStream = Streamed<v1::ExecSandboxEvent>;
    type ForwardTcpStream = Streamed<v1::TcpForwardFrame>;

    async fn health(
        &self,
        request: Request<v1::HealthRequest>,
    ) -> Result<Response<v1::HealthResponse>, Status> {
        self.begin("Health", "", &request).await?;
        Ok(Response::new(v1::HealthResponse { status: 1, version: "0.0.111".to_owned() }))
    }

    async fn get_current_user(
        &self,
        request: Request<v1::GetCurrentUserRequest>,
    ) -> Result<Response<v1::GetCurrentUserResponse>, Status> {
        self.begin("GetCurrentUser", "", &request).await?;
        let subject = "alice".to_owned();
        let roles = vec!["admin".to_owned()];
        Ok(Response::new(v1::GetCurrentUserResponse {
            subject,
            roles,
            ..v1::GetCurrentUserResponse::default()
        }))
    }

    async fn list_sandboxes(
        &self,
        request: Request<v1::ListSandboxesRequest>,
    ) -> Result<Response<v1::ListSandboxesResponse>, Status> {
        self.begin("ListSandboxes", "", &request).await?;
        let wanted = request.into_inner();
        let mut state = self.lock();
        state.turn += 1;
        let faults = state.faults.clone();
        let mut all: Vec<_> = state.sandboxes.values().map(|it| it.told.clone()).collect();
        all.retain(|it| it.metadata.as_ref().map(|it| &it.name) != faults.leaves_out.as_ref());
        if faults.reorders && !all.is_empty() {
            let by = state.turn % all.len();
            all.rotate_left(by);
        }
        // It gives no more than a hundred, whatever is wanted.
        let limit = wanted.limit.min(100) as usize;
        let sandboxes = all.into_iter().skip(wanted.offset as usize).take(limit).collect();
        Ok(Response::new(v1::ListSandboxesResponse { sandboxes }))
    }

    async fn get_sandbox(
        &self,
        request: Request<v1::SandboxNamed>,
    ) -> Result<Response<v1::SandboxResponse>, Status> {
        self.begin("GetSandbox", "", &request).await?;
        let id = self.found(request.get_ref())?;
        let sandbox = Some(self.lock().sandboxes[&id].told.clone());
        Ok(Response::new(v1::SandboxResponse { sandbox }))
    }

    async fn stop_sandbox(
        &self,
        request: Request<v1::SandboxNamed>,
    ) -> Result<Response<v1::SandboxResponse>, Status> {
        let id = self.found(request.get_ref())?;
        self.begin("StopSandbox", &id, &request).await?;
        self.phase(&id, 6);
        if !self.lock().faults.never_done {
            let (gateway, stopping) = (self.clone(), id.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                gateway.phase(&stopping, 7);
            });
        }
        let sandbox = Some(self.lock().sandboxes[&id].told.clone());
        Ok(Response::new(v1::SandboxResponse { sandbox }))
    }

    async fn start_sandbox(
        &self,
        request: Request<v1::SandboxNamed>,
    ) -> Result<Response<v1::SandboxResponse>, Status> {
        let id = self.found(request.get_ref())?;
        self.begin("StartSandbox", &id, &request).await?;
        self.phase(&id, 8);
        let (gateway, starting) = (self.clone(), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            gateway.change(&starting, |it| {
                let status = it.told.status.get_or_insert_default();
                status.phase = 2;
                status.main_process_instance_id.push_str(" more");
            });
        });
        let sandbox = Some(self.lock().sandboxes[&id].told.clone());
        Ok(Response::new(v1::SandboxResponse { sandbox }))
    }

    async fn delete_sandbox(
        &self,
        request: Request<v1::SandboxNamed>,
    ) -> Result<Response<v1::DeleteSandboxResponse>, Status> {
        let id = self.found(request.get_ref())?;
        self.begin("DeleteSandbox", &id, &request).await?;
        let never_done = self.lock().faults.never_done;
        if never_done {
            self.phase(&id, 4)
        } else {
            self.lose(&id)
        }
        Ok(Response::new(v1::DeleteSandboxResponse { deleted: true }))
    }

    async fn watch_sandbox(
        &self,
        request: Request<v1::WatchSandboxRequest>,
    ) -> Result<Response<Self::WatchSandboxStream>, Status> {
        let wanted = request.get_ref().clone();
        let what =
            format!("{} tail={} since={}", wanted.id, wanted.log_tail_lines, wanted.log_since_ms);
        self.begin("WatchSandbox", &what, &request).await?;
        let (told, log, mut news, faults) = {
            let state = self.lock();
            let fake = state.sandboxes.get(&wanted.id);
            let fake = fake.ok_or_else(|| Status::not_found("no such sandbox"))?;
            // A little of what it told before.
            let again = if state.faults.repeats { 2 } else { 0 };
            let since = wanted.log_since_ms - again;
            let mut log: Vec<_> =
                fake.log.iter().filter(|it| it.timestamp_ms >= since).cloned().collect();
            // As it is: 0 is 200.
            let tail =
                if wanted.log_tail_lines == 0 { 200 } else { wanted.log_tail_lines as usize };
            log.drain(..log.len().saturating_sub(tail));
            (fake.told.clone(), log, fake.news.subscribe(), state.faults.clone())
        };
        let (send, stream) = mpsc::channel(16);
        tokio::spawn(async move {
            let (mut lines, most) = (0, faults.hangs_up_after.unwrap_or(usize::MAX));
            let slow = || Err(Status::resource_exhausted("the reader is too slow"));
            let first = std::iter::once(event(Payload::Sandbox(told)));
            for it in first.chain(log.into_iter().map(|it| event(Payload::Log(it)))) {
                lines += usize::from(matches!(it.payload, Some(Payload::Log(_))));
                if lines > most || send.send(Ok(it)).await.is_err() {
                    drop(send.send(slow()).await);
                    return;
                }
            }
            // Something of a newer gateway, and something odd.
            drop(send.send(Ok(v1::SandboxStreamEvent { payload: None })).await);
            let warning = v1::SandboxStreamWarning { message: "\u{1b}[2Jmind".to_owned() };
            drop(send.send(Ok(event(Payload::Warning(warning)))).await);
            while let Ok(it) = news.recv().await {
                lines += usize::from(matches!(it.payload, Some(Payload::Log(_))));
                if lines > most {
                    drop(send.send(slow()).await);
                    return;
                }
                if send.send(Ok(it)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn exec_sandbox_interactive(
        &self,
        request: Request<Streaming<v1::ExecSandboxInput>>,
    ) -> Result<Response<Self::ExecSandboxInteractiveStream>, Status> {
        self.begin("ExecSandboxInteractive", "", &request).await?;
        let mut inputs = request.into_inner();
        let Some(v1::exec_sandbox_input::Payload::Start(start)) =
            inputs.message().await?.and_then(|it| it.payload)
        else {
            return Err(Status::invalid_argument("start comes first"));
        };
        let (send, stream) = mpsc::channel(16);
        crate::gateway_exec::run(self.clone(), start, inputs, send)?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn create_ssh_session(
        &self,
        request: Request<v1::CreateSshSessionRequest>,
    ) -> Result<Response<v1::CreateSshSessionResponse>, Status> {
        let id = request.get_ref().sandbox_id.clone();
        self.begin("CreateSshSession", &id, &request).await?;
        Ok(Response::new(v1::CreateSshSessionResponse {
            token: format!("secret of {id}"),
            sandbox_id: id,
            ..v1::CreateSshSessionResponse::default()
        }))
    }

    async fn revoke_ssh_session(
        &self,
        request: Request<v1::RevokeSshSessionRequest>,
    ) -> Result<Response<v1::RevokeSshSessionResponse>, Status> {
        self.begin("RevokeSshSession", "", &request).await?;
        Ok(Response::new(v1::RevokeSshSessionResponse {}))
    }

    async fn forward_tcp(
        &self,
        request: Request<Streaming<v1::TcpForwardFrame>>,
    ) -> Result<Response<Self::ForwardTcpStream>, Status> {
        self.begin("ForwardTcp", "", &request).await?;
        let Some(terminals) = self.terminals.clone() else {
            return Err(Status::failed_precondition("no terminals here"));
        };
        let mut frames = request.into_inner();
        let Some(v1::tcp_forward_frame::Payload::Init(init)) =
            frames.message().await?.and_then(|it| it.payload)
        else {
            return Err(Status::invalid_argument("init comes first"));
        };
        if init.authorization_token != format!("secret of {}", init.sandbox_id) {
            return Err(Status::permission_denied("not this token"));
        }
        let (send, stream) = mpsc::channel(16);
        tokio::spawn(terminals.carry(frames, send));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn get_draft_policy(
        &self,
        request: Request<v1::GetDraftPolicyRequest>,
    ) -> Result<Response<v1::GetDraftPolicyResponse>, Status> {
        self.begin("GetDraftPolicy", "", &request).await?;
        let wanted = request.into_inner();
        let id = self.named(&wanted.name, &wanted.workspace)?;
        let mut chunks = self.lock().sandboxes[&id].chunks.clone();
        chunks.retain(|it| wanted.status_filter.is_empty() || it.status == wanted.status_filter);
        Ok(Response::new(v1::GetDraftPolicyResponse {
            chunks,
            ..v1::GetDraftPolicyResponse::default()
        }))
    }

    async fn approve_draft_chunk(
        &self,
        request: Request<v1::ApproveDraftChunkRequest>,
    ) -> Result<Response<v1::ApproveDraftChunkResponse>, Status> {
        let wanted = request.get_ref().clone();
        let what = format!("{} {}", wanted.chunk_id, wanted.review_token);
        self.begin("ApproveDraftChunk", &what, &request).await?;
        let id = self.named(&wanted.name, &wanted.workspace)?;
        let version = {
            let mut state = self.lock();
            let chunk = state.sandboxes.get_mut(&id).unwrap();
            let chunk = chunk.chunks.iter_mut().find(|it| it.id == wanted.chunk_id);
            let chunk = chunk.ok_or_else(|| Status::not_found("no such chunk"))?;
            if chunk.review_token != wanted.review_token {
                return Err(Status::failed_precondition("the review token is stale"));
            }
            let stale = state.faults.stale > 0;
            state.faults.stale = state.faults.stale.saturating_sub(1);
            if stale {
                return Err(Status::failed_precondition("the policy changed meanwhile"));
            }
            state.approvals += 1;
            state.approvals + 1
        };
        self.change(&id, |it| {
            for chunk in it.chunks.iter_mut().filter(|it| it.id == wanted.chunk_id) {
                chunk.status = "approved".to_owned();
            }
        });
        Ok(Response::new(v1::ApproveDraftChunkResponse {
            policy_version: version,
            ..v1::ApproveDraftChunkResponse::default()
        }))
    }

    async fn reject_draft_chunk(
        &self,
        request: Request<v1::RejectDraftChunkRequest>,
    ) -> Result<Response<v1::RejectDraftChunkResponse>, Status> {
        let wanted = request.get_ref().clone();
        let what = format!("{} {:?}", wanted.chunk_id, wanted.reason);
        self.begin("RejectDraftChunk", &what, &request).await?;
        let id = self.named(&wanted.name, &wanted.workspace)?;
        self.change(&id, |it| {
            for chunk in it.chunks.iter_mut().filter(|it| it.id == wanted.chunk_id) {
                chunk.status = "rejected".to_owned();
                chunk.rejection_reason.clone_from(&wanted.reason);
            }
        });
        Ok(Response::new(v1::RejectDraftChunkResponse {}))
    }

    async fn undo_draft_chunk(
        &self,
        request: Request<v1::UndoDraftChunkRequest>,
    ) -> Result<Response<v1::UndoDraftChunkResponse>, Status> {
        let wanted = request.get_ref().clone();
        self.begin("UndoDraftChunk", &wanted.chunk_id, &request).await?;
        let id = self.named(&wanted.name, &wanted.workspace)?;
        self.change(&id, |it| {
            for chunk in it.chunks.iter_mut().filter(|it| it.id == wanted.chunk_id) {
                chunk.status = "pending".to_owned();
            }
        });
        Ok(Response::new(v1::UndoDraftChunkResponse::default()))
    }

    async fn get_sandbox_policy_status(
        &self,
        request: Request<v1::GetSandboxPolicyStatusRequest>,
    ) -> Result<Response<v1::GetSandboxPolicyStatusResponse>, Status> {
        self.begin("GetSandboxPolicyStatus", "", &request).await?;
        let wanted = request.into_inner();
        let id = self.named(&wanted.name, &wanted.workspace)?;
        let state = self.lock();
        let status = state.sandboxes[&id].told.status.clone().unwrap_or_default();
        Ok(Response::new(v1::GetSandboxPolicyStatusResponse {
            revision: None,
            active_version: status.current_policy_version,
        }))
    }
}
