//! `git bbtoken completions`: scripts for shells, made from the one definition of the command line.
//!
//! What the generator does not know is put in: the names of the profiles, and that git's own completion asks for
//! `git bbtoken`. Zsh's git completion finds `git-bbtoken` by itself.

use clap::CommandFactory as _;
use clap_complete::aot::{self, Shell};

use super::{Console, cli, pages::NAME};

/// Prints the names of the profiles, in any shell of Unix: the subsections of `bbtoken`.
const PROFILES: &str = r"git config --name-only --get-regexp '^bbtoken\..*\.' 2>/dev/null | sed 's/^bbtoken\.\(.*\)\.[^.]*$/\1/' | sort -u";

/// Lets git's own completion, which calls `_git_<command>`, complete `git bbtoken`, too.
const BASH_FOR_GIT: &str = r#"
_git_bbtoken() {
    local start=${__git_cmd_idx:-1}
    local words=(git-bbtoken "${COMP_WORDS[@]:start+1}") place=$((COMP_CWORD - start))
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$place
    _git__bbtoken git-bbtoken "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
}
"#;

/// The same in fish: its git completion finds `git-bbtoken` by itself since 3.7 only.
const FISH_FOR_GIT: &str = r#"complete -c git -f -n "functions -q __fish_git_using_command; and __fish_git_using_command bbtoken" -a "(__fish_git_complete_custom_command bbtoken)"
"#;

/// The subcommands whose argument is a profile.
const OF_A_PROFILE: [&str; 3] = ["login", "logout", "status"];
/// The subcommands with the flag `--profile`.
const WITH_A_PROFILE: [&str; 3] = ["token", "exec", "credential"];

pub(super) fn print(shell: cli::Shell, console: &mut Console<'_>) -> anyhow::Result<()> {
    let script = match shell {
        cli::Shell::Bash => bash(&generated(Shell::Bash)?),
        cli::Shell::Zsh => zsh(&generated(Shell::Zsh)?),
        cli::Shell::Fish => fish(&generated(Shell::Fish)?),
        cli::Shell::Powershell => generated(Shell::PowerShell)?,
    };
    Ok(console.output.write_all(script.as_bytes())?)
}

fn generated(shell: Shell) -> anyhow::Result<String> {
    let mut script = Vec::new();
    aot::generate(shell, &mut cli::Cli::command(), NAME, &mut script);
    Ok(String::from_utf8(script)?)
}

/// The generator offers files for the value of a flag, and nothing for an argument.
fn bash(generated: &str) -> String {
    const FILES: &str = r#"COMPREPLY=($(compgen -f "${cur}"))"#;
    let profiles = r#"COMPREPLY=($(compgen -W "$(_git_bbtoken_profiles)" -- "${cur}"))"#;
    let mut script = format!("_git_bbtoken_profiles() {{\n    {PROFILES}\n}}\n\n");
    let (mut of_a_profile, mut is_flag) = (false, false);
    for line in generated.lines() {
        let word = line.trim();
        if let Some(subcommand) = word.strip_suffix(')') {
            let name = subcommand.rsplit("__").next().unwrap_or("");
            of_a_profile = OF_A_PROFILE.contains(&name);
        }
        let line = match line.strip_suffix('"') {
            Some(words) if of_a_profile && word.starts_with("opts=") => {
                of_a_profile = false;
                format!("{words} $(_git_bbtoken_profiles)\"")
            }
            _ if is_flag => line.replace(FILES, profiles),
            _ => line.to_owned(),
        };
        is_flag = word == "--profile)";
        // The generator writes a hyphen of the program's name in two ways (clap_complete 4.6).
        script.push_str(&line.replace("git__subcmd__bbtoken", "git__bbtoken"));
        script.push('\n');
    }
    script + BASH_FOR_GIT
}

fn zsh(generated: &str) -> String {
    const START: &str = "#compdef git-bbtoken\n";
    let mut script = format!(
        "{START}\n_git-bbtoken_profiles() {{\n    local -a profiles\n    profiles=(${{(f)\"$({PROFILES})\"}})\n    compadd -a profiles\n}}\n"
    );
    let rest = generated.strip_prefix(START).unwrap_or(generated);
    for line in rest.lines() {
        let is_profile = ["'::profile --", "'--profile=["]
            .iter()
            .any(|start| line.starts_with(start));
        let action = if is_profile {
            "_git-bbtoken_profiles"
        } else {
            "_default"
        };
        script.push_str(&line.replace(":_default", &format!(":{action}")));
        script.push('\n');
    }
    script
}

fn fish(generated: &str) -> String {
    let mut script = format!(
        "{generated}\nfunction __fish_git_bbtoken_profiles\n    {PROFILES}\nend\n{FISH_FOR_GIT}"
    );
    let mut offer = |subcommand: &str, how: &str, words: &str| {
        script.push_str(&format!(
            "complete -c {NAME} -n \"__fish_git_bbtoken_using_subcommand {subcommand}\" {how} -a \"{words}\"\n"
        ));
    };
    for subcommand in OF_A_PROFILE {
        offer(subcommand, "-f", "(__fish_git_bbtoken_profiles)");
    }
    for subcommand in WITH_A_PROFILE {
        offer(subcommand, "-l profile -x", "(__fish_git_bbtoken_profiles)");
    }
    // The generator offers the values of flags only.
    for subcommand in cli::definition().get_subcommands() {
        let values = subcommand
            .get_positionals()
            .flat_map(clap::Arg::get_possible_values);
        let words: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        if !words.is_empty() {
            offer(subcommand.get_name(), "-f", &words.join(" "));
        }
    }
    script
}
