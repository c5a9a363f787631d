//! Whom programs of a container trust in TLS beyond those whom its image trusts: who opens it on the way out, to put a secret
//! in. The image's lists are replaced by ones with one more, in the container alone, before its first program starts.

use hyper::{Method, StatusCode};

use super::engine::{Engine, Payload, escaped, escaped_bytes};
use crate::{
    base::{
        fault::Outcome,
        limits::{ENGINE_ANSWER_WITHIN, LINKS_FOLLOWED_MAX},
    },
    driver::{
        AUTHORITY_LISTS, Ground,
        local::trust,
        tar::{self, First},
    },
    model::file::led,
};

/// Where programs that have lists of their own find one, and what was added to it.
pub const WHOLE: &str = "/.sandwatch-trust.pem";
pub const ADDED: &str = "/.sandwatch-added.pem";

/// Files for a container that was made and not started, by their paths; none where nobody opens anything.
pub async fn files(
    engine: &Engine,
    id: &str,
    ground: &Ground,
) -> Outcome<Vec<(&'static str, String)>> {
    let Some(added) = trust::certificate(ground) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for path in AUTHORITY_LISTS {
        if let Some(list) = list(engine, id, path).await? {
            files.push((path, trust::with(&list, &added)));
        }
    }
    // An image without a list may get one later; until then programs trust whom this machine's do.
    let of_host = || AUTHORITY_LISTS.iter().find_map(|it| std::fs::read_to_string(it).ok());
    let whole = match files.first() {
        Some((_, list)) => list.clone(),
        None => of_host().map_or(added.clone(), |it| trust::with(&it, &added)),
    };
    files.extend([(WHOLE, whole), (ADDED, added)]);
    Ok(files)
}

/// One of the image's own, wherever a link leads to it; `None` where there is none.
async fn list(engine: &Engine, id: &str, path: &str) -> Outcome<Option<String>> {
    let mut path = path.as_bytes().to_vec();
    for _ in 0..LINKS_FOLLOWED_MAX {
        let from = format!("/containers/{}/archive?path={}", escaped(id), escaped_bytes(&path));
        let answer = engine.call(Method::GET, &from, Payload::Nothing, ENGINE_ANSWER_WITHIN);
        let answer = answer.await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            // Without it programs would trust nobody else.
            _ => return Err(answer.fault()),
        }
        match tar::first(&answer.bytes) {
            Some(First::File(list)) => return Ok(Some(String::from_utf8_lossy(list).into_owned())),
            Some(First::Link(target)) => path = led(&path, &target),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// What programs are told of it.
pub fn variables(ground: &Ground) -> Vec<(String, String)> {
    trust::certificate(ground).map(|_| trust::naming(WHOLE, ADDED)).unwrap_or_default()
}
