//! What gauges say of a sandbox's network, against what servers beyond the hub's network sent and got.

use crate::{
    beyond::Beyond,
    program::{Home, eventually},
};

const CURL: &str = "curl -sS -m 60";

fn net(home: &Home) -> (Option<u64>, Option<u64>) {
    let told = home.json(&["stats", "box", "--json"]);
    (told[0]["net"]["rx_bytes"].as_u64(), told[0]["net"]["tx_bytes"].as_u64())
}

fn near(told: u64, truth: u64) -> bool {
    told >= truth && told as f64 <= truth as f64 * 1.05
}

#[test]
fn what_came_and_went_is_counted_within_five_percent_of_what_servers_say() {
    let Some(it) = Beyond::new() else { return };
    it.start(&["--allow", "files.example"]);
    assert_eq!(net(&it.home), (Some(0), Some(0)), "nothing was sent yet, and that is known");
    let large = format!("{CURL} http://files.example/large | wc -c");
    assert_eq!(it.inside(&large), (0, "760000\n".to_owned()));
    let up = format!("head -c 500000 /dev/zero | {CURL} --data-binary @- http://files.example/up");
    assert_eq!(it.inside(&up), (0, "ok".to_owned()));
    it.heard("web POST /up 500000");
    // What does not get out is nothing that went.
    assert!(it.inside(&format!("{CURL} http://files.example:81/")).0 != 0);
    let mut told = (None, None);
    eventually("all of it is told", || {
        told = net(&it.home);
        told.0 >= Some(760_000) && told.1 >= Some(500_000)
    });
    assert!(near(told.0.unwrap(), 760_000) && near(told.1.unwrap(), 500_000), "{told:?}");
    // A connection that goes on is counted while it does.
    let stays = "python3 -c 'import http.client, time; s = http.client.HTTPConnection(\"files.example\"); \
                 s.request(\"GET\", \"/large\"); s.getresponse().read(); time.sleep(1000)'";
    let mut held = it.begin(stays);
    eventually("it is told of too", || net(&it.home).0 >= Some(2 * 760_000));
    assert!(near(net(&it.home).0.unwrap(), 2 * 760_000));
    held.kill().unwrap();
    held.wait().unwrap();
}

#[test]
fn nothing_is_what_goes_out_of_a_sandbox_that_is_kept_in() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "box", "--egress", "deny", "--", "sleep", "1000"]);
    assert_eq!(net(&home), (Some(0), Some(0)));
    home.ok(&["rm", "--yes", "box"]);
    // The host's network is not counted for one that shares it.
    home.ok(&["run", "-d", "--name", "box", "--egress", "allow", "--", "sleep", "1000"]);
    assert_eq!(net(&home), (None, None));
}
