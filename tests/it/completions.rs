//! The completions, in the shells themselves: what each offers for a line that is begun.

use std::{fs, path::Path};

use crate::support::{World, gits};

/// Lines, and what every shell offers at their end.
const LINES: [(&str, &[&str]); 9] = [
    ("git-bbtoken st", &["status"]),
    ("git bbtoken st", &["status"]),
    ("git-bbtoken status --j", &["--json"]),
    ("git bbtoken status --j", &["--json"]),
    ("git bbtoken help ex", &["exec", "exit-codes"]),
    ("git bbtoken remote con", &["convert"]),
    ("git bbtoken logout w", &["work"]),
    ("git bbtoken token --profile ", &["my.home", "work"]),
    (
        "git bbtoken completions ",
        &["bash", "fish", "powershell", "zsh"],
    ),
];

/// A user with two profiles.
fn world() -> World {
    let world = World::new(gits().remove(0));
    for profile in ["work", "my.home"] {
        let key = format!("bbtoken.{profile}.clientId");
        world.git(["config", "--global", &key, "key"]).ok();
    }
    world
        .git(["config", "--global", "bbtoken.profile", "work"])
        .ok();
    world
}

/// Writes a shell's completions to a file.
fn script(world: &World, shell: &str, name: &str) -> std::path::PathBuf {
    let path = world.path(name);
    fs::write(&path, world.bbtoken(["completions", shell]).ok()).expect("the world can be written");
    path
}

/// Runs a program of a shell, and compares what it prints for each line: `<line> => <word> <word>`.
fn offers(world: &World, shell: &str, arguments: &[&str], program: &str) {
    let file = world.path("program");
    fs::write(&file, program).expect("the world can be written");
    let shell = Path::new("/usr/bin").join(shell);
    let done = world
        .run(&shell, arguments.iter().copied())
        .arg(&file)
        .env("TERM", "dumb")
        .done()
        .expect(0);
    for (line, words) in LINES {
        let offered = done
            .stdout
            .lines()
            .find_map(|shown| shown.strip_prefix(line)?.strip_prefix(" => "))
            .unwrap_or_else(|| panic!("'{line}' is tried: {done:?}"));
        let mut offered: Vec<_> = offered
            .split_whitespace()
            .filter(|word| !word.starts_with('-') || line.ends_with("--j"))
            .collect();
        offered.sort_unstable();
        assert_eq!(offered, words, "{shell:?} offers this for '{line}'");
    }
}

#[test]
fn in_bash() {
    let world = world();
    let ours = script(&world, "bash", "completion.bash");
    let mut program = format!(
        ". /usr/share/bash-completion/completions/git\n. '{}'\n\
         try() {{\n\
             local line=$1; COMP_WORDS=($line); [ \"${{line% }}\" = \"$line\" ] || COMP_WORDS+=('')\n\
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE=$line COMP_POINT=${{#line}} COMPREPLY=()\n\
             local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n\
             case $line in 'git '*) __git_wrap__git_main ;; *) _git__bbtoken git-bbtoken \"$word\" \"$before\" ;; esac\n\
             echo \"$line => ${{COMPREPLY[*]}}\"\n\
         }}\n",
        ours.display()
    );
    for (line, _) in LINES {
        program.push_str(&format!("try '{line}'\n"));
    }
    offers(&world, "bash", &["--norc"], &program);
}

#[test]
fn in_fish() {
    let world = world();
    let ours = script(&world, "fish", "completion.fish");
    let mut program = format!("source '{}'\n", ours.display());
    for (line, _) in LINES {
        program.push_str(&format!(
            "echo '{line} =>' (complete -C'{line}' | string split -f1 \\t)\n"
        ));
    }
    offers(&world, "fish", &[], &program);
}

#[test]
fn in_zsh() {
    let world = world();
    fs::create_dir(world.path("functions")).expect("the world can be written");
    script(&world, "zsh", "functions/_git-bbtoken");
    // A shell at a terminal of its own; what is offered passes 'compadd'.
    let mut program = format!(
        r#"zmodload zsh/zpty
zpty shell "zsh -f -i"
zpty -w shell "PS1=; unsetopt zle_bracketed_paste prompt_cr prompt_sp; fpath=({} \$fpath); autoload -U compinit; compinit -u -D; bindkey -e"
zpty -w shell 'compadd() {{ [[ $* == *-[AOD]* ]] || {{ local -a found; builtin compadd -O found "$@"; print -r -- "OFFER ${{found[*]}}" }}; builtin compadd "$@" }}'
zpty -w shell 'show() {{ zle complete-word; BUFFER=; print -r -- "E""ND"; zle accept-line }}; zle -N show; bindkey "^T" show; print REA""DY'
zpty -r shell out '*READY*'
"#,
        world.path("functions").display()
    );
    for (line, _) in LINES {
        program.push_str(&format!(
            "zpty -n -w shell '{line}'$'\\x14'; zpty -r shell out '*END*'; print -r -- '{line} =>' ${{${{(M)${{(f)out}}:#*OFFER *}}##*OFFER }}\n"
        ));
    }
    program.push_str("zpty -d shell\n");
    offers(&world, "zsh", &["-f"], &program);
}

#[test]
fn shells_take_the_scripts_without_a_word() {
    let world = world();
    for shell in ["bash", "zsh", "fish"] {
        let ours = script(&world, shell, shell);
        world
            .run(&Path::new("/usr/bin").join(shell), ["-n"])
            .arg(&ours)
            .done()
            .expect(0)
            .quiet();
    }
}

/// PowerShell is not in Debian: its script is only looked at. Quotes and braces are closed, every command is there.
#[test]
fn powershell_gets_a_script_that_is_whole() {
    let world = world();
    let script = world.bbtoken(["completions", "powershell"]).ok();
    assert!(
        script.contains("Register-ArgumentCompleter -Native -CommandName 'git-bbtoken'"),
        "{script}"
    );
    let (mut depth, mut is_quoted) = (0_i32, false);
    for character in script.chars() {
        match character {
            // A quote within quotes is written twice.
            '\'' => is_quoted = !is_quoted,
            '{' | '(' if !is_quoted => depth += 1,
            '}' | ')' if !is_quoted => depth -= 1,
            _ => {}
        }
        assert!(depth >= 0);
    }
    assert!(depth == 0 && !is_quoted, "all that is opened is closed");
    let help = world.bbtoken(["help"]).ok();
    let commands = help.split("Commands:\n").nth(1).unwrap_or("").lines();
    let commands: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 13, "{commands:?}");
    for command in commands {
        assert!(
            script.contains(&format!("'git-bbtoken;{command}'")),
            "{command}"
        );
    }
}
