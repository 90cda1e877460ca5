//! The whole login in a real browser: headless Chromium against the local Bitbucket's consent page, driven by the
//! WebDriver protocol (W3C "WebDriver").

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    login::Waiting,
    needs::needs,
    support::{World, gits},
};

/// Keeps Chromium from calling anybody but the local Bitbucket, and lets it run as root in a container.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How long the driver looks for what a page is to show: a click does not wait for all that follows it.
const PATIENCE_MS: u32 = 200_000;

/// How often a driver is started: it may lose the port it has picked to another test before it listens on it.
const STARTS: usize = 5;

/// Starts a driver on a port of its own choice.
fn start_driver(world: &World) -> (Child, String) {
    let mut said = Vec::new();
    for _ in 0..STARTS {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", world.home())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver starts; Debian has it in the package chromium-driver");
        let output = BufReader::new(driver.stdout.take().expect("it is a pipe"));
        for line in output.lines().map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("successfully on port ") {
                return (driver, port.trim_end_matches('.').to_owned());
            }
            said.push(line);
        }
        let status = driver.wait().expect("it has closed its output");
        said.push(status.to_string());
    }
    panic!("chromedriver tells no port: {said:#?}")
}

/// A Chromium and its driver; both end with this.
pub(crate) struct Browser<'w> {
    world: &'w World,
    driver: Child,
    session: String,
}

impl<'w> Browser<'w> {
    pub(crate) fn start(world: &'w World) -> Self {
        let (driver, port) = start_driver(world);
        let mut browser = Browser {
            world,
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
        };
        let profile = format!("--user-data-dir={}", world.path("chromium").display());
        let arguments: Vec<_> = FLAGS
            .iter()
            .map(|flag| (*flag).to_owned())
            .chain([profile])
            .collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
        } } });
        let made = browser.ask("POST", "", &wanted);
        let id = made["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("a session is made: {made}"));
        browser.session = format!("{}/{id}", browser.session);
        browser.ask("POST", "/timeouts", &json!({ "implicit": PATIENCE_MS }));
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let mut curl = self
            .world
            .run(Path::new("/usr/bin/curl"), ["-s", "-X", method, &url]);
        if method == "POST" {
            curl = curl.args([
                "-H",
                "Content-Type: application/json",
                "-d",
                &body.to_string(),
            ]);
        }
        let answer: Value = serde_json::from_str(&curl.ok()).expect("a driver answers in JSON");
        answer["value"].clone()
    }

    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    pub(crate) fn click(&self, selector: &str) {
        let found = self.ask(
            "POST",
            "/element",
            &json!({ "using": "css selector", "value": selector }),
        );
        let element = found
            .as_object()
            .and_then(|element| element.values().next())
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("'{selector}' is on the page: {found}"));
        self.ask("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Waits for a page with this heading; gives it whole.
    pub(crate) fn page_of(&self, heading: &str) -> String {
        let path = format!("//h1[normalize-space()='{heading}']");
        let wanted = json!({ "using": "xpath", "value": path });
        let found = self.ask("POST", "/element", &wanted);
        assert!(
            found.get("error").is_none(),
            "'{heading}' is shown: {}",
            self.page()
        );
        self.page()
    }

    fn page(&self) -> String {
        let page = self.ask("GET", "/source", &json!({}));
        page.as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        let _ = self
            .world
            .run(
                Path::new("/usr/bin/curl"),
                ["-s", "--max-time", "120", "-X", "DELETE", &self.session],
            )
            .done();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
fn a_person_grants_access_in_a_browser_and_clones() {
    needs!("chromium", "chromedriver", "curl");
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    let browser = Browser::start(&world);

    let login = Waiting::start(&world, &[]);
    browser.open(&login.page);
    let page = browser.page();
    assert!(
        page.contains("Local consumer") && page.contains("repository:write"),
        "the consent page is shown: {page}"
    );
    browser.click("button[value=cancel]");
    browser.page_of("Not logged in");
    let (code, said) = login.end();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("error: the login of profile 'me' failed: access_denied"),
        "{said}"
    );

    let login = Waiting::start(&world, &[]);
    browser.open(&login.page);
    browser.click("button[value=grant]");
    let page = browser.page_of("Logged in");
    assert!(page.contains("You can close this page."), "{page}");
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Profile 'me' is logged in."), "{said}");
    world
        .git(["clone", "-q", "bbtoken::ws/repo"])
        .without_client()
        .done()
        .expect(0)
        .quiet();
}
