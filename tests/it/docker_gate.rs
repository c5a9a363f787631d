//! What goes out of containers of an engine on this machine, whose hub is root's.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::{
    docker_stage::{Docked, Engine, IMAGE, can},
    program::eventually,
};

/// A server on this machine's loopback that says one thing; gives its port.
fn server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let mut heard = [0; 4096];
            drop(stream.read(&mut heard));
            let answer =
                b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nbeyond\n";
            drop(stream.write_all(answer));
        }
    });
    port
}

/// One that tells what key it was sent, backwards.
fn telling_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut heard = [0; 4096];
            let length = stream.read(&mut heard).unwrap_or_default();
            let heard = String::from_utf8_lossy(&heard[..length]).to_lowercase();
            let key = heard.lines().find_map(|it| it.strip_prefix("x-api-key: "));
            let told: String = key.unwrap_or("enon").chars().rev().collect();
            let length = told.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{told}"
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    port
}

fn begin(it: &Docked, line: &str) -> Child {
    let mut command = it.home.command(&["exec", "box", "--", "sh", "-c", line]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn inside(it: &Docked, line: &str) -> String {
    ended(begin(it, line))
}

/// A line that gets a page from a server; the image's own client for that falls over names.
fn get(host: &str, port: u16) -> String {
    let address = match host.parse::<std::net::Ipv4Addr>() {
        Ok(_) => format!("a={host}"),
        Err(_) => format!(
            "a=$(nslookup {host} 127.0.0.1 | sed -n 's/^Address: \\([0-9.]*\\)$/\\1/p' | head -n 1)"
        ),
    };
    format!("{address}; printf 'GET / HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n' | nc -w 20 $a {port}")
}

fn answer(it: &Docked, subject: &str, words: &[&str]) -> Value {
    let mut found = Value::Null;
    eventually(&format!("{subject} is asked"), || {
        let all: Vec<Value> = serde_json::from_str(&it.ok(&["approvals", "ls", "--json"])).unwrap();
        let asked = all.into_iter().find(|it| it["subject"] == subject);
        found = asked.unwrap_or_default();
        !found.is_null()
    });
    let id = found["id"].as_str().unwrap();
    it.ok(&[&["approvals", words[0], id][..], &words[1..]].concat());
    found
}

#[test]
fn a_container_is_held_at_its_way_out_as_any_other_sandbox() {
    if !can() {
        return;
    }
    let (it, port) = (Docked::new(Engine::shared()), server());
    let host = format!("host.internal:{port}");
    it.start("box", &["--workspace", ".:none", "--allow", &host], "sleep 1000");
    assert!(!it.notes("box").contains("acts as deny"), "{}", it.notes("box"));
    assert_eq!(it.sandbox("box")["capabilities"]["egress_ask"], true);
    let said = inside(&it, &get("host.internal", port));
    assert!(said.contains("beyond"), "{said}");
    let held = begin(&it, &get("files.example", 80));
    let ask = answer(&it, "files.example:80", &["deny", "--message", "use the mirror"]);
    assert!(ask["details"].to_string().contains("/bin/busybox"), "{ask}");
    assert!(ask["about"].to_string().contains("nc -w 20"), "{ask}");
    let said = ended(held);
    assert!(said.contains("403") && said.contains("use the mirror"), "{said}");
    let held = begin(&it, &get("198.51.100.7", 80));
    answer(&it, "198.51.100.7:80", &["deny"]);
    assert!(ended(held).contains("403"));
    for place in ["169.254.169.254", "10.1.2.3"] {
        assert!(inside(&it, &get(place, 80)).contains("403"), "{place}");
    }
    // Neither questions for names nor anything else but TCP, and nobody inside can change that.
    let said = inside(&it, "timeout 5 nslookup carried.out.example 198.51.100.7 2>&1; echo ended");
    assert!(!said.contains("carried.out.example\nAddress") && said.contains("ended"), "{said}");
    inside(&it, "ip route flush table main; ip link set lo down; ip link add x type dummy");
    let flows: Value = serde_json::from_str(&it.ok(&["egress", "box", "--json"])).unwrap();
    assert!(flows["dropped_udp"].as_u64() >= Some(1), "{flows}");
    assert!(inside(&it, &get("host.internal", port)).contains("beyond"));
    it.ok(&["rm", "--yes", "box"]);
}

#[test]
fn a_container_by_a_proxy_is_told_of_it() {
    if !can() {
        return;
    }
    let (it, port) = (Docked::new(Engine::shared()), server());
    let mut hub = it.home.command(&["hub", "start"]);
    hub.env("DOCKER_HOST", &it.url).env("SANDWATCH_WAY_OUT", "proxy");
    assert!(hub.output().unwrap().status.success());
    let host = format!("host.internal:{port}");
    it.start("box", &["--workspace", ".:none", "--egress", "deny", "--allow", &host], "sleep 1000");
    assert!(it.notes("box").contains("get out by a proxy alone"), "{}", it.notes("box"));
    assert!(inside(&it, "env").contains("http_proxy=http://127.0.0.1:3128\n"));
    let get = |place: &str| {
        let request = format!("GET http://{place}/ HTTP/1.0\\r\\n\\r\\n");
        inside(&it, &format!("printf '{request}' | nc -w 20 127.0.0.1 3128"))
    };
    assert!(get(&host).contains("beyond"));
    assert!(get("files.example").contains("403"));
    let said = inside(&it, "echo x | nc -w 5 198.51.100.7 80");
    assert!(said.contains("unreachable"), "{said}");
    it.ok(&["rm", "--yes", "box"]);
}

#[test]
fn a_container_uses_a_key_that_it_never_sees() {
    const VALUE: &str = "canary-3f0a9c-value";
    if !can() {
        return;
    }
    let (it, port) = (Docked::new(Engine::shared()), telling_server());
    let place = format!("host.internal:{port}");
    let secret = format!("KEY={place}");
    let mut run = it.home.command(&["run", "-d", "--driver", "docker", "--name", "box"]);
    run.args(["--image", IMAGE, "--workspace", ".:none", "--secret", &secret, "--allow", &place]);
    // This one is only to be opened.
    run.args(["--secret", "OTHER=files.example", "--", "sleep", "1000"]);
    run.env("DOCKER_HOST", &it.url).env("KEY", VALUE).env("OTHER", "another-value");
    let ran = run.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let get = |header: &str| {
        let find = "a=$(nslookup host.internal 127.0.0.1 | sed -n 's/^Address: \\([0-9.]*\\)$/\\1/p' | head -n 1)";
        let request =
            format!("GET / HTTP/1.0\\r\\nHost: host.internal:{port}\\r\\n{header}\\r\\n\\r\\n");
        inside(&it, &format!("{find}; printf \"{request}\" | nc -w 20 $a {port}"))
    };
    // What it was sent, the other way round: an answer does not tell the value either.
    let told: String = VALUE.chars().rev().collect();
    let said = get("X-Api-Key: $KEY");
    assert!(said.contains(&told) && !said.contains(VALUE), "{said}");
    let said = get("Cookie: $KEY");
    assert!(said.contains("none") && !said.contains(&told), "{said}");
    let seen =
        inside(&it, "env; cat /proc/*/environ; cat $SSL_CERT_FILE; cat $NODE_EXTRA_CA_CERTS");
    assert!(seen.contains("KEY=sw-secret-") && !seen.contains("canary"), "{seen}");
    assert!(seen.matches("-----BEGIN CERTIFICATE-----").count() >= 2, "{seen}");
    it.ok(&["rm", "--yes", "box"]);
}
