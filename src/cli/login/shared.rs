//! Shows what the machines need that use a shared login: policies, a role, and the settings of each job.

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
    let all = r#""create", "read", "update""#;
    let mut lines = vec![format!(
        "Policy '{name}', for the machines that renew the token:"
    )];
    lines.push(policy(&vault.record, all));
    let (of_jobs, read) = match &vault.token_record {
        None => (name.clone(), &vault.record),
        Some(copy) => {
            lines.push(policy(copy, all));
            lines.push(format!(
                "Policy '{name}-jobs', for jobs, which only read the token:"
            ));
            lines.push(policy(copy, r#""read""#));
            (format!("{name}-jobs"), copy)
        }
    };
    let auth_path = vault.auth_path.as_deref().unwrap_or("jwt");
    lines.extend([
        "Role for jobs with a JWT; add the audience and the claims of your CI service:".to_owned(),
        format!(
            "  vault write auth/{auth_path}/role/{of_jobs} role_type=jwt user_claim=sub token_type=batch token_ttl=5m \
             token_policies={of_jobs} bound_audiences=<audience>"
        ),
        "Each job needs these settings, besides VAULT_ADDR and its JWT:".to_owned(),
        "  BBTOKEN_STORE=vault".to_owned(),
        format!("  BBTOKEN_STORE_PATH={}/data/{}", read.mount, read.path),
        format!("  BBTOKEN_STORE_ROLE={of_jobs}"),
    ]);
    let others = [
        ("AUTH_PATH", vault.auth_path.as_deref()),
        ("NAMESPACE", vault.namespace.as_deref()),
    ];
    let set = others
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)));
    lines.extend(set.map(|(key, value)| format!("  BBTOKEN_STORE_{key}={value}")));
    lines
}

fn policy(record: &RecordPath, rights: &str) -> String {
    let RecordPath { mount, path } = record;
    format!(r#"  path "{mount}/data/{path}" {{ capabilities = [{rights}] }}"#)
}
