//! The calls about who may come to a hub from elsewhere.

use async_trait::async_trait;

use super::Client;
use crate::{
    base::{fault::Outcome, id::ClientId, limits::HUB_ANSWER_WITHIN},
    model::member::{Admitted, Member, Role},
    runtime::access::{Access, InviteWanted, Invited, Renewed, TakenBack},
    wire::{
        convert::{access::invite_out, required},
        v1,
    },
};

#[async_trait]
impl Access for Client {
    fn client(&self) -> Option<ClientId> {
        Some(self.identity().client)
    }

    fn role(&self) -> Role {
        self.shared.wires().map_or(Role::Admin, |it| it.role)
    }

    async fn admitted(&self) -> Outcome<Admitted> {
        let wires = self.wires()?;
        let call = wires.request(v1::ListAccessRequest {});
        wires.answer(HUB_ANSWER_WITHIN, wires.access().list(call)).await?.try_into()
    }

    async fn invite(&self, wanted: InviteWanted) -> Outcome<Invited> {
        let wires = self.wires()?;
        let call = wires.request(invite_out(wanted));
        wires.answer(HUB_ANSWER_WITHIN, wires.access().invite(call)).await?.try_into()
    }

    async fn revoke_member(&self, name: &str) -> Outcome<TakenBack> {
        let wires = self.wires()?;
        let call = wires.request(v1::RevokeAccessRequest { name: name.to_owned() });
        let answer = wires.answer(HUB_ANSWER_WITHIN, wires.access().revoke(call)).await?;
        Ok(TakenBack { members: answer.members, invites: answer.invites })
    }

    async fn set_role(&self, name: &str, role: Role) -> Outcome<Member> {
        let wires = self.wires()?;
        let role = v1::Role::from(role).into();
        let call = wires.request(v1::SetRoleRequest { name: name.to_owned(), role });
        let answer = wires.answer(HUB_ANSWER_WITHIN, wires.access().set_role(call)).await?;
        required("member", answer.member)?.try_into()
    }

    async fn renew(&self, public_key: &[u8]) -> Outcome<Renewed> {
        self.wires()?.renew(public_key).await
    }
}
