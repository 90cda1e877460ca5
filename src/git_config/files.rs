//! The files that git reads its configuration from (git-config(1), "FILES").

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

use super::{
    entry::Scope,
    environment::{Variables, absolute, home, named_file},
    system,
};
use crate::{failure::Failure, files::foreign};

/// The files and directories from git's environment.
#[derive(Default)]
pub(super) struct Places {
    system: Option<PathBuf>,
    global: Vec<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) git_dir: Option<PathBuf>,
    pub(super) common_dir: Option<PathBuf>,
    /// The current branch, once it was looked up.
    pub(super) branch: OnceCell<Option<String>>,
}

impl Places {
    /// Finds the files and directories.
    ///
    /// # Errors
    ///
    /// [`crate::failure::Kind::Misconfigured`] for a relative path.
    pub(super) fn find(variables: Variables<'_>) -> Result<Self, Failure> {
        let home = home(variables)?;
        let git_dir = variables("GIT_DIR").map(PathBuf::from);
        Ok(Places {
            system: system::file(variables)?,
            global: global_files(variables, home.as_deref())?,
            common_dir: git_dir
                .as_deref()
                .map(|git_dir| common_dir(variables, git_dir)),
            git_dir,
            home,
            branch: OnceCell::new(),
        })
    }

    /// Lists the system, global and local files in reading order.
    pub(super) fn files(&self) -> Vec<(PathBuf, Scope)> {
        let system = self.system.iter().map(|path| (path.clone(), Scope::System));
        let global = self.global.iter().map(|path| (path.clone(), Scope::Global));
        let common = self.common_dir.iter();
        let local = common.map(|path| (path.join("config"), Scope::Local));
        system.chain(global).chain(local).collect()
    }
}

/// Finds the user's own file, even if it does not exist; `None` without a home.
pub(crate) fn user_file(variables: Variables<'_>) -> Option<PathBuf> {
    let home = home(variables).ok()?;
    global_files(variables, home.as_deref()).ok()?.pop()
}

fn global_files(variables: Variables<'_>, home: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    const NAME: &str = "GIT_CONFIG_GLOBAL";
    if let Some(path) = variables(NAME) {
        return Ok(named_file(NAME, path)?.into_iter().collect());
    }
    let xdg = match variables("XDG_CONFIG_HOME").filter(|path| !path.is_empty()) {
        Some(path) => Some(absolute("XDG_CONFIG_HOME", path)?),
        None => home.map(|home| home.join(".config")),
    };
    let xdg = xdg.map(|directory| directory.join("git/config"));
    let own = home.map(|home| home.join(".gitconfig"));
    Ok(xdg.into_iter().chain(own).collect())
}

/// Finds the directory that work trees share (gitrepository-layout(5), "commondir").
fn common_dir(variables: Variables<'_>, git_dir: &Path) -> PathBuf {
    if let Some(path) = variables("GIT_COMMON_DIR") {
        return path.into();
    }
    match foreign::first_line(&git_dir.join("commondir")) {
        Some(relative) => git_dir.join(relative),
        None => git_dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_home_is_the_root_directory_as_in_git() {
        let path = user_file(&|name: &str| (name == "HOME").then(|| "".into()));
        assert_eq!(path.as_deref(), Some(Path::new("/.gitconfig")));
    }
}
