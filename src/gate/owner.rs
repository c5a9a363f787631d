//! Whether a service on this machine is the operator's own, so that it may be given a secret.

use tokio::net::TcpStream;

use super::{Inner, looks::paced};
use crate::driver::local::service::{self, Foreign};

/// Why a connection to this machine may lead to somebody else. In doubt it does, and also when that can't be told in time.
pub async fn foreign(gate: &Inner, server: &TcpStream) -> Option<Foreign> {
    let (Ok(ours), Ok(theirs)) = (server.local_addr(), server.peer_addr()) else {
        return Some(Foreign::Unknown);
    };
    let looked =
        paced(&gate.owners, None, move |until| service::foreign(ours, theirs, until)).await;
    looked.unwrap_or(Some(Foreign::Unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_a_place_to_look_at_is_not_ours() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let gate = Inner::for_tests(&[]);
            assert_eq!(foreign(&gate, &stream).await, None);
            gate.owners.close();
            assert_eq!(foreign(&gate, &stream).await, Some(Foreign::Unknown));
        });
    }
}
