//! No shell evaluates data: names, addresses, file names and settings that hold shell commands.

use std::{fs, path::Path};

use crate::{
    completions,
    support::{World, gits},
};

/// What a shell would run, each in another way; `MARK` is a path that must not appear.
const COMMANDS: [&str; 6] = [
    "$(touch MARK)",
    "`touch MARK`",
    "x; touch MARK;",
    "x\ntouch MARK\n",
    "(touch MARK)",
    "x' ; touch MARK ; '",
];

fn hostile(mark: &Path) -> impl Iterator<Item = String> {
    let mark = mark.display().to_string();
    COMMANDS
        .iter()
        .map(move |command| command.replace("MARK", &mark))
}

/// Lines whose completion looks at profiles or files.
const LINES: [&str; 5] = [
    "git-bbtoken token --profile ",
    "git bbtoken token --profile ",
    "git-bbtoken logout ",
    "git-bbtoken exec --netrc ",
    "git-bbtoken doctor ",
];

#[test]
fn no_shell_evaluates_a_profile_name_or_a_file_name_while_it_completes() {
    let world = World::new(gits().remove(0));
    world
        .git(["config", "--global", "bbtoken.work.clientId", "key"])
        .ok();
    // A clone may track a bare repository, whose configuration git reads inside it.
    let bare = world.path("bare");
    world.git(["init", "-q", "--bare"]).arg(&bare).ok();
    let mark = world.path("ran");
    let mut config = fs::read_to_string(bare.join("config")).expect("it is text");
    for name in hostile(&mark) {
        let quoted = name.replace('\n', "\\n");
        config.push_str(&format!("[bbtoken \"{quoted}\"]\n\tclientId = key\n"));
    }
    fs::write(bare.join("config"), config).expect("it can be written");
    for name in hostile(Path::new("ran")) {
        fs::write(bare.join(name), "").expect("files may have such names");
    }
    world
        .git(["config", "bbtoken.planted.clientId", "key"])
        .within(&bare)
        .ok();
    for shell in completions::SHELLS {
        let offered = completions::offered(&world, shell, &bare, &LINES);
        assert!(
            !mark.exists() && !bare.join("ran").exists(),
            "{shell} runs what a name holds: {offered:?}"
        );
        for (line, offered) in LINES.iter().zip(offered) {
            let is_profile = line.contains("profile") || line.contains("logout");
            assert!(
                !is_profile || offered == ["work"],
                "{shell} offers profiles of protected configuration only after '{line}': {offered:?}"
            );
        }
    }
}
