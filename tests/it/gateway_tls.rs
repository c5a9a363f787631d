//! A gateway behind mutual TLS: who it is is checked, and who we are is shown.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

use crate::gateway_stage::{Kind, serve};

struct Authority(CertifiedIssuer<'static, KeyPair>);

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, Vec<u8>) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        (leaf.der().clone(), key.serialize_der())
    }

    fn pair(&self) -> (String, String) {
        let (certificate, key) = self.issue("alice");
        (pem("CERTIFICATE", &certificate), pem("PRIVATE KEY", &key))
    }

    /// A server that trusts its clients by this authority.
    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = self.issue(name);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

#[test]
fn only_the_right_gateway_is_spoken_to_and_only_with_a_certificate_it_trusts() {
    let (own, other) = (Authority::new(), Authority::new());
    let running = serve(Kind { tls: Some(own.server("127.0.0.1")), ..Kind::default() });
    running.gateway.make("one");
    let (certificate, key) = own.pair();
    let (wrong, wrong_key) = other.pair();
    let (ours, theirs) = (own.certificate(), other.certificate());
    let with = |files: &[(&str, &str)]| {
        let home = running.home_over(true, files);
        let listed = home.run(&["ls", "--all"]);
        let count = usize::from(listed.code == 0 && listed.stdout.contains("one"));
        (count, home.json(&["doctor", "--json"]).to_string())
    };
    let good = [("ca.crt", ours.as_str()), ("tls.crt", &certificate), ("tls.key", &key)];
    let (count, greeted) = with(&good);
    assert!(count == 1 && greeted.contains("you are alice"), "{greeted}");
    // Another authority signed what it shows.
    let (count, said) = with(&[("ca.crt", theirs.as_str()), good[1], good[2]]);
    assert!(count == 0 && said.contains("certificate"), "{said}");
    // It does not know whoever signed ours, or sees none.
    let (count, said) = with(&[good[0], ("tls.crt", &wrong), ("tls.key", &wrong_key)]);
    assert!(count == 0 && said.contains("reached"), "{said}");
    let (count, said) = with(&[good[0]]);
    assert!(count == 0 && said.contains("reached"), "{said}");
    let (count, said) = with(&[good[0], good[1]]);
    assert!(count == 0 && said.contains("no tls.key"), "{said}");
    assert!(!running.gateway.calls_of("ListSandboxes").is_empty());
}

#[test]
fn a_certificate_for_another_host_is_none() {
    let own = Authority::new();
    let running = serve(Kind { tls: Some(own.server("other.example")), ..Kind::default() });
    running.gateway.make("one");
    let (certificate, key) = own.pair();
    let ours = own.certificate();
    let files = [("ca.crt", ours.as_str()), ("tls.crt", &certificate), ("tls.key", &key)];
    let home = running.home_over(true, &files);
    home.run(&["ls"]).failed(6, &["certificate"]);
    let said = home.json(&["doctor", "--json"]).to_string();
    assert!(said.contains("certificate"), "{said}");
    assert!(running.gateway.calls_of("").is_empty());
}
