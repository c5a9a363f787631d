//! Another user of the machine at the sockets of hub and shim.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use sandwatch::wire::shim::{Call, Ping, call, framed};

use crate::{crash_support::Home, local_stage::USER, skip::not_on_this_host};

/// Says something and prints how many bytes of an answer came.
const ASK: &str = r"
import socket, sys
peer = socket.socket(socket.AF_UNIX); peer.settimeout(20); peer.connect(sys.argv[1])
try:
    peer.sendall(bytes.fromhex(sys.argv[2])); print(len(peer.recv(100)))
except (ConnectionResetError, BrokenPipeError):
    print(0)
";

fn answer(user: u32, socket: &Path, words: &str) -> usize {
    let user = user.to_string();
    let mut ask = Command::new("setpriv");
    ask.args(["--reuid", &user, "--regid", &user, "--clear-groups", "/usr/bin/python3", "-c", ASK]);
    let said = ask.arg(socket).arg(words).stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8_lossy(&said.stdout).trim().parse().unwrap()
}

#[test]
fn neither_hub_nor_shim_speaks_to_another_user_even_where_the_path_is_open() {
    if !rustix::process::geteuid().is_root() {
        return not_on_this_host("root");
    }
    let it = Home::new();
    it.run("held", "echo up; cat");
    it.printed("held", "up");
    let id = it.sandbox("held")["id"].as_str().unwrap().to_owned();
    let shim = it.state().join("sandboxes").join(id).join("shim.sock");
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    let ping = framed(&Call::from(call::What::Ping(Ping {}))).unwrap();
    for (socket, words) in [(it.socket(), greeting), (shim, &ping)] {
        let words: String = words.iter().map(|it| format!("{it:02x}")).collect();
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", socket.display());
        // What keeps others away before anybody is asked is taken off.
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        for dir in socket.ancestors().skip(1).take_while(|dir| dir.starts_with(it.temp())) {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(answer(USER, &socket, &words), 0, "{}", socket.display());
        assert!(answer(0, &socket, &words) > 0, "{}", socket.display());
    }
    it.ok(&["exec", "held", "--", "true"]);
    it.end();
}
