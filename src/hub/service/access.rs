//! Who may come from elsewhere: the list, invites, taking back, roles, and the next certificate.

use async_trait::async_trait;
use tonic::{Request, Response, Status};

use super::{Answer, Service, who};
use crate::{
    base::fault::{Fault, Outcome},
    hub::Remote,
    model::invite::{InviteText, InviteToken, host_and_port},
    runtime::{
        Peer,
        access::{InviteWanted, Invited, Register, Renewed},
    },
    wire::{
        convert::{
            access::{invite_in, name_in, public_key_in, role_in},
            required,
        },
        fault::to_status,
        v1::{
            InviteRequest, InviteResponse, ListAccessRequest, ListAccessResponse, RenewRequest,
            RenewResponse, RevokeAccessRequest, RevokeAccessResponse, SetRoleRequest,
            SetRoleResponse, access_server::Access,
        },
    },
};
use std::sync::Arc;

impl Service {
    fn register(&self) -> Outcome<Arc<dyn Register>> {
        let register = self.shared.directory.register();
        register.ok_or_else(|| Fault::unsupported("nobody from elsewhere can come here"))
    }

    fn remote(&self) -> Outcome<&Remote> {
        self.shared.remote.as_ref().ok_or_else(|| {
            Fault::unsupported("this hub listens for nobody from elsewhere").hint(
                "start it with: sandwatch hub serve --listen https://ADDR:PORT, or set listen under [hub] in config.toml",
            )
        })
    }
}

impl Remote {
    /// Where it is reached, if nobody says so: where it listens, but for what means every address.
    fn reached_at(&self, wanted: Vec<String>) -> Outcome<Vec<String>> {
        if !wanted.is_empty() {
            return Ok(wanted);
        }
        let taken = self.taken.all();
        let all = taken.iter().filter(|it| !it.ip().is_unspecified());
        let all = all.map(|it| host_and_port(&it.to_string())).collect::<Outcome<Vec<_>>>()?;
        if all.is_empty() {
            return Err(Fault::invalid(
                "the hub listens on every address, and can't tell which one others reach",
            )
            .hint("say it: --address HOST:PORT"));
        }
        Ok(all)
    }
}

#[async_trait]
impl Access for Service {
    async fn list(&self, _: Request<ListAccessRequest>) -> Answer<ListAccessResponse> {
        let register = self.register().map_err(|it| to_status(&it))?;
        Ok(Response::new((&register.admitted()).into()))
    }

    async fn invite(&self, request: Request<InviteRequest>) -> Answer<InviteResponse> {
        let who = who(&request)?.clone();
        let asked = || {
            let wanted = invite_in(request.into_inner())?;
            let remote = self.remote()?;
            let InviteWanted { name, role, ttl, addresses } = wanted;
            let addresses = remote.reached_at(addresses)?;
            Ok((self.register()?, remote.authority.fingerprint(), name, role, ttl, addresses))
        };
        let (register, authority, name, role, ttl, addresses) =
            asked().map_err(|it: Fault| to_status(&it))?;
        let invited = self.change(async move {
            let token = InviteToken::random();
            let invite = register.invite(&who, &token, &name, role, ttl).await?;
            let text = InviteText { token, authority, addresses }.text();
            Ok(Invited { invite, text })
        });
        Ok(Response::new((&invited.await?).into()))
    }

    async fn revoke(&self, request: Request<RevokeAccessRequest>) -> Answer<RevokeAccessResponse> {
        let who = who(&request)?.clone();
        let register = self.register().map_err(|it| to_status(&it))?;
        let name = name_in(request.into_inner().name);
        let taken = self.change(async move { register.revoke(&who, &name?).await }).await?;
        Ok(Response::new(RevokeAccessResponse { members: taken.members, invites: taken.invites }))
    }

    async fn set_role(&self, request: Request<SetRoleRequest>) -> Answer<SetRoleResponse> {
        let who = who(&request)?.clone();
        let register = self.register().map_err(|it| to_status(&it))?;
        let wire = request.into_inner();
        let role = role_in("role", wire.role());
        let name = name_in(wire.name);
        let member = self.change(async move { register.set_role(&who, &name?, role?).await });
        Ok(Response::new(SetRoleResponse { member: Some((&member.await?).into()) }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Answer<RenewResponse> {
        let who = who(&request)?.clone();
        let Some(Peer::Certificate(bearer)) = who.peer.clone() else {
            let fault = Fault::unsupported("whoever is on the hub's machine has no certificate");
            return Err(to_status(&fault));
        };
        let asked = || -> Outcome<_> {
            let key = required("public_key", Some(request.into_inner().public_key))?;
            let issued = self.remote()?.authority.client(public_key_in(&key)?)?;
            Ok((self.register()?, issued))
        };
        let (register, issued) = asked().map_err(|it| -> Status { to_status(&it) })?;
        let renewed = self.change(async move {
            let noted = issued.noted;
            register.renew(&who, &bearer, noted.clone()).await?;
            let certificate = issued.der.to_vec();
            Ok(Renewed { certificate, issued_at: noted.issued_at, expires_at: noted.expires_at })
        });
        Ok(Response::new(renewed.await?.into()))
    }
}
