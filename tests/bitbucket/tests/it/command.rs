//! The command.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::support::REFS;

fn bitbucket_local() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bitbucket-local"))
}

#[test]
fn the_command_serves_until_its_input_closes() {
    let mut command = bitbucket_local();
    command
        .args(["--print-json", "--ipv6", "--v0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = command.spawn().expect("because it was built");
    let mut line = String::new();
    let stdout = running.stdout.take().expect("because its output is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("because it prints how to reach it");
    let printed: Value = serde_json::from_str(&line).expect("because it prints JSON");
    let value = |name: &str| {
        printed[name]
            .as_str()
            .unwrap_or_else(|| panic!("'{name}' must be printed"))
    };
    assert_eq!(
        (value("client_id").len(), value("client_secret").len()),
        (32, 76),
        "a consumer of 2026 is printed"
    );
    let ca_file = Path::new(value("ca_file")).to_owned();
    let reply = Client::open(value("base_url"), &ca_file, "h2").get(REFS, None);
    assert_eq!(reply.status, 401, "it serves");
    drop(running.stdin.take());
    assert!(
        running.wait().expect("because it was started").success(),
        "it ends well"
    );
    assert!(!ca_file.exists(), "and leaves nothing behind");
}

#[test]
fn the_command_plays_data_center_below_a_path() {
    let mut command = bitbucket_local();
    command
        .args(["--print-json", "--data-center", "/bitbucket"])
        .args(["--repository", "ws/repo"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = command.spawn().expect("because it was built");
    let mut line = String::new();
    let stdout = running.stdout.take().expect("because its output is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("because it prints how to reach it");
    let printed: Value = serde_json::from_str(&line).expect("because it prints JSON");
    let value = |name: &str| printed[name].as_str().unwrap_or("");
    let mut client = Client::open(value("base_url"), Path::new(value("ca_file")), "h2");
    let reply = client.get("/bitbucket/rest/api/latest/application-properties", None);
    assert_eq!(
        reply.json()["displayName"],
        "Bitbucket",
        "it serves below the path"
    );
    let headers = [("x-local-key", value("control_key"))];
    let requests = client.send("GET", "/bitbucket/_local/requests", &headers, "");
    let requests = requests.expect("because the server answers");
    assert_eq!(
        requests.json()[0]["kind"],
        "api",
        "and is controlled below it"
    );
    drop(running.stdin.take());
    assert!(
        running.wait().expect("because it was started").success(),
        "it ends well"
    );
}

#[test]
fn an_unknown_option_is_refused() {
    let output = bitbucket_local()
        .arg("--fast")
        .output()
        .expect("because it was built");
    assert!(!output.status.success(), "it does not start");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("'--fast'"),
        "and names the option"
    );
}
