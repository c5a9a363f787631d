//! Who is not let in: each is refused, counted and in the record, and the hub does its work for all others meanwhile.

use std::{
    io::{Read, Write},
    net::TcpStream as Plain,
    time::Duration,
};

use bytes::Bytes;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustix::process::{Resource, getrlimit};
use sandwatch::{
    base::clock::Timestamp,
    hub::tls::authority::Authority,
    wire::enrol::{CALLS, Credentials, ENROLS, TOOLS, heard, say},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::version::TLS12;

use crate::{
    program::{Home, eventually},
    pty::Pty,
    remote_support::{Far, Manner, call, channel, credentials, credentials_file, greet},
};

/// Greets, and reads until it is hung up; gives what was said and how it ended.
fn refused(far: &Far, manner: Manner) -> String {
    let address = far.address.clone();
    let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tasks.block_on(async move {
        let done = async {
            let mut stream = greet(&address, &manner).await?;
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await?;
            Ok::<_, std::io::Error>(said)
        };
        match tokio::time::timeout(Duration::from_secs(30), done).await.unwrap() {
            Ok(said) => format!("said {said:?}"),
            Err(error) => error.to_string(),
        }
    })
}

/// A certificate of an authority, for a key of our own.
fn certificate(of: &Authority, life: Duration) -> Manner {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let der = of.client_for(key.public_key_raw(), life).unwrap().der.to_vec();
    Manner { certificate: Some((der, key.serialize_der())), ..Manner::nobody() }
}

#[test]
fn what_shows_nothing_that_is_good_is_refused_counted_and_written_down() {
    let far = Far::new();
    let client = far.client("vera", "viewer");
    let good = credentials(&client);
    let hour = Duration::from_secs(3600);

    let mut plain = Plain::connect(&far.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    drop(plain.read_to_end(&mut said));
    assert!(!String::from_utf8_lossy(&said).contains("HTTP"), "{said:?}");
    far.has_refused("connection.refused", "protocol");

    refused(&far, Manner { version: &TLS12, ..Manner::of(&good) });
    far.has_refused("connection.refused", "version");

    let said = refused(&far, Manner::nobody());
    assert!(said.contains("CertificateRequired"), "{said}");
    far.has_refused("connection.refused", "no_certificate");

    // Another authority altogether.
    let temp = tempfile::tempdir().unwrap();
    let other = Authority::open(&temp.path().join("authority")).unwrap();
    let said = refused(&far, certificate(&other, hour));
    assert!(
        said.contains("UnknownCA") || said.contains("UnknownCa") || said.contains("Decrypt"),
        "{said}"
    );
    far.has_refused("connection.refused", "issuer");

    // Of the hub's own, which only whoever has its key can make.
    let own = Authority::open(&far.hub.path().join("state/authority")).unwrap();
    // Times of certificates are whole seconds.
    let over = certificate(&own, Duration::ZERO);
    eventually("it is over", || refused(&far, over.clone()).contains("CertificateExpired"));
    far.has_refused("connection.refused", "expired");
    let said = refused(&far, certificate(&own, hour));
    assert!(said.contains("AccessDenied") || said.contains("Certificate"), "{said}");
    far.has_refused("connection.refused", "certificate");

    // Neither protocol of ours, and one who changes it afterwards.
    refused(&far, Manner { protocols: vec![b"http/1.1".to_vec()], ..Manner::of(&good) });
    refused(&far, Manner { protocols: Vec::new(), ..Manner::of(&good) });

    far.hub.ok(&["hub", "members", "revoke", "--yes", "vera"]);
    let said = refused(&far, Manner::of(&good));
    assert!(said.contains("CertificateRevoked"), "{said}");
    far.has_refused("connection.refused", "revoked");
    client.run(&["ls"]).failed(4, &["was revoked", "hub invite"]);
    far.hub.ok(&["ls"]);
}

#[test]
fn an_invite_is_good_once_for_a_while_and_until_it_is_withdrawn() {
    let far = Far::new();
    let invite = far.invite("vera", "viewer");
    assert!(invite.starts_with("sandwatch-invite:") && !invite.contains(char::is_whitespace));
    // Nothing of it is kept that would let anybody in.
    let database = std::fs::read(far.hub.path().join("state/registry.db")).unwrap();
    let log = std::fs::read(far.hub.path().join("state/registry.db-wal")).unwrap_or_default();
    let token = sandwatch::model::invite::InviteText::parse(&invite).unwrap().token;
    for file in [&database, &log] {
        assert!(!file.windows(token.secret().len()).any(|it| it == token.secret()));
    }
    let client = Home::new();
    client.ok(&["context", "add", "far", "--use", &invite]);
    let mode = std::fs::metadata(credentials_file(&client)).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);
    let again = Home::new();
    again.run(&["context", "add", "far", &invite]).failed(4, &["not good", "hub invite"]);
    far.has_refused("connection.refused", "invite");
    assert!(!credentials_file(&again).exists());

    let withdrawn = far.invite("olga", "operator");
    far.hub.ok(&["hub", "members", "revoke", "--yes", "olga"]);
    again.run(&["context", "add", "far", &withdrawn]).failed(4, &["not good"]);
    let short = far.hub.ok(&["hub", "invite", "eve", "--role", "admin", "--ttl", "1s"]);
    eventually("the invite expires", || {
        let all = far.hub.json(&["hub", "members", "ls", "--json"]);
        all["invites"].as_array().unwrap().iter().any(|it| it["state"] == "expired")
    });
    again.run(&["context", "add", "far", short.trim()]).failed(4, &["not good"]);
    // Whoever answers in the hub's place is found out before the secret is said.
    let elsewhere = Far::new();
    let other = elsewhere.invite("x", "viewer");
    let mut text = sandwatch::model::invite::InviteText::parse(&other).unwrap();
    text.addresses = vec![far.address.clone()];
    again.run(&["context", "add", "far", &text.text()]).failed(4, &["another hub"]);
    assert_eq!(
        elsewhere.hub.json(&["hub", "members", "ls", "--json"])["invites"][0]["state"],
        "open"
    );
    again.run(&["context", "add", "far", &invite[..60]]).failed(2, &["cut off"]);
    let listed = far.hub.ok(&["hub", "members", "ls"]);
    assert!(listed.contains("vera") && listed.contains("good"), "{listed}");
    let secret = sandwatch::base::text::hex(token.secret());
    assert!(!far.hub.ok(&["audit", "ls", "--json"]).contains(&secret));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_is_cut_off_in_the_middle_of_a_stream() {
    let (far, one) = tokio::task::spawn_blocking(|| {
        let far = Far::new();
        let one = far.client("vera", "viewer");
        (far, one)
    })
    .await
    .unwrap();
    let it = credentials(&one);
    let open = channel(&far.address, &it).await.unwrap();
    let own = format!("{}.x", it.member);
    let mut events =
        call(&open, "/sandwatch.v1.Sandboxes/Events", &own, Bytes::new()).await.unwrap();
    assert!(events.message().await.unwrap().is_some());
    let far = tokio::task::spawn_blocking(move || {
        far.hub.ok(&["hub", "members", "revoke", "--yes", "vera"]);
        far
    })
    .await
    .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        while let Ok(Some(_)) = events.message().await {}
    });
    ended.await.unwrap();
    // And it stays out.
    let again = channel(&far.address, &it).await;
    let out = match again {
        Err(_) => true,
        Ok(it) => call(&it, "/sandwatch.v1.Hub/Ping", &own, Bytes::new()).await.is_err(),
    };
    assert!(out);
    drop(tokio::task::spawn_blocking(move || drop((far, one))).await);
}

#[test]
fn nonsense_in_tls_and_out_of_it_ends_and_harms_nobody() {
    let far = Far::new();
    let client = far.client("vera", "viewer");
    let good = credentials(&client);
    let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = far.address.clone();
    tasks.block_on(async {
        let mut seed = 7_u64;
        let mut noise = move |many: usize| -> Vec<u8> {
            let next = |seed: &mut u64| {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (*seed >> 33) as u8
            };
            (0..many).map(|_| next(&mut seed)).collect()
        };
        let read = async |mut stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
                          bytes: &[u8]| {
            drop(stream.write_all(bytes).await);
            let mut sink = Vec::new();
            let ended = stream.read_to_end(&mut sink);
            drop(tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap());
        };
        let calls = Manner { protocols: vec![CALLS.to_vec()], ..Manner::of(&good) };
        let tools = Manner { protocols: vec![TOOLS.to_vec()], ..Manner::of(&good) };
        let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for round in 0..8 {
            // No HTTP/2; then HTTP/2 with frames of nothing, and one that says it is as large as can be.
            read(greet(&address, &calls).await.unwrap(), &noise(24 + round)).await;
            read(greet(&address, &tools).await.unwrap(), &[&greeting[..], &noise(600)].concat())
                .await;
        }
        let huge =
            [&greeting[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &noise(64 * 1024)].concat();
        read(greet(&address, &tools).await.unwrap(), &huge).await;
        // Who enrols and has no invite, says too much, or nonsense.
        let enrols =
            Manner { certificate: None, protocols: vec![ENROLS.to_vec()], ..Manner::nobody() };
        for many in [0, 1, 100, 4096] {
            let mut stream = greet(&address, &enrols).await.unwrap();
            say(&mut stream, &noise(many)).await.unwrap();
            drop(tokio::time::timeout(Duration::from_secs(60), heard(&mut stream)).await.unwrap());
        }
        read(greet(&address, &enrols).await.unwrap(), &u32::MAX.to_be_bytes()).await;
    });
    for many in [1_usize, 5, 1000] {
        let mut plain = Plain::connect(&far.address).unwrap();
        plain.write_all(&vec![0x16; many]).unwrap();
        drop(plain);
    }
    client.ok(&["ls"]);
    far.has_refused("connection.refused", "protocol");
}

#[test]
fn a_certificate_is_renewed_before_it_expires_and_survives_the_hub() {
    let far = Far::new();
    let client = far.client("vera", "viewer");
    client.ok(&["ls"]);
    let before = credentials(&client);
    client.ok(&["ls"]);
    assert_eq!(credentials(&client), before);
    // As if a third of its life was over.
    let old =
        Credentials { issued_at: Timestamp(before.issued_at.0 - 9 * 3_600_000), ..before.clone() };
    std::fs::write(credentials_file(&client), old.bytes()).unwrap();
    client.ok(&["ls"]);
    let after = credentials(&client);
    assert!(after.certificate != before.certificate && after.key != before.key);
    assert_eq!(after.member, before.member);
    let all = far.hub.json(&["hub", "members", "ls", "--json"]);
    assert_eq!(all["members"][0]["certificates"].as_array().unwrap().len(), 2, "{all}");
    assert!(far.hub.ok(&["audit", "ls"]).contains("certificate.renewed"));
    client.ok(&["ls"]);
    far.hub.ok(&["hub", "stop"]);
    client.run(&["ls"]).failed(6, &["no hub listens there"]);
    far.hub.ok(&["hub", "start"]);
    client.ok(&["ls"]);
}

#[test]
fn ten_thousand_connections_keep_nobody_on_the_machine_from_the_hub() {
    sandwatch::base::descriptors::raise(None).unwrap();
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = usize::try_from(most.saturating_sub(500)).unwrap_or(usize::MAX).min(10_000);
    assert!(wanted > 1000, "{most}");
    let far = Far::new();
    let client = far.client("vera", "viewer");
    let pid = far.status()["pid"].as_u64().unwrap();
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let address = far.address.clone();
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for _ in 0..wanted / 4 {
                    if let Ok(it) = Plain::connect(&address) {
                        held.push(it);
                    }
                }
                held
            })
        })
        .collect();
    let held: Vec<_> = crowd.into_iter().flat_map(|it| it.join().unwrap()).collect();
    assert!(held.len() > wanted / 2, "{}", held.len());
    // Those on the machine notice nothing.
    far.hub.ok(&["ls"]);
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(files < 1000, "{files} files are open");
    assert!(far.refused("crowd") > 0, "{}", far.status());
    let entries = far.hub.json(&["audit", "ls", "--json"]);
    let of = entries.as_array().unwrap().iter().filter(|it| it["action"] == "connection.refused");
    assert!(of.count() < 100);
    drop(held);
    eventually("who has a certificate gets in again", || client.run(&["ls"]).code == 0);
    assert_eq!(far.status()["pid"].as_u64(), Some(pid));
}

#[test]
fn a_console_comes_back_when_its_member_is_invited_anew() {
    let far = Far::new();
    let client = far.client("olga", "operator");
    far.hub.ok(&["run", "-d", "--name", "box", "--", "/bin/cat"]);
    let mut pty = Pty::start(&client, &["--context", "far"], (100, 30));
    pty.wait_for("▸ box");
    far.hub.ok(&["hub", "members", "revoke", "--yes", "olga"]);
    pty.wait_for("NO HUB");
    client.ok(&["context", "rm", "--yes", "far"]);
    client.ok(&["context", "add", "far", &far.invite("olga", "operator")]);
    pty.wait_until("it is there again", |it| !it.has("NO HUB") && it.has("▸ box"));
    assert_eq!(far.refused("identity"), 0);
    pty.signal(rustix::process::Signal::TERM);
    pty.ended();
}

#[test]
fn an_invite_is_tried_at_each_of_its_addresses_until_the_hub_itself_answers() {
    let far = Far::new();
    // One takes calls and says nothing, one is another hub, one is nobody.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let another = Far::new();
    let addresses = [
        silent.local_addr().unwrap().to_string(),
        another.address.clone(),
        "127.0.0.1:1".to_owned(),
        far.address.clone(),
    ];
    let mut words = vec!["hub", "invite", "vera", "--role", "viewer"];
    words.extend(addresses.iter().flat_map(|it| ["--address", it]));
    let invite = far.hub.ok(&words).trim().to_owned();
    let client = Home::new();
    client.ok(&["context", "add", "far", "--use", &invite]);
    client.ok(&["ls"]);
    let listed = client.ok(&["context", "ls"]);
    assert!(listed.contains(&far.address), "{listed}");
    let wrong = far.hub.run(&["hub", "invite", "x", "--role", "viewer", "--address", ".x:1"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("not HOST:PORT"), "{wrong:?}");
}

#[test]
fn a_place_that_can_t_be_had_yet_is_listened_on_once_it_can() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let hub = Home::new();
    std::fs::create_dir_all(hub.config()).unwrap();
    let config = format!("[hub]\nlisten = [\"https://{address}\"]\n");
    std::fs::write(hub.config().join("config.toml"), config).unwrap();
    hub.ok(&["hub", "start"]);
    let listed = || hub.ok(&["hub", "status"]).contains(&address);
    assert!(!listed());
    drop(taken);
    eventually("it listens there", listed);
    let client = Home::new();
    let invite = hub.ok(&["hub", "invite", "vera", "--role", "viewer"]).trim().to_owned();
    client.ok(&["context", "add", "far", "--use", &invite]);
    client.ok(&["ls"]);
}
