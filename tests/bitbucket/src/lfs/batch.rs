//! The batch API: where objects are to be had or put.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{SIGNATURE, problem, reply, storage};
use crate::git::Repository;
use crate::oauth::{NewToken, TokenKind};
use crate::page::Answer;
use crate::settings::LfsLinks;
use crate::site::Site;

pub(super) fn answer(site: &Site, repository: &Repository, asked: &Value) -> Answer {
    let Some(objects) = asked["objects"].as_array() else {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "no objects are named");
    };
    let link = Link::new(site, repository);
    let write = asked["operation"] == "upload";
    let found: Vec<_> = objects
        .iter()
        .map(|object| {
            let oid = object["oid"].as_str().unwrap_or_default();
            let is_there = storage::path(site, repository, oid).is_some_and(|path| path.is_file());
            let mut object = json!({ "oid": oid, "size": object["size"] });
            match (write, is_there) {
                (true, true) => {}
                (true, false) => object["actions"] = json!({ "upload": link.to(oid) }),
                (false, true) => object["actions"] = json!({ "download": link.to(oid) }),
                (false, false) => {
                    object["error"] = json!({ "code": 404, "message": "Object does not exist" });
                }
            }
            if link.kind != LfsLinks::Plain {
                object["authenticated"] = json!(true);
            }
            object
        })
        .collect();
    reply(
        StatusCode::OK,
        &json!({ "transfer": "basic", "objects": found }),
    )
}

/// How the links of one batch are made.
struct Link {
    kind: LfsLinks,
    storage: String,
    /// For links that need no credentials of the client's.
    token: String,
    lifetime_s: u64,
}

impl Link {
    fn new(site: &Site, repository: &Repository) -> Self {
        let settings = site.settings();
        let lifetime_s = settings.lfs_link_lifetime_s;
        Self {
            kind: settings.lfs_links,
            storage: site.lfs_storage(repository),
            token: site.issue(NewToken {
                scopes: vec!["repository:write".to_owned()],
                lifetime_s: Some(lifetime_s),
                ..NewToken::new(TokenKind::Access)
            }),
            lifetime_s,
        }
    }

    fn to(&self, oid: &str) -> Value {
        let href = format!("{}{oid}", self.storage);
        match self.kind {
            LfsLinks::Plain => json!({ "href": href }),
            LfsLinks::Header => json!({
                "href": href,
                "header": { "Authorization": format!("Bearer {}", self.token) },
                "expires_in": self.lifetime_s,
            }),
            LfsLinks::Signed => json!({
                "href": format!("{href}?{SIGNATURE}{}", self.token),
                "expires_in": self.lifetime_s,
            }),
        }
    }
}
