//! An issuer's public keys, from a file of JSON (a JWKS), and whether one of them made a signature.

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::Value;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{TOKEN_KEYS_BYTES_MAX, TOKEN_KEYS_MAX},
    },
    wire::{keys, token::Token},
};

/// How a token may be signed: never by a secret that both sides know, never not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// One key of an issuer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// What alone it is for; `None` = whatever it can.
    only: Option<Algorithm>,
    material: Material,
}

impl Key {
    /// Whether it could have made a signature of that kind.
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384};
        self.only.is_none_or(|it| it == algorithm)
            && match self.material {
                Material::Rsa { .. } => !matches!(algorithm, Es256 | Es384 | EdDsa),
                Material::P256(_) => algorithm == Es256,
                Material::P384(_) => algorithm == Es384,
                Material::Ed25519(_) => algorithm == EdDsa,
            }
    }

    /// Whether it made this signature. What does not fit, it did not.
    fn made(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let plain = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        match &self.material {
            Material::P256(key) => plain(&ECDSA_P256_SHA256_FIXED, key),
            Material::P384(key) => plain(&ECDSA_P384_SHA384_FIXED, key),
            Material::Ed25519(key) => plain(&ED25519, key),
            Material::Rsa { modulus, exponent } => {
                let how = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return false,
                };
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(how, message, signature).is_ok()
            }
        }
    }
}

/// Finds the key by which this very text was signed; else what is wrong, in words that say nothing of the text.
pub(super) fn signer<'a>(
    keys: &'a [Key],
    token: &Token,
    text: &str,
) -> Result<&'a Key, &'static str> {
    if token.critical {
        return Err("it has extensions that no hub knows");
    }
    let algorithm =
        Algorithm::named(&token.algorithm).ok_or("it is not signed in a way that is taken")?;
    let mut fit = keys.iter().filter(|it| it.fits(algorithm));
    let named: Vec<&Key> = match &token.key {
        Some(id) => fit.filter(|it| it.id.as_ref() == Some(id)).collect(),
        // One that does not say by which it is signed is by the only one there is.
        None => match (fit.next(), fit.next()) {
            (Some(only), None) => vec![only],
            _ => return Err("it does not say by which key it is signed"),
        },
    };
    if named.is_empty() {
        return Err("it is signed by a key that is none of the issuer's");
    }
    let message = text.as_bytes().get(..token.signed).unwrap_or_default();
    let signed = |it: &&Key| it.made(algorithm, message, &token.signature);
    named.into_iter().find(signed).ok_or("its signature is wrong")
}

/// Reads all keys of a file that can be used here; there is at least one.
pub(super) fn keys(path: &Path) -> Outcome<Vec<Key>> {
    let (bytes, _) = keys::bytes(path, TOKEN_KEYS_BYTES_MAX)?;
    read(&bytes).map_err(|why| Fault::invalid(format!("{why}: {}", path.display())))
}

fn read(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: Option<Value> = serde_json::from_slice(bytes).ok();
    let Some(Value::Array(all)) = set.as_ref().and_then(|it| it.get("keys")) else {
        return Err("no keys of an issuer: JSON with `keys`".to_owned());
    };
    if all.len() > TOKEN_KEYS_MAX {
        return Err(format!("more than {TOKEN_KEYS_MAX} keys"));
    }
    // Parts of private keys; `k` is a secret that is all there is of its key.
    if all.iter().any(|it| it.get("d").is_some() || it.get("k").is_some()) {
        return Err("there is a secret key among the keys of an issuer".to_owned());
    }
    let keys: Vec<Key> = all.iter().filter_map(key).collect();
    if keys.is_empty() { Err("no key that can be used".to_owned()) } else { Ok(keys) }
}

/// One that is for signatures, of a kind that is known here.
fn key(it: &Value) -> Option<Key> {
    let text = |name: &str| it.get(name).and_then(Value::as_str);
    let part = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|it| it != "sig") {
        return None;
    }
    if let Some(Value::Array(does)) = it.get("key_ops")
        && !does.iter().any(|it| it.as_str() == Some("verify"))
    {
        return None;
    }
    let point = |bytes: usize| {
        let (x, y) = (part("x")?, part("y")?);
        (x.len() == bytes && y.len() == bytes).then(|| [&[4][..], &x, &y].concat())
    };
    let number = |name: &str| {
        let mut it = part(name)?;
        it.drain(..it.iter().take_while(|it| **it == 0).count());
        Some(it)
    };
    let material = match (text("kty")?, text("crv")) {
        ("RSA", _) => Material::Rsa { modulus: number("n")?, exponent: number("e")? },
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(part("x").filter(|it| it.len() == 32)?),
        _ => return None,
    };
    let only = match text("alg") {
        Some(name) => Some(Algorithm::named(name)?),
        None => None,
    };
    Some(Key { id: text("kid").map(str::to_owned), only, material })
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
    };
    use serde_json::json;

    use super::*;

    fn part(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn elliptic() -> (EcdsaKeyPair, Value) {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (part(&point[1..33]), part(&point[33..]));
        (pair, json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}))
    }

    fn set(keys: &[Value]) -> Result<Vec<Key>, String> {
        read(json!({"keys": keys}).to_string().as_bytes())
    }

    fn with(mut it: Value, name: &str, value: &str) -> Value {
        it[name] = value.into();
        it
    }

    fn text(header: Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed =
            format!("{}.{}", part(header.to_string().as_bytes()), part(b"{\"sub\":\"7\"}"));
        let signature = part(&sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn tried(keys: &[Key], text: &str) -> Result<(), &'static str> {
        signer(keys, &Token::read(text).unwrap(), text).map(drop)
    }

    #[test]
    fn a_signature_is_by_the_key_that_is_named_and_in_the_way_that_fits_it() {
        let (pair, own) = elliptic();
        let (other, theirs) = elliptic();
        let random = SystemRandom::new();
        let sign = |it: &[u8]| pair.sign(&random, it).unwrap().as_ref().to_vec();
        let keys = set(&[with(own.clone(), "kid", "a"), with(theirs, "kid", "b")]).unwrap();
        let named = |algorithm: &str, kid: &str| json!({"alg": algorithm, "kid": kid});
        tried(&keys, &text(named("ES256", "a"), sign)).unwrap();
        for (header, why) in [
            (named("ES256", "b"), "signature is wrong"),
            (named("ES256", "c"), "none of the issuer's"),
            (named("ES384", "a"), "none of the issuer's"),
            (named("RS256", "a"), "none of the issuer's"),
            (named("HS256", "a"), "a way that is taken"),
            (named("none", "a"), "a way that is taken"),
            (named("es256", "a"), "a way that is taken"),
            (json!({"alg": "ES256"}), "by which key"),
            (json!({"alg": "ES256", "kid": "a", "crit": ["x"]}), "extensions"),
        ] {
            let told = tried(&keys, &text(header.clone(), sign)).unwrap_err();
            assert!(told.contains(why), "{header}: {told}");
        }
        let by_other = |it: &[u8]| other.sign(&random, it).unwrap().as_ref().to_vec();
        assert!(tried(&keys, &text(named("ES256", "a"), by_other)).is_err());
        assert!(tried(&keys, &text(named("ES256", "a"), |_| Vec::new())).is_err());
        // One flipped bit anywhere.
        let good = text(named("ES256", "a"), sign);
        let token = Token::read(&good).unwrap();
        for at in 0..token.signature.len() {
            let mut bad = Token::read(&good).unwrap();
            bad.signature[at] ^= 1;
            assert!(signer(&keys, &bad, &good).is_err());
        }
        // The only one need not be named, and what it is for is kept to.
        let only = set(std::slice::from_ref(&own)).unwrap();
        tried(&only, &text(json!({"alg": "ES256"}), sign)).unwrap();
        assert!(tried(&only, &text(named("ES256", "a"), sign)).is_err());
        let for_other = set(&[with(own, "alg", "ES384")]).unwrap();
        assert!(tried(&for_other, &text(json!({"alg": "ES256"}), sign)).is_err());
    }

    #[test]
    fn edwards_keys_are_taken() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let x = part(pair.public_key().as_ref());
        let keys = set(&[json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"})]).unwrap();
        let sign = |it: &[u8]| pair.sign(it).as_ref().to_vec();
        tried(&keys, &text(json!({"alg": "EdDSA"}), sign)).unwrap();
        assert!(tried(&keys, &text(json!({"alg": "ES256"}), sign)).is_err());
    }

    #[test]
    fn sets_without_a_key_of_use_and_with_secrets_are_told() {
        let (_, own) = elliptic();
        let told = |keys: &[Value]| set(keys).err().unwrap_or_default();
        assert!(told(&[]).contains("no key that can be used"));
        for it in [
            with(own.clone(), "use", "enc"),
            with(own.clone(), "crv", "P-521"),
            with(own.clone(), "crv", "P-384"),
            with(own.clone(), "x", "AAAA"),
            with(own.clone(), "y", "!"),
            with(own.clone(), "kty", "oct"),
            with(own.clone(), "alg", "HS256"),
            json!({"kty": "EC", "crv": "P-256", "x": own["x"], "y": own["y"], "key_ops": ["sign"]}),
            json!(7),
        ] {
            assert!(told(std::slice::from_ref(&it)).contains("no key that can be used"), "{it}");
            // Beside one that is of use it does no harm.
            assert_eq!(set(&[it, own.clone()]).unwrap().len(), 1);
        }
        assert!(told(&[own.clone(), with(own.clone(), "d", "AAAA")]).contains("secret key"));
        assert!(told(&[json!({"kty": "oct", "k": "AAAA"})]).contains("secret key"));
        let many = vec![own; TOKEN_KEYS_MAX + 1];
        assert!(told(&many).contains("more than"));
        for bad in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
            assert!(read(bad.as_bytes()).is_err_and(|it| it.contains("no keys")), "{bad}");
        }
    }
}
