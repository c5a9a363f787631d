//! The root of a sandbox that has stopped, for who looks at its files: what it kept is mounted as it was when it ran, in
//! namespaces of a child that ends at once, read-only, and is there for as long as somebody has its descriptor.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};

use super::{
    blueprint::Blueprint,
    identity::Identity,
    image::{self, Standing},
    init,
    message::{Order, Packet, Word, receive, send},
    mounts,
    namespaces::{self, Held, Ids},
    sys,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::FILES_STEP_WITHIN,
    },
    driver::Ground,
    model::sandbox::SandboxSpec,
};

/// What it stands on, if that is an image, and who it is.
pub fn identity(ground: &Ground) -> Outcome<(Option<Standing>, Identity)> {
    let base = Identity::of(&ground.id)?;
    let image = image::under(ground)?;
    let identity = image.as_ref().map_or(Ok(base.clone()), |it| it.identity(&base))?;
    Ok((image, identity))
}

/// Mounts it. Blocks on files, and on a child that has not longer than any look.
pub fn root(ground: &Ground, spec: &SandboxSpec) -> Outcome<OwnedFd> {
    let (image, identity) = identity(ground)?;
    let plan = namespaces::plan_still(ground, spec, &identity, image.as_ref())?;
    let (ours, theirs) = namespaces::pair()?;
    let failed = |error: std::io::Error| Fault::io("starting to look at a stopped sandbox", &error);
    let Some(pid) = sys::fork().map_err(failed)? else { become_builder(&plan, &theirs) };
    drop(theirs);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|it| failed(it.into()))?;
    let held = Held { pid, pidfd, control: ours, mark: None };
    let built = follow(&held, &identity);
    // It is a child of this process, and has nothing more to do.
    held.abandon();
    built
}

fn follow(held: &Held, identity: &Identity) -> Outcome<OwnedFd> {
    let until = clock::monotonic() + FILES_STEP_WITHIN;
    next(held, until)?;
    let ids = Ids {
        uid: (identity.inside_uid, identity.host_uid),
        gid: (identity.inside_gid, identity.host_gid),
        helper: None,
    };
    namespaces::write_ids(held.pid, &ids, identity.by_root)
        .map_err(|error| Fault::unsupported(format!("mapping users: {error}")))?;
    send(held.control.as_fd(), &Order::Go.bytes(), &[])
        .map_err(|error| Fault::io("looking at a stopped sandbox", &error))?;
    let root = next(held, until)?.descriptors.into_iter().next();
    root.ok_or_else(|| Fault::bug("a root was built and not given"))
}

/// What the child says next, unless it is that it failed.
fn next(held: &Held, until: Duration) -> Outcome<Packet> {
    let failed = |error: std::io::Error| Fault::io("looking at a stopped sandbox", &error);
    loop {
        let left = until.saturating_sub(clock::monotonic());
        if left.is_zero() {
            return Err(Fault::late("what a stopped sandbox kept could not be mounted in time")
                .hint("a file system under it may hang"));
        }
        let left = Timespec::try_from(left).ok();
        let mut ready = [PollFd::new(&held.control, PollFlags::IN)];
        match poll(&mut ready, left.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let packet = receive(&held.control).map_err(failed)?;
        return match Word::parse(&packet.bytes) {
            Some(Word::Ready(_)) => Ok(packet),
            Some(Word::Failed(why)) => {
                Err(Fault::unsupported(format!("looking at a stopped sandbox: {why}"))
                    .hint("sandwatch diff tells what it changed, sandwatch fork goes on from it"))
            }
            _ => Err(Fault::failed("looking at a stopped sandbox: the child that mounts it ended")),
        };
    }
}

/// All that the child does. It never returns into the hub's code, whose other threads it does not have.
fn become_builder(plan: &Blueprint, control: &OwnedFd) -> ! {
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if let Err(why) = build(plan, control.as_fd()) {
            drop(send(control.as_fd(), &Word::Failed(why).bytes(), &[]));
        }
    }));
    sys::exit_now(i32::from(built.is_err()))
}

fn build(plan: &Blueprint, control: BorrowedFd<'_>) -> Result<(), String> {
    const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    sys::reset_signals();
    let mut keep = plan.open();
    keep.push(control);
    init::shed(&keep).map_err(|error| format!("closing files: {error}"))?;
    sys::unshare(NAMESPACES as u64).map_err(|error| format!("making namespaces: {error}"))?;
    send(control, &Word::Ready(String::new()).bytes(), &[])
        .map_err(|error| format!("reporting: {error}"))?;
    if !namespaces::wait_for_go(control) {
        return Ok(());
    }
    namespaces::take_identity(&plan.identity).map_err(|it| it.to_string())?;
    let tree = mounts::build_still(plan).map_err(|it| it.to_string())?;
    send(control, &Word::Ready(String::new()).bytes(), &[tree.as_fd()])
        .map_err(|error| format!("reporting: {error}"))
}
