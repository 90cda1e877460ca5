//! Finds the login to a store: a JWT of a job, a token, an AppRole, or none for an agent on this machine.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    failure::{Failure, Kind},
    files::{self, foreign},
    pasted,
    profile::{Jwt, Vault},
    secret::Secret,
    token::disk::of_disk,
    url::is_loopback,
};

type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variables in which GitLab and Bitbucket Pipelines give a job its JWT.
const JWT_VARIABLES: [&str; 2] = ["VAULT_ID_TOKEN", "BITBUCKET_STEP_OIDC_TOKEN"];
/// The file in which Kubernetes gives a pod its JWT, and the usual path of the auth method for it.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const KUBERNETES: &str = "kubernetes";
/// The longest token or JWT.
const MAX_BYTES: u64 = 64 * 1024;

/// The login to a store.
pub(super) enum Credential {
    /// A JWT for a role, at this auth method.
    Jwt {
        role: String,
        path: String,
        jwt: Secret,
    },
    /// A role with its secret, at this auth method. Repeating a wrong one locks the role.
    AppRole {
        path: String,
        role_id: Secret,
        secret_id: Secret,
    },
    /// A token, with its variable or file.
    Token { token: Secret, origin: String },
    /// None: an agent or a proxy on this machine adds its own.
    None,
}

impl Credential {
    /// Gives path and body of the request for a token, if one is needed.
    pub(super) fn login(&self) -> Option<(Vec<&str>, Secret)> {
        let (path, body) = match self {
            Credential::Jwt { role, path, jwt } => {
                (path, json!({ "role": role, "jwt": jwt.expose() }))
            }
            Credential::AppRole {
                path,
                role_id,
                secret_id,
            } => (
                path,
                json!({ "role_id": role_id.expose(), "secret_id": secret_id.expose() }),
            ),
            Credential::Token { .. } | Credential::None => return None,
        };
        let path = ["auth"].into_iter().chain(path.split('/')).chain(["login"]);
        Some((path.collect(), Secret::new(body.to_string())))
    }

    /// Gives the token, if it is one.
    pub(super) fn token(&self) -> Option<Secret> {
        match self {
            Credential::Token { token, .. } => Some(token.clone()),
            Credential::Jwt { .. } | Credential::AppRole { .. } | Credential::None => None,
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Jwt { role, path, .. } => write!(f, "role '{role}' of 'auth/{path}'"),
            Credential::AppRole { path, .. } => write!(f, "the AppRole of 'auth/{path}'"),
            Credential::Token { origin, .. } => write!(f, "the token of {origin}"),
            Credential::None => f.write_str("a request without a token"),
        }
    }
}

/// Finds the first login that there is.
///
/// # Errors
///
/// [`Kind::Misconfigured`] if there is none, or if it cannot be read.
pub(super) fn find(vault: &Vault, variables: Variables<'_>) -> anyhow::Result<Credential> {
    let path = |usual: &str| vault.auth_path.clone().unwrap_or_else(|| usual.to_owned());
    if let Some(role) = &vault.role
        && let Some(jwt) = jwt(vault, variables)?
    {
        let (role, path) = (role.clone(), path("jwt"));
        return Ok(Credential::Jwt { role, path, jwt });
    }
    if let Some((origin, token)) = variable(variables, "TOKEN")? {
        return Ok(Credential::Token { token, origin });
    }
    if let Some((_, role_id)) = variable(variables, "ROLE_ID")?
        && let Some(secret_id) = secret_id(variables)?
    {
        return Ok(Credential::AppRole {
            path: path("approle"),
            role_id,
            secret_id,
        });
    }
    if let Some((origin, token)) = of_person(variables)? {
        return Ok(Credential::Token { token, origin });
    }
    match vault.url.scheme() == "http" && is_loopback(&vault.url) {
        true => Ok(Credential::None),
        false => {
            let place = vault.name_of(&vault.record);
            let message = format!("cannot read the shared login {place}: {}", none(vault));
            Err(Failure::new(Kind::Misconfigured, message).into())
        }
    }
}

/// Says that there is no login, and how to give one.
pub(super) fn none(vault: &Vault) -> String {
    let jwt = match (&vault.role, &vault.jwt) {
        (None, _) => "set storeRole for a login with a JWT".to_owned(),
        (Some(role), Some(Jwt::File(path))) => {
            format!("role '{role}' needs the file '{}'", path.display())
        }
        (Some(role), Some(Jwt::Variable(name))) => format!("role '{role}' needs a JWT in {name}"),
        (Some(role), None) => format!(
            "role '{role}' needs a JWT in {}, or storeJwtFile or storeJwtVariable",
            JWT_VARIABLES.join(" or ")
        ),
    };
    format!(
        "there is no login to the store: {jwt}; or set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or run 'vault login'"
    )
}

/// Reads the JWT; `None` if its variable or file does not exist.
fn jwt(vault: &Vault, variables: Variables<'_>) -> anyhow::Result<Option<Secret>> {
    let is_of_pod = vault.auth_path.as_deref() == Some(KUBERNETES);
    let of_variable = |name: &str| match variables(name).filter(|value| !value.is_empty()) {
        Some(value) => word(value.as_encoded_bytes(), name).map(Some),
        None => Ok(None),
    };
    match &vault.jwt {
        Some(Jwt::File(path)) => of_file(path),
        Some(Jwt::Variable(name)) => of_variable(name),
        None if is_of_pod => of_file(Path::new(SERVICE_ACCOUNT)),
        None => {
            let mut found = JWT_VARIABLES.into_iter().map(of_variable);
            found.find_map(Result::transpose).transpose()
        }
    }
}

/// Reads the secret of an AppRole.
fn secret_id(variables: Variables<'_>) -> anyhow::Result<Option<Secret>> {
    if let Some((_, secret)) = variable(variables, "SECRET_ID")? {
        return Ok(Some(secret));
    }
    let Some((name, path)) = variable(variables, "SECRET_ID_FILE")? else {
        return Ok(None);
    };
    let path = PathBuf::from(path.expose());
    if !path.has_root() {
        let why = format!("{name} is not an absolute path: a repository could put a file there");
        return Err(Failure::new(Kind::Misconfigured, why).into());
    }
    of_file(&path)
}

/// Reads the token that `vault login` or `bao login` wrote.
fn of_person(variables: Variables<'_>) -> anyhow::Result<Option<(String, Secret)>> {
    let home = variables("HOME").map(PathBuf::from).or_else(dirs::home_dir);
    let Some(home) = home.filter(|home| home.has_root()) else {
        return Ok(None);
    };
    let path = home.join(".vault-token");
    let origin = format!("'{}'", path.display());
    match files::read_own(&path, MAX_BYTES) {
        Ok(text) => Ok(Some((origin.clone(), word(&text, &origin)?))),
        Err(error) if files::is_absent(&error) => Ok(None),
        Err(error) => {
            let message = format!("cannot read the token for the store from {origin}");
            Err(of_disk(error, message))
        }
    }
}

/// Reads a variable of OpenBao's or Vault's own programs, with its name. As there, an empty one counts as unset.
fn variable(variables: Variables<'_>, name: &str) -> anyhow::Result<Option<(String, Secret)>> {
    for name in [format!("BAO_{name}"), format!("VAULT_{name}")] {
        if let Some(value) = variables(&name).filter(|value| !value.is_empty()) {
            let value = word(value.as_encoded_bytes(), &name)?;
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// Reads a file that another program wrote; `None` if there is none.
fn of_file(path: &Path) -> anyhow::Result<Option<Secret>> {
    let origin = format!("'{}'", path.display());
    match foreign::read(path, MAX_BYTES) {
        Ok(text) => word(&Zeroizing::new(text), &origin).map(Some),
        Err(error) if files::is_absent(&error) => Ok(None),
        Err(error) => {
            let message = format!("cannot read the login to the store from {origin}");
            Err(anyhow::Error::from(error).context(Failure::new(Kind::Misconfigured, message)))
        }
    }
}

fn word(text: &[u8], origin: &str) -> anyhow::Result<Secret> {
    pasted::word(text).map_err(|flaw| {
        let message = format!("the login to the store in {origin} {flaw}");
        Failure::new(Kind::Misconfigured, message).into()
    })
}
