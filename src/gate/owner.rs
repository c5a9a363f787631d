//! Whether a service on this machine is the operator's own, so that it may be given a secret.

use std::sync::Arc;

use tokio::{net::TcpStream, time::timeout};

use super::{Inner, looks::paced};
use crate::{
    base::limits::GATE_TURN_WITHIN,
    driver::local::service::{self, Foreign},
};

/// Why a connection to this machine may lead to somebody else. In doubt it does, and also when that can't be told in time.
pub async fn foreign(gate: &Inner, server: &TcpStream) -> Option<Foreign> {
    let (Ok(ours), Ok(theirs)) = (server.local_addr(), server.peer_addr()) else {
        return Some(Foreign::Unknown);
    };
    // Its turn may be a while away, and the program waits for it.
    let turn = timeout(GATE_TURN_WITHIN, Arc::clone(&gate.owners).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Some(Foreign::Unknown) };
    let look = move |until| service::foreign(ours, theirs, until);
    paced(&gate.owners, Some(turn), look).await.unwrap_or(Some(Foreign::Unknown))
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
