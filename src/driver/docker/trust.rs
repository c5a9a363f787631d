//! Whom programs of a container trust in TLS beyond those whom its image trusts: who opens it on the way out, to put a secret
//! in. The image's lists are replaced by ones with one more, in the container alone, before its first program starts.

use hyper::{Method, StatusCode};

use super::engine::{Engine, Payload, escaped};
use crate::{
    base::{fault::Outcome, limits::ENGINE_ANSWER_WITHIN},
    driver::{AUTHORITY_LISTS, Ground, local::trust, tar},
};

/// Where programs that have lists of their own find one, and what was added to it.
const WHOLE: &str = "/.sandwatch-trust.pem";
const ADDED: &str = "/.sandwatch-added.pem";

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
    let whole = files.first().map_or(added.clone(), |it| it.1.clone());
    files.extend([(WHOLE, whole), (ADDED, added)]);
    Ok(files)
}

/// One of the image's own; `None` where there is none, or a link to another one.
async fn list(engine: &Engine, id: &str, path: &str) -> Outcome<Option<String>> {
    let from = format!("/containers/{}/archive?path={path}", escaped(id));
    let answer = engine.call(Method::GET, &from, Payload::Nothing, ENGINE_ANSWER_WITHIN).await?;
    if answer.status != StatusCode::OK {
        return Ok(None);
    }
    Ok(tar::first_file(&answer.bytes).map(|it| String::from_utf8_lossy(it).into_owned()))
}

/// What programs are told of it.
pub fn variables(ground: &Ground) -> Vec<(String, String)> {
    trust::certificate(ground).map(|_| trust::naming(WHOLE, ADDED)).unwrap_or_default()
}
