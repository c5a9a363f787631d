//! `hub proxy`: carries bytes between stdin and stdout and this user's hub, for a console on another machine that came by
//! ssh. It looks at none of them.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
};

use super::{args::ProxyArgs, inside, out};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::PROXY_PIECE_BYTES,
    },
    client,
    config::{environment, paths::Paths},
    wire,
};

/// Connects, says that it did, and carries until one side has ended.
pub fn proxy(paths: &Paths, args: &ProxyArgs) -> Outcome<out::Code> {
    let mut hub = None;
    let connected = async {
        hub = Some(client::stream(paths, !args.running).await?);
        Ok(out::DONE)
    };
    // 2 is what an older program without this verb ends with.
    inside(connected).map_err(|fault| match fault.kind() {
        Kind::Invalid => Fault::failed(fault.message()),
        _ => fault,
    })?;
    let hub = hub.ok_or_else(|| Fault::bug("connected to nothing"))?;
    carry(&hub).map_err(|error| Fault::io("carrying to the hub", &error))?;
    Ok(out::DONE)
}

fn carry(hub: &UnixStream) -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if let Some(from) = environment::came_by_ssh() {
        (&*hub).write_all(wire::via_ssh(from).as_bytes())?;
    }
    output.write_all(client::proxy_greeting().as_bytes())?;
    let toward = hub.try_clone()?;
    // It ends with this process, however long nothing comes.
    std::thread::spawn(move || {
        // What was not read when the other side hung up is not to be read any more.
        let ended = pass(&mut input, &mut &toward);
        tracing::debug!(?ended, "nothing more comes in");
        toward.shutdown(Shutdown::Both)
    });
    // Whichever side ended, both have.
    let ended = pass(&mut &*hub, &mut output);
    tracing::debug!(?ended, "nothing more goes out");
    Ok(())
}

/// Passes each piece on as it comes. (`io::copy` would splice, by which one direction can hold up the other.)
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PROXY_PIECE_BYTES];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(piece.get(..count).unwrap_or_default())?;
    }
}
