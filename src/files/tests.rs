//! Files and directories that are trusted, or not.

use super::*;

/// Writes a private file in place.
pub(crate) fn write_private(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("it can be written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
}

fn directory() -> (tempfile::TempDir, Directory) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let directory = Directory::make(&temporary.path().join("a/b")).expect("it can be made");
    (temporary, directory)
}

#[test]
fn abandoned_temporary_files_are_removed_only_after_their_time() {
    let (_temporary, directory) = directory();
    let old = beside("k", "new").expect("there is chance");
    let other = beside("k", "new").expect("there is chance");
    for left in [&old, &other, &"other.1.new".to_owned()] {
        directory.create(left).expect("it is new");
    }
    let long_ago = SystemTime::now() - 2 * ABANDONED;
    let file = directory.open_or_create(&old);
    file.and_then(|file| file.set_modified(long_ago))
        .expect("it is ours");
    directory
        .replace("k.json", b"x")
        .expect("it can be written");
    let left = directory.all_beside("k", "new");
    assert_eq!(left.expect("it is there"), [other]);
    assert!(directory.has("other.1.new"));
}

#[test]
fn a_long_file_is_not_read() {
    let (_temporary, directory) = directory();
    directory.replace("k", b"12345").expect("it can be written");
    assert_eq!(directory.read("k", 5).expect("it is short"), b"12345");
    let error = directory.read("k", 4).expect_err("it is long");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    fn mode(path: &Path) -> u32 {
        let metadata = fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(outcome: io::Result<T>, message: &str, remedy: &str) {
        let error = outcome.expect_err("it is not trusted");
        let why = untrusted(&error).expect("that is the reason");
        assert_eq!(why.why, message);
        assert!(why.remedy.starts_with(remedy), "{}", why.remedy);
    }

    #[test]
    fn a_directory_that_others_can_read_is_closed_and_one_that_they_can_change_is_refused() {
        let (_temporary, directory) = directory();
        let path = directory.path.clone();
        set_mode(&path, 0o755);
        refused(
            Directory::open(&path),
            "other users may read it",
            "run: chmod 700 ",
        );
        Directory::claim(&path).expect("it is closed");
        assert_eq!(mode(&path), 0o700);
        set_mode(&path, 0o770);
        for use_it in [Directory::open, Directory::claim, Directory::make] {
            refused(
                use_it(&path),
                "other users may change it",
                "run: chmod 700 ",
            );
        }
        assert_eq!(mode(&path), 0o770, "nothing is changed");
    }

    #[test]
    fn a_link_instead_of_a_directory_is_refused() {
        let (temporary, directory) = directory();
        let link = temporary.path().join("link");
        symlink(&directory.path, &link).expect("the name is free");
        for use_it in [Directory::open, Directory::claim, Directory::make] {
            refused(use_it(&link), "it is a symbolic link", "run: rm ");
        }
    }

    #[test]
    fn a_link_instead_of_a_file_is_neither_read_nor_written() {
        let (temporary, directory) = directory();
        let victim = temporary.path().join("victim");
        fs::write(&victim, "kept").expect("it is new");
        set_mode(&victim, 0o600);
        symlink(&victim, directory.path_of("soft")).expect("it is new");
        fs::hard_link(&victim, directory.path_of("hard")).expect("it is new");
        for (name, why) in [
            ("soft", "it is a symbolic link"),
            ("hard", "it has more than one hard link"),
        ] {
            refused(directory.read(name, 100), why, "run: rm ");
            refused(directory.open_or_create(name), why, "run: rm ");
            directory
                .replace(name, b"new")
                .expect("the link is replaced");
            assert_eq!(directory.read(name, 100).expect("it is ours"), b"new");
        }
        assert_eq!(fs::read(&victim).expect("it is there"), b"kept");
    }

    #[test]
    fn a_pipe_instead_of_a_file_does_not_block() {
        let (_temporary, directory) = directory();
        let made = std::process::Command::new("mkfifo")
            .arg(directory.path_of("pipe"))
            .status();
        assert!(made.expect("it starts").success());
        assert!(directory.read("pipe", 100).is_err());
        assert!(directory.open_or_create("pipe").is_err());
    }

    #[test]
    fn a_file_that_others_can_access_is_not_read() {
        let (_temporary, directory) = directory();
        directory.replace("k", b"x").expect("it can be written");
        for (open, why) in [
            (0o640, "other users may read it"),
            (0o602, "other users may change it"),
        ] {
            set_mode(&directory.path_of("k"), open);
            refused(directory.read("k", 100), why, "run: chmod 600 ");
        }
    }

    #[test]
    fn a_file_goes_to_the_opened_directory_even_if_the_path_leads_elsewhere() {
        let (temporary, directory) = directory();
        let moved = temporary.path().join("moved");
        fs::rename(&directory.path, &moved).expect("it is ours");
        fs::create_dir(&directory.path).expect("the name is free");
        directory.replace("k", b"x").expect("it can be written");
        assert!(moved.join("k").exists());
        assert!(!directory.path.join("k").exists());
    }
}
