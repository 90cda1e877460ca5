//! What an administrator sets up in OpenBao for the jobs of a fleet.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{bao::Bao, jwt::AUDIENCE, node::until};

/// Where the login of profile `ci` is, below a mount with versions.
pub(crate) const RECORD: &str = "secret/data/bbtoken/ci";
/// A namespace that has the same mounts, and a role of the same name.
pub(crate) const NAMESPACE: &str = "team";

/// The rights of a job. `old` is a mount without versions, `short` one that deletes what is two seconds old.
const JOB: &str = "\
path \"secret/data/bbtoken/ci\" { capabilities = [\"create\", \"read\", \"update\"] }
path \"short/data/bbtoken/ci\" { capabilities = [\"create\", \"read\", \"update\"] }
path \"old/*\" { capabilities = [\"create\", \"read\", \"update\"] }
";
/// The rights of a job that must not renew.
const READER: &str = "path \"secret/data/bbtoken/ci\" { capabilities = [\"read\"] }";

impl Bao {
    /// Mounts a store, and lets the jobs of [`Bao::issuer`] log in, here and in the namespace.
    pub(super) fn mount(&self) {
        self.admin("POST", &format!("sys/namespaces/{NAMESPACE}"))
            .ok();
        for within in ["", "team/"] {
            self.mount_store(&format!("{within}sys/mounts/secret"), "2");
            self.let_jobs_log_in(within, "jwt");
        }
        self.let_jobs_log_in("", "kubernetes");
        self.mount_store("sys/mounts/old", "1");
        self.mount_store("sys/mounts/short", "2");
        let short = json!({"delete_version_after": "2s"});
        self.set("short/config", short);
        self.set("sys/auth/approle", json!({"type": "approle"}));
        let role = json!({"token_policies": "job", "token_type": "batch"});
        self.set("auth/approle/role/ci", role);
    }

    fn mount_store(&self, path: &str, version: &str) {
        self.set(path, json!({"type": "kv", "options": {"version": version}}));
        // A new mount with versions is not ready at once.
        let config = path.replace("sys/mounts/", "") + "/config";
        until("the store is ready", || {
            let answer = self.admin("GET", &config).done();
            (answer.status == 200 || version == "1").then_some(())
        });
    }

    /// Makes roles for the jobs of [`Bao::issuer`], whose tokens are written nowhere.
    fn let_jobs_log_in(&self, within: &str, mount: &str) {
        self.set(&format!("{within}sys/auth/{mount}"), json!({"type": "jwt"}));
        let keys = json!({"jwt_validation_pubkeys": [self.issuer.public_key()]});
        self.set(&format!("{within}auth/{mount}/config"), keys);
        for (role, policy, rights) in [("ci", "job", JOB), ("reader", "reader", READER)] {
            let rights = json!({"policy": rights});
            self.set(&format!("{within}sys/policies/acl/{policy}"), rights);
            let role = format!("{within}auth/{mount}/role/{role}");
            let rules = json!({
                "role_type": "jwt",
                "user_claim": "sub",
                "bound_audiences": [AUDIENCE],
                "token_policies": [policy],
                "token_type": "batch",
                "token_ttl": "300s",
            });
            self.set(&role, rules);
        }
    }

    /// Posts something as root.
    pub(crate) fn set(&self, path: &str, body: Value) {
        self.admin("POST", path).body(body).ok();
    }

    /// The token of a job of the CI service, good for an hour.
    pub(crate) fn job(&self) -> String {
        self.issuer.token(now_unix_s() + 3600)
    }

    /// Logs a job in by its role; gives OpenBao's token.
    pub(crate) fn log_in(&self, role: &str) -> String {
        let login = json!({"role": role, "jwt": self.job()});
        let request = self.nodes[0].request("POST", "auth/jwt/login");
        request.body(login).ok().text("/auth/client_token")
    }

    /// The identifier and a secret of the AppRole `ci`.
    pub(crate) fn app_role(&self) -> [String; 2] {
        let role = self.admin("GET", "auth/approle/role/ci/role-id").ok();
        let secret = self.admin("POST", "auth/approle/role/ci/secret-id").ok();
        [role.text("/data/role_id"), secret.text("/data/secret_id")]
    }

    /// Lets a path be asked so often in a time, such as `60s`.
    pub(crate) fn limit(&self, path: &str, rate: u32, interval: &str) {
        let quota = json!({"path": path, "rate": rate, "interval": interval});
        self.set("sys/quotas/rate-limit/few", quota);
    }
}

/// The seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}
