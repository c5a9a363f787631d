//! What a certificate of a team's own authority says: whom it is for, until when, and whether its key may sign. Hub and
//! client read the same. Nothing here checks who made it: that is done by whoever trusts that authority, before any of this
//! is believed.

use crate::{
    base::{
        clock::Timestamp,
        id::MemberId,
        limits::{CERTIFICATE_BYTES_MAX, CERTIFICATE_NAMES_MAX},
        text::hex,
    },
    model::member::Fingerprint,
};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const BYTES: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const SHORT_TIME: u8 = 0x17;
const LONG_TIME: u8 = 0x18;
/// UTF-8, printable and ASCII: what can be compared byte for byte.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// What a version and what extensions stand in.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Among the other names: of mail, of DNS, and addresses such as `spiffe://team/alice`.
const NAMES: [u8; 3] = [0x81, 0x82, 0x86];
/// 2.5.4.3, 2.5.29.17 and 2.5.29.15.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const OTHER_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// The first bit of the usage: signatures, which is all that TLS 1.3 has of it.
const SIGNS: u8 = 0x80;

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The common name first, if there is one, then the other names of mail, DNS and as addresses; at most
    /// `CERTIFICATE_NAMES_MAX`.
    pub names: Vec<String>,
    /// The same for all certificates with the same subject and the same other names, so also for the next one.
    pub member: MemberId,
    /// From then on it is good no more.
    pub until: Timestamp,
    /// Its key may make signatures.
    pub signs: bool,
}

/// Elements one after another.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next one: what it is, and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            // As long as the longest certificate that is read at all.
            let (bytes, rest) =
                rest.split_at_checked(count).filter(|_| (1..=3).contains(&count))?;
            (bytes.iter().fold(0, |all, it| (all << 8) | usize::from(*it)), rest)
        };
        let (inside, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, inside))
    }

    /// The next one, which has to be of this kind.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, inside)| inside)
    }

    /// All of this kind.
    fn all(mut self, wanted: u8) -> impl Iterator<Item = &'a [u8]> {
        std::iter::from_fn(move || self.take(wanted))
    }
}

impl Said {
    /// Reads a certificate in DER; `None` when it is none, or is larger than `CERTIFICATE_BYTES_MAX`.
    pub fn read(der: &[u8]) -> Option<Self> {
        if der.len() as u64 > CERTIFICATE_BYTES_MAX {
            return None;
        }
        let mut signed = Elements(Elements(der).take(SEQUENCE)?);
        let mut all = Elements(signed.take(SEQUENCE)?);
        if all.next()?.0 == VERSION {
            all.take(INTEGER)?;
        }
        let _algorithm = all.take(SEQUENCE)?;
        let _issuer = all.take(SEQUENCE)?;
        let mut life = Elements(all.take(SEQUENCE)?);
        let _from = life.next()?;
        let until = time(life.next()?)?;
        let subject = all.take(SEQUENCE)?;
        let _key = all.take(SEQUENCE)?;
        let (mut others, mut signs) = (&[][..], true);
        while let Some((tag, inside)) = all.next() {
            let extensions = if tag == EXTENSIONS { inside } else { continue };
            for it in Elements(Elements(extensions).take(SEQUENCE)?).all(SEQUENCE) {
                let mut it = Elements(it);
                let what = it.take(IDENTIFIER)?;
                // Whether it is critical may stand in between.
                let value = match it.next()? {
                    (BYTES, value) => value,
                    _ => it.take(BYTES)?,
                };
                if what == OTHER_NAMES {
                    others = Elements(value).take(SEQUENCE)?;
                } else if what == KEY_USAGE {
                    let bits = Elements(value).take(BITS)?;
                    signs = bits.get(1).is_some_and(|it| it & SIGNS != 0);
                }
            }
        }
        let names = common_names(subject).chain(other_names(others));
        let names = names.take(CERTIFICATE_NAMES_MAX).collect();
        Some(Self { names, member: member(subject, others)?, until, signs })
    }
}

fn common_names(subject: &[u8]) -> impl Iterator<Item = String> {
    Elements(subject).all(SET).flat_map(|it| Elements(it).all(SEQUENCE)).filter_map(|it| {
        let mut it = Elements(it);
        let what = it.take(IDENTIFIER)?;
        let (tag, text) = it.next()?;
        let text = (what == COMMON_NAME && TEXTS.contains(&tag)).then_some(text)?;
        String::from_utf8(text.to_vec()).ok()
    })
}

fn other_names(mut others: &[u8]) -> impl Iterator<Item = String> {
    std::iter::from_fn(move || {
        let mut rest = Elements(others);
        let found = rest.next();
        others = rest.0;
        found
    })
    .filter(|(tag, _)| NAMES.contains(tag))
    .filter_map(|(_, text)| String::from_utf8(text.to_vec()).ok())
}

/// Made of what stays when a certificate is renewed. It can't be that of somebody who was invited: those have no `-`.
fn member(subject: &[u8], others: &[u8]) -> Option<MemberId> {
    let length = (subject.len() as u64).to_be_bytes();
    let sum = Fingerprint::of(&[&length, subject, others].concat());
    MemberId::parse(&format!("team-{}", hex(sum.bytes().get(..12)?)))
}

/// `YYMMDDHHMMSSZ`, or with all four digits of the year.
fn time((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok().filter(|it| it.is_ascii())?;
    let digits = text.strip_suffix('Z').filter(|it| it.bytes().all(|it| it.is_ascii_digit()))?;
    let full = match tag {
        SHORT_TIME if digits.len() == 12 => {
            let century = if digits >= "50" { "19" } else { "20" };
            format!("{century}{digits}")
        }
        LONG_TIME if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    let part = |at: usize| full.get(at..at + 2).unwrap_or_default();
    let (year, month, day) = (full.get(..4)?, part(4), part(6));
    let (hour, minute, second) = (part(8), part(10), part(12));
    Timestamp::from_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
        date_time_ymd,
    };

    use super::*;

    fn params(common: &str, others: &[SanType]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Team");
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = others.to_vec();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2049, 12, 31);
        params
    }

    fn made(params: &CertificateParams) -> Vec<u8> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_whom_it_is_for_and_the_next_one_of_theirs_says_the_same() {
        let others = [
            SanType::Rfc822Name("alice@example.org".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::URI("spiffe://team/alice".try_into().unwrap()),
            SanType::DnsName("alice.example.org".try_into().unwrap()),
        ];
        let mut alice = params("Alice Ångström", &others);
        let said = Said::read(&made(&alice)).unwrap();
        let names =
            ["Alice Ångström", "alice@example.org", "spiffe://team/alice", "alice.example.org"];
        assert_eq!(said.names, names);
        assert_eq!(said.until.rfc3339(), "2049-12-31T00:00:00.000Z");
        assert!(said.signs);
        // Another key, another time, other usages.
        alice.not_after = date_time_ymd(2051, 1, 2);
        alice.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
        alice.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let next = Said::read(&made(&alice)).unwrap();
        assert_eq!((&next.member, &next.names), (&said.member, &said.names));
        assert_eq!(next.until.rfc3339(), "2051-01-02T00:00:00.000Z");
        assert!(next.signs);
        alice.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        assert!(!Said::read(&made(&alice)).unwrap().signs);
        // Somebody else, and nobody at all.
        let bob = Said::read(&made(&params("Bob", &others))).unwrap();
        let fewer = Said::read(&made(&params("Alice Ångström", &others[..2]))).unwrap();
        assert!(bob.member != said.member && fewer.member != said.member);
        let mut nobody = params("", &[]);
        nobody.distinguished_name = rcgen::DistinguishedName::new();
        assert_eq!(Said::read(&made(&nobody)).unwrap().names, [""; 0]);
    }

    #[test]
    fn what_is_cut_off_or_changed_anywhere_breaks_nothing() {
        let der = made(&params("Alice", &[SanType::DnsName("a.example".try_into().unwrap())]));
        for end in 0..der.len() {
            drop(Said::read(&der[..end]));
        }
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut other = der.clone();
                other[at] ^= flip;
                drop(Said::read(&other));
            }
        }
        assert_eq!(Said::read(&vec![0x30; CERTIFICATE_BYTES_MAX as usize + 1]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Said::read(&bytes));
        }
    }
}
