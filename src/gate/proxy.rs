//! The way out where nothing can be redirected: programs come to a proxy and say where they want to go, by HTTP or by
//! SOCKS 5. From there on all is as with any other connection.

use std::sync::Arc;

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{
    Inner,
    asked::{self, Asked, Unread},
    client::{Client, Tunnel, reset, said},
    flow,
    log::Refusal,
    noted::{Kind, Word},
};
use crate::base::limits::FIRST_WORDS_WITHIN;

/// What it is called where nobody can tell whom a program wanted.
const NOBODY: &str = "the proxy";
const SOCKS: u8 = 5;

/// Why a program is not served.
enum Unserved {
    /// It hung up, or says nothing.
    Silent,
    Http(Unread),
    Socks(u8, Unread),
}

/// Serves one connection to its end.
pub async fn serve(gate: &Arc<Inner>, stream: TcpStream) {
    let Ok(to) = stream.local_addr() else { return reset(stream) };
    let mut client = Client::new(stream, to);
    let heard = timeout(FIRST_WORDS_WITHIN, hear(&mut client)).await;
    let why = match heard.unwrap_or(Err(Unserved::Silent)) {
        Ok((Asked::Request(place), _)) => {
            client.proxied = true;
            return flow::let_go(gate, client, place).await;
        }
        Ok((Asked::Tunnel(place, length), tunnel)) => {
            client.begins_after(length);
            client.tunnel = Some(tunnel);
            return flow::let_go(gate, client, place).await;
        }
        Err(why) => why,
    };
    let (unread, words) = match why {
        Unserved::Silent => return reset(client.stream),
        Unserved::Http(unread) => {
            let words = said(unread.status, &unread.why);
            (unread, words)
        }
        Unserved::Socks(code, unread) => (unread, vec![SOCKS, code, 0, 1, 0, 0, 0, 0, 0, 0]),
    };
    refused(gate, unread);
    client.farewell(gate, &words).await;
}

/// What cannot be read is no connection to anywhere, and is told and counted all the same.
fn refused(gate: &Inner, unread: Unread) {
    let place = unread.place.unwrap_or_else(|| NOBODY.to_owned());
    let word = Word::own(unread.why.clone());
    gate.note(Kind { place: place.clone(), program: None, allowed: false, standing: false, word });
    gate.log().refused(Refusal {
        within: 0,
        place,
        what: "at the proxy".to_owned(),
        why: unread.why,
    });
}

/// Hears a program out, up to where it has said what it wants.
async fn hear(client: &mut Client) -> Result<(Asked, Tunnel), Unserved> {
    more(client).await?;
    if client.said.first() == Some(&SOCKS) {
        return socks(client).await.map(|it| (it, Tunnel::Socks));
    }
    loop {
        if let Some(asked) = asked::http(&client.said).map_err(Unserved::Http)? {
            return Ok((asked, Tunnel::Connect));
        }
        more(client).await?;
    }
}

async fn more(client: &mut Client) -> Result<(), Unserved> {
    if client.is_full() || client.hear().await.is_err() || client.over {
        return Err(Unserved::Silent);
    }
    Ok(())
}

async fn socks(client: &mut Client) -> Result<Asked, Unserved> {
    /// By nobody in particular; and by none of the ways that a program knows.
    const METHODS: [u8; 2] = [0, 0xff];
    let (length, nobody) = loop {
        match asked::socks_greeting(&client.said) {
            Some(greeting) => break greeting,
            None => more(client).await?,
        }
    };
    client.begins_after(length);
    let [good, bad] = METHODS.map(|it| [SOCKS, it]);
    let answered = client.stream.write_all(if nobody { &good } else { &bad }).await;
    if answered.is_err() || !nobody {
        return Err(Unserved::Silent);
    }
    loop {
        let asked = asked::socks_request(&client.said);
        match asked.map_err(|(code, unread)| Unserved::Socks(code, unread))? {
            Some(asked) => return Ok(asked),
            None => more(client).await?,
        }
    }
}
