//! Reads git's configuration and the environment into raw settings with their origins. Other rooms interpret them.

mod directories;
mod entry;
mod environment;
mod files;
mod git;
mod http;
mod include;
mod parameters;
mod permission;
mod profiles;
mod questions;
mod reader;
mod repository;
mod spelling;
mod syntax;
mod system;
mod text;
mod urlmatch;
mod vault;

use std::ffi::OsString;

pub(crate) use directories::{DIRECTORY, Directories, find as directories};
pub(crate) use entry::{Entry, Scope, is_true, is_true_text};
pub(crate) use environment::Variables;
pub(crate) use files::user_file;
pub(crate) use git::{GitConfig, branch};
pub(crate) use http::{
    HTTP_KEYS, Resolved as HttpSettings, from_repository as http_from_repository,
    resolve as http_settings, resolve_for_store as http_settings_of_store,
};
pub(crate) use permission::FromRepository;
pub(crate) use profiles::{add_remote, add_shared, profiles};
pub(crate) use questions::no_questions;
pub(crate) use reader::file;
pub(crate) use repository::{BBTOKEN_KEYS, GIT_KEYS, REMOTE_KEYS, Row};
pub(crate) use system::{file as system_file, save_learned};
pub(crate) use urlmatch::{fits as url_fits, values as url_values};

/// Reads a variable of this process.
pub(crate) fn process_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Parses the text of a configuration file into settings with whole names.
#[cfg(test)]
pub(crate) fn settings(text: &str) -> Option<Vec<(String, Option<String>)>> {
    let all = syntax::parse(text.as_bytes(), text.len()).ok()?.into_iter();
    let named = all.map(|syntax::Assignment { name, value }| {
        let parts = [Some(name.section), name.subsection, Some(name.key)];
        (
            parts.into_iter().flatten().collect::<Vec<_>>().join("."),
            value,
        )
    });
    Some(named.collect())
}
