//! OpenBao's own proxy, which logs in by itself and adds its token to the requests of this machine.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    bao::Bao,
    node::{program, until},
    port::Port,
    wire::{Endpoint, Request},
};

/// A running proxy; dropping it kills it.
pub(crate) struct Proxy {
    endpoint: Endpoint,
    child: Child,
    _port: Port,
    _directory: TempDir,
}

impl Proxy {
    /// Starts it before the first node, with the role and the token of a job.
    pub(crate) fn start(bao: &Bao) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = Port::keep();
        let jwt = directory.path().join("jwt");
        fs::write(&jwt, bao.job()).expect("it is new");
        let configuration = configuration(&bao.address(0), &jwt, port.number);
        fs::write(directory.path().join("proxy.hcl"), configuration).expect("it is new");
        let log = fs::File::create(directory.path().join("log")).expect("it is new");
        let child = Command::new(program())
            .args(["proxy", "-config=proxy.hcl"])
            .current_dir(directory.path())
            .env_clear()
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("it is open"))
            .stderr(log)
            .spawn()
            .expect("the proxy starts");
        let proxy = Proxy {
            endpoint: Endpoint {
                port: port.number,
                trusts: None,
            },
            child,
            _port: port,
            _directory: directory,
        };
        until("the proxy has logged in", || {
            let look = proxy.request("GET", "auth/token/lookup-self");
            let answer = look.header("X-Vault-Request", "true").attempt().ok()?;
            (answer.status == 200).then_some(())
        });
        proxy
    }

    /// The address of the proxy.
    pub(crate) fn url(&self) -> String {
        self.endpoint.url()
    }

    /// Prepares a request for a path below `/v1/`.
    pub(crate) fn request(&self, method: &'static str, path: &str) -> Request {
        self.endpoint.request(method, path)
    }
}

fn configuration(address: &str, jwt: &Path, port: u16) -> String {
    format!(
        "vault {{\n  address = \"{address}\"\n}}\n\
         auto_auth {{\n  method \"jwt\" {{\n    mount_path = \"auth/jwt\"\n    config = {{\n      \
         path = \"{jwt}\"\n      role = \"ci\"\n      remove_jwt_after_reading = false\n    }}\n  }}\n}}\n\
         api_proxy {{\n  use_auto_auth_token = true\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n  \
         require_request_header = true\n}}\n",
        jwt = jwt.display(),
    )
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
