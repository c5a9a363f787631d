//! Whom programs of a sandbox trust in TLS beyond those whom the system trusts: who opens it on the way out, to put a
//! secret in. The system's list has a copy in the sandbox's own /etc, and programs with lists of their own are told.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use super::image::Standing;
use crate::driver::{ASK_DIR, AUTHORITY_LISTS, Ground, TRUST_FILE};

/// Beside the certificate: the list with it.
const WHOLE: &str = "trust.pem";

/// Variables that name a list; the last adds to one.
const NAMES_LIST: [&str; 5] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT"];
const NAMES_MORE: &str = "NODE_EXTRA_CA_CERTS";

/// The certificate, as its host left it for the sandbox; `None` where nobody opens anything.
pub fn certificate(ground: &Ground) -> Option<String> {
    fs::read_to_string(ground.dir.join(ASK_DIR).join(TRUST_FILE)).ok()
}

/// Makes the list that programs are told of, and gives those of the system with the new one, as files below /etc.
pub fn files(ground: &Ground, image: Option<&Standing>) -> io::Result<Vec<(String, String)>> {
    let Some(added) = certificate(ground) else { return Ok(Vec::new()) };
    let read = |path: &str| match image {
        Some(it) => it.read(path),
        None => fs::read_to_string(path).ok(),
    };
    let lists: Vec<(&str, String)> =
        AUTHORITY_LISTS.iter().filter_map(|path| Some((*path, read(path)?))).collect();
    let whole = ground.dir.join(ASK_DIR).join(WHOLE);
    // Never through what an earlier sandbox in this place may have left.
    drop(fs::remove_file(&whole));
    fs::write(&whole, lists.first().map_or(added.clone(), |(_, list)| with(list, &added)))?;
    fs::set_permissions(&whole, fs::Permissions::from_mode(0o644))?;
    let mut files = Vec::new();
    for (path, list) in &lists {
        // What a link leads to is another file of these, or none that is ours to make.
        let plain = image.is_some() || fs::canonicalize(path).is_ok_and(|it| it == Path::new(path));
        let below = path.strip_prefix("/etc/").filter(|_| plain);
        files.extend(below.map(|it| (it.to_owned(), with(list, &added))));
    }
    Ok(files)
}

/// A list of authorities with one more.
pub fn with(list: &str, added: &str) -> String {
    format!("{}\n{added}", list.trim_end())
}

/// What programs are told, who see it all in that directory.
pub fn variables(ground: &Ground, at: &Path) -> Vec<(String, String)> {
    if certificate(ground).is_none() {
        return Vec::new();
    }
    let [whole, added] = [WHOLE, TRUST_FILE].map(|it| at.join(it).display().to_string());
    naming(&whole, &added)
}

/// The same of a list, and of what was added to it, wherever they are.
pub fn naming(whole: &str, added: &str) -> Vec<(String, String)> {
    let told = NAMES_LIST.iter().map(|it| (*it, whole)).chain([(NAMES_MORE, added)]);
    told.map(|(name, file)| (name.to_owned(), file.to_owned())).collect()
}
