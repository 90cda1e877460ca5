//! The completions in real shells: the candidates of each shell for the start of a line.

use std::{fs, path::Path};

use crate::{
    needs::needs,
    support::{Run, World, gits},
};

/// The shells that the tests run.
pub(crate) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Lines, and what every shell offers at their end.
const LINES: [(&str, &[&str]); 10] = [
    ("git-bbtoken st", &["status"]),
    ("git bbtoken st", &["status"]),
    ("git-bbtoken status --j", &["--json"]),
    ("git bbtoken status --j", &["--json"]),
    ("git bbtoken help ex", &["exec", "exit-codes"]),
    ("git bbtoken remote con", &["convert"]),
    ("git bbtoken logout w", &["work"]),
    ("git bbtoken use w", &["work"]),
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

/// Gives what a shell offers at the end of each line.
pub(crate) fn offered(
    world: &World,
    shell: &str,
    within: &Path,
    lines: &[&str],
) -> Vec<Vec<String>> {
    let (arguments, program): (&[&str], _) = match shell {
        "bash" => (&["--norc"], bash(world, lines)),
        "zsh" => (&["-f"], zsh(world, lines)),
        _ => (&[], fish(world, lines)),
    };
    let file = world.path("program");
    fs::write(&file, program).expect("the world can be written");
    let done = world
        .run(&Path::new("/usr/bin").join(shell), arguments)
        .arg(&file)
        .env("TERM", "dumb")
        .within(within)
        .done()
        .expect(0);
    let of_line = |line: &&str| {
        let offered = done
            .stdout
            .lines()
            .find_map(|shown| shown.strip_prefix(line)?.strip_prefix(" => "))
            .unwrap_or_else(|| panic!("'{line}' is tried: {done:?}"));
        let mut offered: Vec<_> = offered
            .split_whitespace()
            .filter(|word| !word.starts_with('-') || line.ends_with("--j"))
            .map(str::to_owned)
            .collect();
        offered.sort_unstable();
        offered
    };
    lines.iter().map(of_line).collect()
}

fn bash(world: &World, lines: &[&str]) -> String {
    let ours = script(world, "bash", "completion.bash");
    let mut program = format!(
        ". /usr/share/bash-completion/completions/git\n. '{}'\n\
         try() {{\n\
             local line=$1; COMP_WORDS=($line); [ \"${{line% }}\" = \"$line\" ] || COMP_WORDS+=('')\n\
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE=$line COMP_POINT=${{#line}} COMPREPLY=()\n\
             case $line in 'git '*) __git_wrap__git_main ;; *) _git_bbtoken_alone ;; esac\n\
             echo \"$line => ${{COMPREPLY[*]}}\"\n\
         }}\n",
        ours.display()
    );
    for line in lines {
        program.push_str(&format!("try '{line}'\n"));
    }
    program
}

fn fish(world: &World, lines: &[&str]) -> String {
    let ours = script(world, "fish", "completion.fish");
    let mut program = format!("source '{}'\n", ours.display());
    for line in lines {
        program.push_str(&format!(
            "echo '{line} =>' (complete -C'{line}' | string split -f1 \\t)\n"
        ));
    }
    program
}

fn zsh(world: &World, lines: &[&str]) -> String {
    fs::create_dir_all(world.path("functions")).expect("the world can be written");
    script(world, "zsh", "functions/_git-bbtoken");
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
    for line in lines {
        program.push_str(&format!(
            "zpty -n -w shell '{line}'$'\\x14'; zpty -r shell out '*END*'; print -r -- '{line} =>' ${{${{(M)${{(f)out}}:#*OFFER *}}##*OFFER }}\n"
        ));
    }
    program + "zpty -d shell\n"
}

#[test]
fn every_shell_offers_commands_options_and_profiles() {
    needs!(
        "bash",
        "zsh",
        "fish",
        "/usr/share/bash-completion/completions/git"
    );
    let world = world();
    for shell in SHELLS {
        let lines = LINES.map(|(line, _)| line);
        let offered = offered(&world, shell, &world.path(""), &lines);
        for ((line, words), offered) in LINES.iter().zip(offered) {
            assert_eq!(offered, *words, "{shell} offers this for '{line}'");
        }
    }
}

#[test]
fn shells_load_the_completion_scripts_without_output() {
    needs!("bash", "zsh", "fish");
    let world = world();
    for shell in SHELLS {
        let ours = script(&world, shell, shell);
        world
            .run(&Path::new("/usr/bin").join(shell), ["-n"])
            .arg(&ours)
            .done()
            .expect(0)
            .quiet();
    }
}

/// PowerShell is not in Debian: its script is only looked at.
#[test]
fn powershells_script_evaluates_nothing_that_is_typed_or_offered() {
    let script = world().bbtoken(["completions", "powershell"]).ok();
    assert!(
        script.contains("Register-ArgumentCompleter -Native -CommandName 'git-bbtoken'"),
        "{script}"
    );
    for word in [
        "Invoke-Expression",
        "iex ",
        "ExpandString",
        "ScriptBlock]::",
    ] {
        assert!(!script.contains(word), "{word} evaluates its argument");
    }
    let mut open = Vec::new();
    for character in script.chars() {
        match character {
            '{' | '(' | '[' => open.push(character),
            '}' | ')' | ']' => drop(open.pop().expect("something is open")),
            _ => {}
        }
    }
    assert!(open.is_empty(), "all that is opened is closed");
}

/// Gives the completions for the last of these words, with variables.
fn completed(world: &World, words: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let at = (words.len() - 1).to_string();
    let run = world.bbtoken(["completions", "powershell", "--at", &at, "--"]);
    let with_variable = |run: Run, (name, value): &(&str, &str)| run.env(name, value);
    let text = variables.iter().fold(run.args(words), with_variable).ok();
    let values = text
        .lines()
        .map(|line| line.split('\t').next().unwrap_or(""));
    values.map(str::to_owned).collect()
}

/// The commands that repair a setting take the name of a profile.
#[test]
fn profiles_are_offered_although_a_setting_is_broken() {
    let profiles = ["my.home", "work"];
    let words = ["git-bbtoken", "token", "--profile", ""];
    for variable in ["BBTOKEN_STORE", "BBTOKEN_TRANSPORT", "BBTOKEN_KIND"] {
        for value in ["", "odd"] {
            let offered = completed(&world(), &words, &[(variable, value)]);
            assert_eq!(offered, profiles, "{variable}='{value}'");
        }
    }
    for key in ["bbtoken.work.store", "bbtoken.work.kind", "bbtoken.cache"] {
        let world = world();
        world.git(["config", "--global", key, "odd"]).ok();
        let offered = completed(&world, &words, &[]);
        assert_eq!(offered, profiles, "{key}=odd");
    }
}

#[test]
fn an_answer_holds_what_no_shell_evaluates() {
    let world = world();
    let asked = |words: &[&str]| completed(&world, words, &[]);
    assert_eq!(asked(&["git-bbtoken", "tok"]), ["token"]);
    // Bash gives the '=' as a word.
    for words in [
        &["git-bbtoken", "token", "--profile", "=", "w"][..],
        &["git-bbtoken", "token", "--profile", "w"],
    ] {
        assert_eq!(asked(words), ["work"], "{words:?}");
    }
    assert_eq!(
        asked(&["git-bbtoken", "token", "--profile", "="]),
        ["my.home", "work"]
    );
    assert_eq!(
        asked(&["git-bbtoken", "token", "--profile=w"]),
        ["--profile=work"]
    );
    assert!(asked(&["git-bbtoken", "man", "--directory", ""]).is_empty());
    // PowerShell drops an empty word.
    let short = [
        "completions",
        "powershell",
        "--at",
        "1",
        "--",
        "git-bbtoken",
    ];
    assert!(world.bbtoken(short).ok().contains("login\t"));
}
