//! Shows what the machines need that use a shared login: policies, a role, and the settings of each job.

use serde_json::json;

use super::super::Console;
use crate::profile::{Profile, RecordPath, SharedStore, Vault};

/// Shows it for the store of a profile.
pub(super) fn tell(profile: &Profile, console: &Console<'_>) {
    let lines = match &profile.shared {
        Some(SharedStore::Vault(vault)) => of_vault(vault),
        Some(SharedStore::Command(_)) => vec![
            "Each job needs these settings, and the command itself:".to_owned(),
            "  BBTOKEN_STORE=command".to_owned(),
            "  BBTOKEN_STORE_COMMAND=<the command>".to_owned(),
        ],
        None => Vec::new(),
    };
    lines.iter().for_each(|line| console.tell(line));
}

fn of_vault(vault: &Vault) -> Vec<String> {
    let name = vault.record.path.replace('/', "-");
    let login = rule(&vault.record, r#""create", "read", "update""#);
    let (mut lines, of_jobs, read) = match &vault.token_record {
        None => {
            let line = "For the jobs, give the store this policy and this role:".to_owned();
            (vec![line, policy(&name, &[login])], name, &vault.record)
        }
        Some(copy) => {
            let of_jobs = format!("{name}-jobs");
            let written = rule(copy, r#""create", "read", "update""#);
            let lines = vec![
                "For the machine that runs 'git bbtoken renew', give the store this policy:"
                    .to_owned(),
                policy(&name, &[login, written]),
                "For the jobs, which only read the token, give it this policy and this role:"
                    .to_owned(),
                policy(&of_jobs, &[rule(copy, r#""read""#)]),
            ];
            (lines, of_jobs, copy)
        }
    };
    lines.push(role(vault, &of_jobs));
    lines.push(
        "Replace <…> by what your CI service has. Each job needs a JWT, and these settings:"
            .to_owned(),
    );
    lines.extend(settings(vault, read, &of_jobs));
    lines
}

fn rule(record: &RecordPath, rights: &str) -> String {
    let RecordPath { mount, path } = record;
    format!(r#"path "{mount}/data/{path}" {{ capabilities = [{rights}] }}"#)
}

/// Gives the command for a policy, as one line that can be pasted.
fn policy(name: &str, rules: &[String]) -> String {
    format!("  echo '{}' | vault policy write {name} -", rules.join(" "))
}

/// Gives the command for a role. Without a bound claim, all jobs of a CI service could use the login.
fn role(vault: &Vault, name: &str) -> String {
    let path = vault.auth_path.as_deref().unwrap_or("jwt");
    let role = json!({
        "role_type": "jwt",
        "bound_audiences": "<audience>",
        "user_claim": "<claim>",
        "bound_claims": { "<claim>": "<value>" },
        "token_policies": name,
        "token_type": "batch",
        "token_ttl": "5m",
    });
    format!("  echo '{role}' | vault write auth/{path}/role/{name} -")
}

/// Gives the variables of a job.
fn settings(vault: &Vault, record: &RecordPath, role: &str) -> Vec<String> {
    let url = vault.url.as_str().trim_end_matches('/');
    let path = record.setting();
    let settings = [
        ("VAULT_ADDR", Some(url)),
        ("BBTOKEN_STORE", Some("vault")),
        ("BBTOKEN_STORE_PATH", Some(&path)),
        ("BBTOKEN_STORE_ROLE", Some(role)),
        ("BBTOKEN_STORE_AUTH_PATH", vault.auth_path.as_deref()),
        ("BBTOKEN_STORE_NAMESPACE", vault.namespace.as_deref()),
    ];
    let set = settings
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    set.map(|(name, value)| format!("  {name}={value}"))
        .collect()
}
