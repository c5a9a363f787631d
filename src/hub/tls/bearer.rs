//! Somebody without a certificate, who shows a token first.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{
    Inside,
    line::{Ends, until_over},
    oidc::NotTaken,
};
use crate::{
    base::{
        clock::wall,
        fault::Fault,
        limits::{REFUSAL_HEARD_WITHIN, REFUSAL_UNHEARD_BYTES_MAX},
    },
    hub::accept::Peer,
    model::member::{Fingerprint, Proof, Refused},
    runtime::{Bearer, access::Standing},
    wire::enrol::{say, token_heard, welcome_bytes},
};

impl Inside {
    /// Lets in who shows a token, while it is good.
    pub(super) async fn bear(
        &self,
        mut stream: TlsStream<TcpStream>,
        from: SocketAddr,
    ) -> Option<Peer> {
        let taken = match token_heard(&mut stream).await {
            Ok(token) => {
                let text = token.expose();
                let certificate = Fingerprint::of(text.as_bytes());
                self.team.token(text, wall()).map(|(standing, held)| (standing, held, certificate))
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(NotTaken::of("it is longer than one may be, or no text"))
            }
            Err(_) => {
                self.refused(Refused::Protocol, from, "no token came");
                return None;
            }
        };
        let (standing, held, certificate) = match taken {
            Ok(taken) => taken,
            Err(not) => {
                self.refused(not.why, from, &not.words());
                farewell(&mut stream, &not.fault()).await;
                return None;
            }
        };
        let Standing::Good { member, name, role, .. } = standing else { return None };
        let address = from.ip().to_canonical().to_string();
        let proof = Proof::Token;
        let bearer = Bearer { member, name, role, proof, certificate, address, called: None };
        let team = Arc::clone(&self.team);
        let standing = move |_: &Bearer| team.standing_of(&held).ok();
        let ends: Ends = Box::pin(until_over(bearer.clone(), self.team.changes(), standing));
        self.enter(stream, from, bearer, ends, true).await
    }
}

/// Says why not, and waits until that was heard: what the other side has said meanwhile would have it thrown away.
pub(super) async fn farewell(stream: &mut TlsStream<TcpStream>, why: &Fault) {
    let done = timeout(REFUSAL_HEARD_WITHIN, async {
        say(stream, &welcome_bytes(Some(why))).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(REFUSAL_UNHEARD_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    });
    if !matches!(done.await, Ok(Ok(_))) {
        tracing::debug!("who was not let in did not wait to hear why");
    }
}
