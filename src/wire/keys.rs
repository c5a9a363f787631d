//! Certificates and a key of a team, from files in PEM: those of a hub, and those of who comes to it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::base::{
    fault::{Fault, Outcome},
    limits::{TEAM_CERTIFICATES_MAX, TEAM_FILE_BYTES_MAX},
};

/// Readable by whoever is neither its owner nor of its group.
const OPEN_TO_OTHERS: u32 = 0o007;

/// What stands in the files.
pub struct Keys {
    /// What is shown: its own first, then those between it and an authority.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Keys {
    /// Reads both. A key that anybody on the machine could read is refused.
    pub fn read(certificate: &Path, key: &Path) -> Outcome<Self> {
        let (secret, mode) = bytes(key, TEAM_FILE_BYTES_MAX)?;
        if mode & OPEN_TO_OTHERS != 0 {
            return Err(Fault::denied(format!("others can read the key: {}", key.display()))
                .hint("chmod o= it, if nobody did; else have another made"));
        }
        let key = PrivateKeyDer::from_pem_slice(&secret)
            .map_err(|_| Fault::invalid(format!("no key in PEM: {}", key.display())))?;
        Ok(Self { chain: certificates(certificate)?, key })
    }
}

/// The certificates of one file; there is at least one.
pub fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let none = || Fault::invalid(format!("no certificate in PEM: {}", path.display()));
    let bytes = bytes(path, TEAM_FILE_BYTES_MAX)?.0;
    let read = CertificateDer::pem_slice_iter(&bytes).take(TEAM_CERTIFICATES_MAX);
    let read = read.collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
    if read.is_empty() { Err(none()) } else { Ok(read) }
}

/// What is in a file of at most so many bytes, and who may read it.
pub fn bytes(path: &Path, most: u64) -> Outcome<(Vec<u8>, u32)> {
    let doing = |error: &io::Error| Fault::io(format_args!("reading {}", path.display()), error);
    // Whatever waits for somebody to write is no file.
    let seen = std::fs::metadata(path).map_err(|error| doing(&error))?;
    if !seen.is_file() || seen.len() > most {
        return Err(Fault::invalid(format!(
            "not a file of at most {most} bytes: {}",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| doing(&error))?;
    file.take(most).read_to_end(&mut bytes).map_err(|error| doing(&error))?;
    Ok((bytes, seen.mode()))
}
