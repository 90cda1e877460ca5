//! Cargo runs this target last. It says which tests did not run, and why.

#![expect(
    clippy::print_stdout,
    reason = "the summary is for the person who runs the tests"
)]

#[path = "it/notes.rs"]
mod notes;

fn main() {
    #[cfg(unix)]
    if let Some(summary) = notes::summary(&notes::file(std::os::unix::process::parent_id())) {
        print!("\n{summary}");
    }
    // Notes of runs that ended before this target are of no use.
    let _ = std::fs::remove_dir_all(notes::directory());
}
