//! `git bbtoken completions`: prints a script for a shell. The script asks this program for the completions of a line.
//!
//! An answer contains only letters, digits and a few signs, and no script evaluates it. The shells complete file names
//! themselves.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap_complete::engine::complete;

use super::{Console, arguments};

/// Git's own completion calls `_git_bbtoken` for `git bbtoken`.
const BASH: &str = r#"_git_bbtoken_offer() {
    local place=$1 line
    shift
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(git-bbtoken completions bash --at "$place" -- "$@" 2>/dev/null)
}

_git_bbtoken() {
    local start=${__git_cmd_idx:-1}
    _git_bbtoken_offer $((COMP_CWORD - start)) "${COMP_WORDS[@]:start}"
}

_git_bbtoken_alone() {
    _git_bbtoken_offer "$COMP_CWORD" "${COMP_WORDS[@]}"
}

complete -o bashdefault -o default -F _git_bbtoken_alone git-bbtoken
"#;

/// Git's own completion finds `_git-bbtoken` by its name.
const ZSH: &str = r#"#compdef git-bbtoken

_git-bbtoken() {
    local line
    local -a offers
    for line in "${(f)$(git-bbtoken completions zsh --at $((CURRENT - 1)) -- "${words[@]}" 2>/dev/null)}"; do
        [[ -z $line ]] || offers+=("${line/$'\t'/:}")
    done
    if (( $#offers )); then
        _describe 'git-bbtoken' offers
    else
        _default
    fi
}

if [[ $funcstack[1] = _git-bbtoken ]]; then
    _git-bbtoken "$@"
else
    compdef _git-bbtoken git-bbtoken
fi
"#;

/// Fish's git completion finds `git-bbtoken` by itself since 3.7 only.
const FISH: &str = r#"function __git_bbtoken_offer
    set -l words (commandline -opc)
    set -l offers (git-bbtoken completions fish --at (count $words) -- $words (commandline -ct) 2>/dev/null)
    if set -q offers[1]
        printf '%s\n' $offers
    else
        __fish_complete_path (commandline -ct)
    end
end

complete -c git-bbtoken -f -k -a "(__git_bbtoken_offer)"
complete -c git -f -n "functions -q __fish_git_using_command; and __fish_git_using_command bbtoken" -a "(__fish_git_complete_custom_command bbtoken)"
"#;

/// The script passes the words on as written. It evaluates no variable or command in them.
const POWERSHELL: &str = r#"Register-ArgumentCompleter -Native -CommandName 'git-bbtoken' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text })
    git-bbtoken completions powershell --at $words.Count '--' $words $wordToComplete 2>$null | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
"#;

pub(super) fn run(
    options: &arguments::Completions,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    if let Some(at) = options.at {
        return offer(at, options.words.clone(), console);
    }
    let script = match options.shell {
        arguments::Shell::Bash => BASH,
        arguments::Shell::Zsh => ZSH,
        arguments::Shell::Fish => FISH,
        arguments::Shell::Powershell => POWERSHELL,
    };
    console.print(script)
}

/// Prints the candidates for a position in a line, one per line: the word, a tab and its description.
fn offer(at: usize, words: Vec<OsString>, console: &mut Console<'_>) -> anyhow::Result<()> {
    let mut word = words.get(at).cloned().unwrap_or_default();
    let mut before = words;
    before.truncate(at);
    // Bash gives the '=' of '--profile=work' as a separate word.
    before.retain(|word| word != "=");
    if word == "=" {
        word.clear();
    }
    let at = before.len();
    before.push(word);
    for candidate in complete(&mut arguments::Cli::command(), before, at, None)? {
        let Some(value) = candidate
            .get_value()
            .to_str()
            .filter(|value| is_plain(value))
        else {
            continue;
        };
        let help = candidate.get_help().map(ToString::to_string);
        let help = help.as_deref().and_then(|help| help.lines().next());
        if !candidate.is_hide_set() {
            console.print(&format!("{value}\t{}\n", help.unwrap_or("")))?;
        }
    }
    Ok(())
}

/// Tells whether a word needs no quotes in any shell.
fn is_plain(word: &str) -> bool {
    word.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '='))
}
