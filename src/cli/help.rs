//! `git bbtoken help`: a subcommand or a topic.

use super::{
    Console,
    arguments::{TOPICS, explained_names},
    help_text::of_command,
    reference,
};
use crate::{failure::usage, secret::mask_name, suggestion::similar};

pub(super) fn run(words: &[String], console: &mut Console<'_>) -> anyhow::Result<()> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let topic = || match words[..] {
        [word] => reference::topic(word),
        _ => None,
    };
    let text = of_command(&words, None)
        .or_else(topic)
        .ok_or_else(|| unknown(&words.join(" ")))?;
    console.print(&format!("{}\n", text.trim_end()))
}

fn unknown(topic: &str) -> anyhow::Error {
    let known = explained_names();
    let similar = similar(topic, known.iter().map(String::as_str));
    let similar = similar.map_or(String::new(), |known| {
        format!(", but there is for '{known}'")
    });
    usage(&format!(
        "there is no help for '{}'{similar}; give a subcommand ('git bbtoken help' lists them) or one of: {}",
        mask_name(topic),
        TOPICS.join(", ")
    ))
}
