//! Repositories with one commit, written without a git process: tests make thousands of them.

use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::ZlibEncoder};

const CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
";
/// A commit by the user of each world, when the first of [`crate::support::World::commits`] is made, too.
const BY: &str = "Ann Tester <ann@example.org> 1700000000 +0000";

/// Makes the repository of a work tree with the commit on `main`. `git reset --hard` checks it out.
pub(crate) fn work_tree(directory: &Path) {
    let repository = directory.join(".git");
    bitbucket_local::lay_out(&repository, CONFIG).expect("the world's directory can be written");
    plant(&repository);
}

/// Commits `file` on `main` of an empty repository.
pub(crate) fn plant(repository: &Path) {
    let blob = object(repository, "blob", b"one\n");
    let tree = [b"100644 file\0", blob.as_slice()].concat();
    let tree = hex(&object(repository, "tree", &tree));
    let commit = format!("tree {tree}\nauthor {BY}\ncommitter {BY}\n\none\n");
    let commit = hex(&object(repository, "commit", commit.as_bytes()));
    fs::write(repository.join("refs/heads/main"), format!("{commit}\n"))
        .expect("the repository can be written");
}

/// Writes a loose object and gives its id.
fn object(repository: &Path, kind: &str, content: &[u8]) -> Vec<u8> {
    let whole = [format!("{kind} {}\0", content.len()).as_bytes(), content].concat();
    let algorithm = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
    let id = ring::digest::digest(algorithm, &whole).as_ref().to_owned();
    let name = hex(&id);
    let (directory, name) = name.split_at(2);
    let directory = repository.join("objects").join(directory);
    fs::create_dir_all(&directory).expect("the repository can be written");
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&whole).expect("memory can be written");
    let packed = packed.finish().expect("memory can be written");
    fs::write(directory.join(name), packed).expect("the repository can be written");
    id
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
