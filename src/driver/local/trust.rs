//! Whom programs of a sandbox trust in TLS beyond those whom the system trusts: who opens it on the way out, to put a
//! secret in. The system's list has a copy in the sandbox's own /etc, and programs with lists of their own are told.

use std::{fs, path::Path};

use super::image::Standing;
use crate::driver::{Ground, TRUST_FILE};

/// Where systems keep their list.
const LISTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
];
/// Below /etc: the list with the new one, and the new one alone.
const WHOLE: &str = "sandwatch/trust.pem";
const ALONE: &str = "sandwatch/added.pem";

/// Variables that name a list; the last adds to one.
const NAMES_LIST: [&str; 5] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT"];
const NAMES_MORE: &str = "NODE_EXTRA_CA_CERTS";

/// The certificate, as its host left it in the ground; `None` where nobody opens anything.
fn certificate(ground: &Ground) -> Option<String> {
    fs::read_to_string(ground.dir.join(TRUST_FILE)).ok()
}

/// Files of the sandbox's own below /etc, with their contents.
pub fn files(ground: &Ground, image: Option<&Standing>) -> Vec<(String, String)> {
    let Some(added) = certificate(ground) else { return Vec::new() };
    let read = |path: &str| match image {
        Some(it) => it.read(path),
        None => fs::read_to_string(path).ok(),
    };
    let lists: Vec<(&str, String)> =
        LISTS.iter().filter_map(|path| Some((*path, read(path)?))).collect();
    let with = |list: &str| format!("{}\n{added}", list.trim_end());
    let first = lists.first().map_or(added.clone(), |(_, list)| with(list));
    let mut files = vec![(WHOLE.to_owned(), first), (ALONE.to_owned(), added.clone())];
    for (path, list) in &lists {
        // What a link leads to is another file of these, or none that is ours to make.
        let plain = image.is_some() || fs::canonicalize(path).is_ok_and(|it| it == Path::new(path));
        let below = path.strip_prefix("/etc/").filter(|_| plain);
        files.extend(below.map(|it| (it.to_owned(), with(list))));
    }
    files
}

/// What programs are told.
pub fn variables(ground: &Ground) -> Vec<(String, String)> {
    if certificate(ground).is_none() {
        return Vec::new();
    }
    let lists = NAMES_LIST.iter().map(|it| (*it, WHOLE));
    let told = lists.chain([(NAMES_MORE, ALONE)]);
    told.map(|(name, file)| (name.to_owned(), format!("/etc/{file}"))).collect()
}
