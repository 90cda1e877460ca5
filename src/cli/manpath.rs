//! Finds a directory of the user that `man` searches.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::help_text::NAME;
use crate::program::{self, Child};

/// Gives the user's own directory, then `share/man` beside the `bin` directory of the program.
pub(super) fn candidates() -> Vec<PathBuf> {
    let of_user = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let of_user = of_user.filter(|data| data.has_root());
    let of_user = of_user.or_else(|| Some(dirs::home_dir()?.join(".local/share")));
    let of_program = program::sibling(NAME).ok().and_then(|program| {
        let bin = program
            .parent()
            .filter(|directory| directory.ends_with("bin"))?;
        Some(bin.with_file_name("share"))
    });
    let all = [of_user, of_program].into_iter().flatten();
    let all = all.map(|data| data.join("man"));
    all.filter(|directory| directory.has_root()).collect()
}

/// Tells whether `man` searches a directory. Creates the directory first, because `man` ignores missing ones.
pub(super) fn is_searched(directory: &Path) -> bool {
    let was_there = directory.exists();
    let is_there = was_there || fs::create_dir_all(directory).is_ok();
    let is_searched = is_there && lists(directory);
    if is_there && !was_there && !is_searched {
        // It is empty and does no harm.
        let _ = fs::remove_dir(directory);
    }
    is_searched
}

/// Asks `manpath`. Some systems have `man` without it, so the answer is unknown.
fn lists(directory: &Path) -> bool {
    let output = Child::Manual
        .command("manpath")
        .and_then(|mut manpath| manpath.arg("-q").output());
    output.is_ok_and(|output| {
        let searched = String::from_utf8_lossy(&output.stdout);
        env::split_paths(searched.trim_end()).any(|searched| searched == directory)
    })
}
