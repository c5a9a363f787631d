//! The gate of a sandbox whose network asks: what no rule knows is asked as anything else is.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::ASK_WITHIN,
    },
    driver::{ASK_DIR, Doors, TRUST_FILE, local, net::NetFile},
    gate::{Asker, Authority, Gate, Terms},
    model::{
        ask::{Answer, Request},
        rule::Domain,
        sandbox::{Egress, SandboxSpec},
        traffic::RuledKept,
    },
    session::{asks::Plea, house::House},
    wire::kept,
};

/// Makes who opens TLS to hosts of secrets, where one speaks it, and leaves the certificate for the sandbox that is about
/// to be made.
pub fn prepare(dir: &Path, name: &str, spec: &SandboxSpec) -> Outcome<Option<Authority>> {
    let of = spec.secrets.iter().filter(|it| it.opens_tls() && cfg!(feature = "tls"));
    let hosts: Vec<String> = of.map(|it| it.host.clone()).collect();
    let file = dir.join(ASK_DIR).join(TRUST_FILE);
    // Of another start; never written through.
    drop(fs::remove_file(&file));
    if hosts.is_empty() {
        return Ok(None);
    }
    let authority = Authority::new(name, &hosts)?;
    fs::write(&file, authority.certificate())
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o644)))
        .map_err(|error| Fault::io(format!("writing {}", file.display()), &error))?;
    Ok(Some(authority))
}

/// Begins to count what comes and goes over a network that goes through here. Nothing hangs on that.
fn net(dir: &Path) -> Option<(NetFile, (u64, u64))> {
    let opened = NetFile::open(dir);
    let opened = opened.inspect_err(|error| tracing::warn!(%error, "traffic is not counted"));
    opened.ok()
}

/// Of a sandbox out of which nothing gets, that is known too.
pub fn none(dir: &Path, spec: &SandboxSpec) {
    if spec.driver == local::NAME && spec.egress != Egress::Allow {
        drop(net(dir));
    }
}

/// Opens it, `model` unasked; it lets out what it is served for.
pub fn open(
    dir: &Path,
    doors: Doors,
    spec: &SandboxSpec,
    model: Vec<String>,
    (policy, project): (Option<PathBuf>, Option<PathBuf>),
    authority: Option<Authority>,
    house: &Arc<House>,
) -> Outcome<Gate> {
    let project = project.map(|it| (Domain::Project(spec.workspace.path.clone()), it));
    let terms = Terms {
        ask: spec.egress == Egress::Ask,
        allow: spec.allow.clone(),
        model,
        rules: policy.map(|it| (Domain::All, it)).into_iter().chain(project).collect(),
        workspace: spec.workspace.path.clone(),
        secrets: spec.secrets.clone(),
        authority,
        net: net(dir),
    };
    kept::clear(dir);
    let asker = Arc::new(People { house: Arc::clone(house), dir: dir.to_owned() });
    let gate = Gate::new(doors, terms, asker)
        .map_err(|error| Fault::io("opening the way out of the sandbox", &error))?;
    house.goes_out_by(gate.watch());
    Ok(gate)
}

/// Whoever is at a hub.
struct People {
    house: Arc<House>,
    /// Where what the hub was not told is left for it.
    dir: PathBuf,
}

#[async_trait]
impl Asker for People {
    async fn ask(
        &self,
        request: Request,
        about: Vec<(String, String)>,
        pids: &[u32],
    ) -> Outcome<Answer> {
        let session = self.house.session_of(pids, None).await;
        let plea = Plea { request, session, about, editable: false };
        Ok(self.house.ask(plea, ASK_WITHIN).await?.0)
    }

    fn has_news(&self) {
        self.house.has_news();
    }

    fn keep(&self, kept: &RuledKept) {
        if let Err(error) = kept::write(&self.dir, kept) {
            tracing::debug!(%error, "what was decided at the way out is not kept");
        }
    }
}
