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
    let read_by_jobs = vault.token_record.as_ref().unwrap_or(&vault.record);
    let mut lines = vec![format!(
        "Policy '{name}', for the machines that renew the token:"
    )];
    lines.push(policy(&vault.record, r#""create", "read", "update""#));
    if let Some(copy) = &vault.token_record {
        lines.push(policy(copy, r#""create", "read", "update""#));
        lines.push("Policy for the jobs, which only read the token:".to_owned());
        lines.push(policy(copy, r#""read""#));
    }
    lines.extend([
        "Role for jobs with a JWT; add the audience and the claims of your CI service:".to_owned(),
        format!(
            "  vault write auth/jwt/role/{name} role_type=jwt user_claim=sub token_type=batch token_ttl=5m \
             token_policies={name} bound_audiences=<audience>"
        ),
        "Each job needs two settings, besides VAULT_ADDR and its own login to the store:".to_owned(),
        "  BBTOKEN_STORE=vault".to_owned(),
        format!("  BBTOKEN_STORE_PATH={}/data/{}", read_by_jobs.mount, read_by_jobs.path),
    ]);
    lines
}

fn policy(record: &RecordPath, rights: &str) -> String {
    let RecordPath { mount, path } = record;
    format!(r#"  path "{mount}/data/{path}" {{ capabilities = [{rights}] }}"#)
}
