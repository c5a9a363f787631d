//! In place of the way over TLS, where this was built without it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::way::{Carried, Opened, Shows};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::MemberId,
    },
    config::{
        address::{Address, Host},
        oidc::{TokenFiles, TokenFrom},
        team::TeamFiles,
    },
    model::invite::InviteText,
};

fn none<T>() -> Outcome<T> {
    Err(Fault::unsupported("this sandwatch was built without TLS, and reaches no hub by https")
        .hint("build it with the feature `tls`, or reach the hub by an ssh:// context"))
}

#[expect(clippy::unused_async, reason = "stands for what waits")]
pub(super) async fn open(_: &Host, _: u16, _: &Shows) -> Outcome<Opened> {
    none()
}

pub(super) fn member(_: &Shows, _: &str) -> Outcome<MemberId> {
    none()
}

pub(super) fn try_team(_: &TeamFiles, _: &Host) -> Outcome<()> {
    none()
}

#[expect(clippy::unused_async, reason = "stands for what waits")]
pub(super) async fn try_token(_: &TokenFiles, _: &Host) -> Outcome<()> {
    none()
}

#[expect(clippy::unused_async, reason = "stands for what waits")]
pub(super) async fn carried(_: &TokenFrom) -> Outcome<Arc<Carried>> {
    none()
}

#[expect(clippy::unused_async, reason = "stands for what waits")]
pub(super) async fn enrol(
    _: impl FnOnce() -> Outcome<PathBuf>,
    _: &InviteText,
) -> Outcome<Address> {
    none()
}

#[expect(clippy::unused_async, reason = "stands for what waits")]
pub(super) async fn renew(_: &Path, _: &str, _: &super::dial::Wires) -> Outcome<()> {
    none()
}
