//! `git bbtoken version`: prints this program's version, and the helper's if it differs.

use super::{Console, arguments};
use crate::doctor;

pub(super) fn run(console: &mut Console<'_>) -> anyhow::Result<()> {
    console.print(&arguments::definition().render_version())?;
    let other = doctor::other_helper();
    other.map_or(Ok(()), |line| console.answer(&line))
}
