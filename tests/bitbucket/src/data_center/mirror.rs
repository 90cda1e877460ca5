//! Mirrors serve copies of the primary's repositories.

use std::fs;
use std::io::Result;
use std::path::Path;

/// Makes one directory a copy of another.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => fs::copy(entry.path(), &to).map(drop)?,
        }
    }
    Ok(())
}
