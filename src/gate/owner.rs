//! Whose program it is that answers on this machine. Any user may listen where a service of the operator's is expected:
//! before it, in place of it, or at the other of its two addresses.

use std::{fs, net::SocketAddr};

use rustix::process::geteuid;
use tokio::net::TcpStream;

use super::{Inner, looks::aside};
use crate::driver::sockets::Socket;

/// The kernel's lists of sockets.
const LISTS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether nobody but the operator and root listens where a connection to this machine leads, or has its other end.
/// In doubt it is not so, and neither when that can't be told in time: where many sockets are, the lists are long.
pub async fn is_ours(gate: &Inner, server: &TcpStream) -> bool {
    let (Ok(ours), Ok(theirs)) = (server.local_addr(), server.peer_addr()) else { return false };
    let own = [geteuid().as_raw(), 0];
    let looked = aside(&gate.glances, move || {
        let lists: Vec<String> =
            LISTS.iter().filter_map(|it| fs::read_to_string(it).ok()).collect();
        let sockets = lists.iter().flat_map(|it| it.lines()).filter_map(Socket::read);
        belongs(sockets, ours, theirs, own)
    });
    looked.await.unwrap_or(false)
}

fn belongs(
    sockets: impl Iterator<Item = Socket>,
    ours: SocketAddr,
    theirs: SocketAddr,
    own: [u32; 2],
) -> bool {
    let mut listens = false;
    for it in sockets {
        let here = it.at.port() == theirs.port();
        let listener =
            it.listens && here && (it.at.ip() == theirs.ip() || it.at.ip().is_unspecified());
        let other_end = !it.listens && it.at == theirs && it.to == ours;
        if (listener || other_end) && !own.contains(&it.owner) {
            return false;
        }
        listens |= listener;
    }
    listens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_user_listens_at_is_not_ours() {
        let line = |at: &str, to: &str, state: &str, owner: u32| {
            format!("  0: {at} {to} {state} 00000000:00000000 00:00000000 00000000 {owner} 0 1 1 x")
        };
        // The kernel writes 127.0.0.1 so on a machine of the usual order.
        let four = |it: [u8; 4], port: u16| format!("{:08X}:{port:04X}", u32::from_ne_bytes(it));
        let here = four([127, 0, 0, 1], 8080);
        let (any, none) = (four([0; 4], 8080), four([0; 4], 0));
        let six = format!("{}:{:04X}", "0".repeat(32), 8080);
        let nowhere = format!("{}:0000", "0".repeat(32));
        let far = four([127, 0, 0, 1], 4000);
        let ours: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let theirs: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        for (lines, good) in [
            (vec![line(&here, &none, "0A", 1000)], true),
            (vec![line(&any, &none, "0A", 0)], true),
            (vec![line(&six, &nowhere, "0A", 1000)], true),
            (vec![line(&here, &none, "0A", 1001)], false),
            (vec![line(&here, &none, "0A", 1000), line(&six, &nowhere, "0A", 1001)], false),
            (vec![line(&here, &none, "0A", 1000), line(&here, &far, "01", 1001)], false),
            (vec![line(&here, &none, "0A", 1000), line(&far, &here, "01", 1001)], true),
            (vec![line(&four([127, 0, 0, 2], 8080), &none, "0A", 1000)], false),
            (vec!["  sl  local_address rem_address   st".to_owned()], false),
        ] {
            let sockets = lines.iter().filter_map(|it| Socket::read(it));
            assert_eq!(belongs(sockets, ours, theirs, [1000, 0]), good, "{lines:?}");
        }
    }

    #[test]
    fn what_nobody_has_a_place_to_look_at_is_not_ours() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let gate = Inner::for_tests(&[]);
            assert!(is_ours(&gate, &stream).await);
            gate.glances.close();
            assert!(!is_ours(&gate, &stream).await);
        });
    }

    #[test]
    fn what_the_kernel_lists_is_understood() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            for host in ["127.0.0.1", "::1"] {
                let Ok(listener) = tokio::net::TcpListener::bind((host, 0)).await else { continue };
                let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let gate = Inner::for_tests(&[]);
                assert!(is_ours(&gate, &stream).await, "{host}");
                drop(listener);
                assert!(!is_ours(&gate, &stream).await, "nobody listens at {host}");
            }
        });
    }
}
