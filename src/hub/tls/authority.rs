//! The hub's own authority: a key that no other program of this machine's users reads, and the certificates it gives out.
//! What it writes into them lets nobody in by itself: the register does.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, TrustAnchor},
};

use crate::{
    base::{
        clock::{Timestamp, wall},
        fault::{Fault, Outcome},
        id::random_bytes,
        limits::{
            AUTHORITY_LIFE, CERTIFICATE_BYTES_MAX, CERTIFICATE_LIFE, CLOCKS_DIFFER_BY,
            HUB_CERTIFICATE_LIFE,
        },
    },
    model::member::{Certificate, Fingerprint},
    wire::enrol::HUB_NAME,
};

/// Its key and its certificate, in one file, so that there is never one without the other.
const FILE: &str = "authority";
const FRESH: &str = "authority.new";
const NAME: &str = "sandwatch hub authority";
/// Readable by group or others.
const OPEN_TO_OTHERS: u32 = 0o077;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate that was made.
pub struct Issued {
    pub der: CertificateDer<'static>,
    pub noted: Certificate,
}

/// A key of somebody else's, of which only the public half is here.
struct PublicKey<'a>(&'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn made(error: &rcgen::Error) -> Fault {
    Fault::failed(format!("making a certificate: {error}"))
}

fn params(common_name: &str, names: Vec<String>, life: Duration) -> Outcome<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(|it| made(&it))?;
    let since_1970 = Duration::from_millis(u64::try_from(wall().0).unwrap_or(0));
    let began = date_time_ymd(1970, 1, 1) + since_1970.saturating_sub(CLOCKS_DIFFER_BY);
    params.not_before = began;
    params.not_after = date_time_ymd(1970, 1, 1) + (since_1970 + life);
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    Ok(params)
}

fn own_params() -> Outcome<CertificateParams> {
    let mut params = params(NAME, Vec::new(), AUTHORITY_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

impl Authority {
    /// Opens the one in a directory, or makes it.
    pub fn open(dir: &Path) -> Outcome<Self> {
        let doing = |error: &io::Error| Fault::io(format_args!("opening {}", dir.display()), error);
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(doing(&error));
            }
            _ => {}
        }
        let path = dir.join(FILE);
        match File::open(&path) {
            Ok(file) => Self::read(&path, &file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(dir),
            Err(error) => Err(doing(&error)),
        }
    }

    fn make(dir: &Path) -> Outcome<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|it| made(&it))?;
        let certificate = own_params()?.self_signed(&key).map_err(|it| made(&it))?.der().clone();
        let secret = key.serialized_der();
        let length = u32::try_from(secret.len()).unwrap_or(u32::MAX);
        let (path, fresh) = (dir.join(FILE), dir.join(FRESH));
        // Of a hub that was killed while it wrote.
        drop(fs::remove_file(&fresh));
        let written =
            File::options().write(true).create_new(true).mode(0o600).open(&fresh).and_then(
                |mut file| {
                    file.write_all(&length.to_be_bytes())?;
                    file.write_all(secret)?;
                    file.write_all(&certificate)?;
                    file.sync_all()?;
                    fs::rename(&fresh, &path)
                },
            );
        written.map_err(|error| Fault::io(format_args!("writing {}", path.display()), &error))?;
        Self::of(key, certificate)
    }

    fn read(path: &Path, file: &File) -> Outcome<Self> {
        let doing =
            |error: &io::Error| Fault::io(format_args!("reading {}", path.display()), error);
        let mode = file.metadata().map_err(|error| doing(&error))?.mode();
        if mode & OPEN_TO_OTHERS != 0 {
            return Err(Fault::denied(format!(
                "others can read the key of this hub: {}",
                path.display()
            ))
            .hint("chmod 600 it if nobody did; else move it away, and invite everybody again"));
        }
        let mut bytes = Vec::new();
        file.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| doing(&error))?;
        let damaged = || {
            Fault::failed(format!("the key of this hub is damaged: {}", path.display()))
                .hint("put it back from a copy; or move it away, and invite everybody again")
        };
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (secret, certificate) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let key = PrivatePkcs8KeyDer::from(secret);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256);
        let (key, certificate) =
            (key.map_err(|_| damaged())?, CertificateDer::from(certificate.to_vec()));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).map_err(|_| damaged())?;
        let is_its =
            |it: &TrustAnchor<'_>| it.subject_public_key_info.ends_with(key.public_key_raw());
        if !roots.roots.iter().all(is_its) {
            return Err(damaged());
        }
        Self::of(key, certificate)
    }

    fn of(key: KeyPair, certificate: CertificateDer<'static>) -> Outcome<Self> {
        Ok(Self { issuer: Issuer::new(own_params()?, key), certificate })
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What is told of it in invites.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A certificate for a client's key, which is checked to be one of P-256.
    pub fn client(&self, public_key: &[u8]) -> Outcome<Issued> {
        self.client_for(public_key, CERTIFICATE_LIFE)
    }

    /// The same, good for so long.
    pub fn client_for(&self, public_key: &[u8], life: Duration) -> Outcome<Issued> {
        let mut params = params("sandwatch client", Vec::new(), life)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &PublicKey(public_key), life)
    }

    /// A certificate and key for the hub itself, with the chain that is shown.
    pub fn server(&self) -> Outcome<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|it| made(&it))?;
        let mut params = params("sandwatch hub", vec![HUB_NAME.to_owned()], HUB_CERTIFICATE_LIFE)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issued = self.issue(params, &key, HUB_CERTIFICATE_LIFE)?;
        let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((vec![issued.der, self.certificate.clone()], secret))
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        life: Duration,
    ) -> Outcome<Issued> {
        let mut serial = random_bytes::<16>();
        // A number that is not negative, and has all its bytes.
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let der = params.signed_by(key, &self.issuer).map_err(|it| made(&it))?.der().clone();
        let now = wall();
        let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        let noted = Certificate {
            fingerprint: Fingerprint::of(&der),
            issued_at: now,
            expires_at: Timestamp(now.0.saturating_add(life)),
        };
        Ok(Issued { der, noted })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_stays_the_same_and_nobody_else_reads_its_key() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("authority");
        let first = Authority::open(&dir).unwrap().fingerprint();
        assert_eq!(Authority::open(&dir).unwrap().fingerprint(), first);
        let file = dir.join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Authority::open(&dir).err().unwrap().message().contains("others can read"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let bytes = fs::read(&file).unwrap();
        for end in [0, 3, 4, 40, bytes.len() - 150, bytes.len() - 20, bytes.len() - 1] {
            fs::write(&file, &bytes[..end]).unwrap();
            assert!(Authority::open(&dir).err().unwrap().message().contains("damaged"), "{end}");
        }
    }
}
