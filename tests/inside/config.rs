//! Compares how the helper and git read git's configuration, setting by setting, for many layouts.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::gits::{Git, gits, put_program};
use crate::{
    git_config::{GitConfig, Scope, http_settings},
    url::Url,
};

/// How many layouts are made up for each git.
const LAYOUTS: u64 = 300;

/// Scope, name and value of each setting, in order; `None` where git stops with an error.
type Settings = Option<Vec<(String, String, Option<String>)>>;

/// A machine with a system file, a user's files and one repository.
struct Machine {
    git: Git,
    directory: TempDir,
    variables: RefCell<BTreeMap<String, OsString>>,
}

/// The files of a machine, and files that they may include.
const FILES: [&str; 9] = [
    "system",
    "home/.config/git/config",
    "home/.gitconfig",
    "repo/.git/config",
    "repo/.git/config.worktree",
    "home/inc1",
    "home/.config/git/inc2",
    "repo/.git/inc3",
    "inc4",
];

impl Machine {
    fn new(git: &Git) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        for name in ["home/.config/git", "bin"] {
            fs::create_dir_all(root.join(name)).expect("it is ours");
        }
        // Shows the environment that git gives to a program of its own, and the settings that hold there.
        let script = root.join("bin/git-dump");
        let text = format!(
            "#!/bin/sh\nenv -0 >\"$DUMP\"\nexec {} config --list -z --show-scope\n",
            git.program.display()
        );
        put_program(&script, text);
        let machine = Machine {
            git: git.clone(),
            variables: RefCell::default(),
            directory,
        };
        machine.forget();
        let made = machine
            .command()
            .args(["init", "-q", "-b", "topic/one", "repo"])
            .env_remove("GIT_DIR")
            .current_dir(machine.directory.path())
            .status();
        assert!(made.expect("git starts").success());
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Takes files and variables back to what every layout begins with.
    fn forget(&self) {
        let path = std::env::join_paths([self.path("bin"), "/usr/bin".into(), "/bin".into()]);
        let variables: [(&str, OsString); 6] = [
            ("PATH", path.expect("no path holds a colon")),
            ("HOME", self.path("home").into()),
            ("LC_ALL", "C".into()),
            ("GIT_CONFIG_SYSTEM", self.path("system").into()),
            ("GIT_DIR", self.path("repo/.git").into()),
            ("DUMP", self.path("dump").into()),
        ];
        let named = variables.map(|(name, value)| (name.to_owned(), value));
        self.variables.replace(named.into_iter().collect());
        for name in FILES {
            // It may not be there.
            let _ = fs::remove_file(self.path(name));
        }
    }

    fn set(&self, name: &str, value: impl Into<OsString>) {
        self.variables
            .borrow_mut()
            .insert(name.to_owned(), value.into());
    }

    fn write(&self, name: &str, text: &str) {
        // The directory of a layout's own is written as git writes it.
        let text = text.replace("ROOT", &self.directory.path().display().to_string());
        fs::write(self.path(name), text).expect("it is ours");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.git.program);
        command
            .env_clear()
            .envs(&*self.variables.borrow())
            .current_dir(self.directory.path());
        command
    }

    /// What git reads.
    fn gits(&self) -> Settings {
        let listed = self
            .command()
            .args(["config", "--list", "-z", "--show-scope"])
            .output()
            .expect("git starts");
        listed.status.success().then(|| parse(&listed.stdout))
    }

    /// What we read with these variables.
    fn ours(&self) -> Settings {
        let variables = self.variables.borrow();
        read(&variables)
    }

    /// What git reads and what we read inside a program that `git <options>` starts.
    fn both_within(&self, options: &[String]) -> (Settings, Settings) {
        let listed = self
            .command()
            .args(options)
            .arg("dump")
            .output()
            .expect("git starts");
        let shown = String::from_utf8_lossy(&listed.stderr);
        assert!(listed.status.success(), "{options:?}: {shown}");
        let dump = fs::read(self.path("dump")).expect("the program ran");
        let variables = String::from_utf8(dump).expect("the layouts are text");
        let variables = variables
            .split_terminator('\0')
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        (Some(parse(&listed.stdout)), read(&variables))
    }

    /// Before 2.45 git read every blank inside a value as a space; we do as it does since.
    fn with_blanks(&self, mut settings: Settings) -> Settings {
        if self.git.version < (2, 45) {
            let values = settings
                .iter_mut()
                .flatten()
                .filter_map(|setting| setting.2.as_mut());
            values.for_each(|value| *value = value.replace(['\t', '\r'], " "));
        }
        settings
    }

    /// Expects the same of both, or says how they differ.
    fn difference(&self) -> Option<String> {
        let (gits, ours) = (self.with_blanks(self.gits()), self.with_blanks(self.ours()));
        (gits != ours).then(|| {
            let texts = FILES.map(|name| {
                let text = fs::read_to_string(self.path(name)).ok()?;
                Some(format!("--- {name}: {text:?}\n"))
            });
            let texts: String = texts.into_iter().flatten().collect();
            format!("git:  {gits:?}\nours: {ours:?}\n{texts}")
        })
    }
}

fn read(variables: &BTreeMap<String, OsString>) -> Settings {
    let config = GitConfig::read(&|name| variables.get(name).cloned()).ok()?;
    let settings = config.entries().map(|entry| {
        let scope = match entry.scope {
            Scope::System => "system",
            Scope::Global => "global",
            Scope::Local => "local",
            Scope::Worktree => "worktree",
            Scope::Command => "command",
        };
        // Git prints the key in lower case, and we as it is documented.
        let mut name = entry.name();
        let key = name.rfind('.').map_or(0, |dot| dot + 1);
        name[key..].make_ascii_lowercase();
        (scope.to_owned(), name, entry.value.clone())
    });
    Some(settings.collect())
}

fn parse(listed: &[u8]) -> Vec<(String, String, Option<String>)> {
    let text = String::from_utf8_lossy(listed);
    let mut fields = text.split_terminator('\0');
    let mut settings = Vec::new();
    while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
        let (name, value) = match setting.split_once('\n') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (setting, None),
        };
        settings.push((scope.to_owned(), name.to_owned(), value));
    }
    settings
}

fn assert_none(differences: &[String], tried: usize) {
    assert!(
        differences.is_empty(),
        "{} of {tried} are read differently; the first:\n{}",
        differences.len(),
        differences[..differences.len().min(8)].join("\n")
    );
}

/// One file each: what may stand in it, good and bad.
const TEXTS: [&str; 104] = [
    "",
    "\n\n",
    "\u{feff}[a]\nk = v\n",
    "[a]\nk = v",
    "[a]\nk = v\n",
    "[a]\r\nk = v\r\nl\r\n",
    "[A]\nKey = V\n",
    "[a] k = v\n",
    "[a]k=v\n",
    "[a]k\n",
    "[a] # comment\nk = v\n",
    "[a]\nk\n",
    "[a]\nk=\n",
    "[a]\nk =   \n",
    "[a]\nk = \"\"\n",
    "[a]\n\tk =\tv\t \n",
    "[a]\n   # c\n ; c\nk = v\n",
    "[a]\nk = v # c\n",
    "[a]\nk = v ; c\n",
    "[a]\nk = v#c\n",
    "[a]\nk = v;c\n",
    "[a]\nk # c\n",
    "[a]\nk ; c\n",
    "[a]\nk=#c\n",
    "[a]\nk = \"a # b ; c\"\n",
    "[a]\nk = \"a\" # \"b\"\n",
    "[a]\nk = a \"b  c\" d\n",
    "[a]\nk = a   b\t\tc\n",
    "[a]\nk = \"  a  \"\n",
    "[a]\nk = \"  a\"  b  \n",
    "[a]\nk = a\\tb\\nc\\bd\\\\e\\\"f\n",
    "[a]\nk = \"a\\tb\\nc\\bd\\\\e\\\"f\"\n",
    "[a]\nk = a\\x\n",
    "[a]\nk = \"a\n",
    "[a]\nk = a\"\n",
    "[a]\nk = a\\\n  b\n",
    "[a]\nk = a \\\n b \\\n c\nl = w\n",
    "[a]\nk = a \\\r\n b\r\n",
    "[a]\nk = \"a \\\n b\"\n",
    "[a]\nk = \\\n v\n",
    "[a]\nk = a # c \\\nl = w\n",
    "[a]\nk = a ; c \\\nl = w\n",
    "[a]\nk = a\\",
    "[a]\nk = \"a\\",
    "[a]\nk = a\\\n",
    "[a]\nk = \\\n\n[b]\nl = w\n",
    "[a]\n# c \\\nk = v\n",
    "[a]\nk = a\rb\n",
    "[a]\nk = a\r\r\n",
    "[a]\nk = a \r\n",
    "[a]\nk = \"a\"\r\n",
    "[a]\nk = 'a b'\n",
    "[a]\nk = a = b\n",
    "[a]\nk = ü ∑\n",
    "[a]\nk-2 = v\nK3 = w\n",
    "[a]\nk_x = v\n",
    "[a]\n2k = v\n",
    "[a]\n-k = v\n",
    "[a]\nk.l = v\n",
    "[a]\nk v\n",
    "[a]\n= v\n",
    "k = v\n",
    "[a\nk = v\n",
    "[]\nk = v\n",
    "[a-b]\nk = v\n",
    "[1a]\nk = v\n",
    "[a_b]\nk = v\n",
    "[ a]\nk = v\n",
    "[a ]\nk = v\n",
    "[a.b]\nk = v\n",
    "[a.B.c]\nk = v\n",
    "[A.B]\nk = v\n",
    "[a.]\nk = v\n",
    "[.a]\nk = v\n",
    "[a \"b\"]\nk = v\n",
    "[A \"B c\"]\nk = v\n",
    "[a   \"b\"]\nk = v\n",
    "[a\t\"b\"]\nk = v\n",
    "[a\"b\"]\nk = v\n",
    "[a \"b\" ]\nk = v\n",
    "[a \"b\"]k = v\n",
    "[a \"b\"] k\n",
    "[a \"\"]\nk = v\n",
    "[a \".\"]\nk = v\n",
    "[a \"b.c.D\"]\nk = v\n",
    "[a \"b\\\"c\\\\d\"]\nk = v\n",
    "[a \"b\\c\"]\nk = v\n",
    "[a \"b\\tc\"]\nk = v\n",
    "[a \"b]c\"]\nk = v\n",
    "[a \"b#c;d\"]\nk = v\n",
    "[a \"ü\"]\nk = v\n",
    "[a \"b\nc\"]\nk = v\n",
    "[a \"b]\nk = v\n",
    "[a b]\nk = v\n",
    "[a.b \"c\"]\nk = v\n",
    "[a]\n[b]\n[a]\nk = v\n",
    "[a] [b] k = v\n",
    "[a] k = v [b]\n",
    "[a]\nk = v\n[a]\nk = w\n[b]\nk = x\n[a]\nk = y\n",
    "[a]\nk = v\nk = w\nk\nk =\n",
    "[a]\n\u{b}k = v\n",
    "[a]\nk = \u{c}v\u{c}\n",
    "[a]\nk = v \\\n# no comment\n",
    "[a]\nk = v \\\n\n\nl = w\n",
];

#[test]
fn every_way_to_write_a_file_is_read_as_git_reads_it() {
    for git in gits() {
        let machine = Machine::new(&git);
        let mut differences = Vec::new();
        for text in TEXTS {
            machine.forget();
            machine.write("home/.gitconfig", text);
            differences.extend(machine.difference());
        }
        assert_none(&differences, TEXTS.len());
    }
}

/// Whole layouts: files with their texts.
const LAYOUTS_WITH_INCLUDES: [&[(&str, &str)]; 30] = [
    &[
        (
            "home/.gitconfig",
            "[a]\nk = 1\n[include]\npath = inc1\n[a]\nk = 3\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[include]\nx = 1\npath = inc1\ny = 2\npath = ~/inc1\n[a]\nk = 3\n",
        ),
        (
            "home/inc1",
            "[a]\nk = 2\n[include]\npath = .config/git/inc2\n[a]\nk = 4\n",
        ),
        ("home/.config/git/inc2", "[b]\nk = 5\n"),
    ],
    &[("home/.gitconfig", "[include]\npath = missing\n[a]\nk = 1\n")],
    &[("home/.gitconfig", "[include]\npath\n[a]\nk = 1\n")],
    &[("home/.gitconfig", "[include]\npath =\n[a]\nk = 1\n")],
    &[("home/.gitconfig", "[include]\npath = .gitconfig\n")],
    &[
        ("home/.gitconfig", "[include \"x\"]\npath = inc1\n"),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        ("home/.gitconfig", "[INCLUDE]\nPATH = inc1\n"),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        ("home/.gitconfig", "[include]\npath = ROOT/inc4\n"),
        ("inc4", "[a]\nk = 2\n[include]\npath = home/inc1\n"),
        ("home/inc1", "[b]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:ROOT/repo/\"]\npath = inc1\n[includeIf \"gitdir:ROOT/other/\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:repo/\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:repo\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:**/repo/.git\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:ROOT/*/.git\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:ROOT/REPO/\"]\npath = inc1\n[includeIf \"gitdir/i:ROOT/REPO/\"]\npath = .config/git/inc2\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
        ("home/.config/git/inc2", "[b]\nk = 5\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"gitdir:./\"]\npath = inc1\n[includeIf \"gitdir:~/\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "repo/.git/config",
            "[includeIf \"gitdir:./\"]\npath = inc3\n[a]\nk = 3\n",
        ),
        ("repo/.git/inc3", "[a]\nk = 2\n"),
    ],
    &[
        (
            "repo/.git/config",
            "[includeIf \"gitdir:./.git\"]\npath = inc3\n[includeIf \"gitdir:.\"]\npath = inc3\n",
        ),
        ("repo/.git/inc3", "[a]\nk = 2\n"),
    ],
    &[
        ("inc4", "[includeIf \"gitdir:./repo/\"]\npath = home/inc1\n"),
        ("home/.gitconfig", "[include]\npath = ../inc4\n"),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"onbranch:topic/one\"]\npath = inc1\n[includeIf \"onbranch:topic/\"]\npath = inc1\n[includeIf \"onbranch:topic/*\"]\npath = inc1\n[includeIf \"onbranch:t*\"]\npath = inc1\n[includeIf \"onbranch:main\"]\npath = inc1\n[includeIf \"onbranch:**\"]\npath = inc1\n[includeIf \"onbranch:\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"hasconfig:remote.*.url:https://bitbucket.org/**\"]\npath = inc1\n[a]\nk = 1\n",
        ),
        (
            "repo/.git/config",
            "[remote \"origin\"]\nurl = https://bitbucket.org/ws/repo\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"hasconfig:remote.*.url:https://bitbucket.org/*\"]\npath = inc1\n",
        ),
        (
            "repo/.git/config",
            "[remote \"origin\"]\nurl = https://bitbucket.org/ws/repo\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"hasconfig:remote.*.url:bbtoken::*/*\"]\npath = inc1\n[include]\npath = .config/git/inc2\n",
        ),
        (
            "home/.config/git/inc2",
            "[remote \"x\"]\nurl = bbtoken::ws/repo\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"hasconfig:remote.*.url:x\"]\npath = inc1\n[remote \"y\"]\nurl = x\n",
        ),
        ("home/inc1", "[a]\nk = 2\n[remote \"z\"]\nurl = w\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"hasconfig:remote.*.url:x\"]\npath = inc1\n[remote \"y\"]\npushurl = x\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"unknown:x\"]\npath = inc1\n[includeIf]\npath = inc1\n[includeIf \"\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "home/.gitconfig",
            "[includeIf \"GITDIR:repo/\"]\npath = inc1\n[includeIf \"gitdir:\"]\npath = inc1\n[includeIf \"gitdir/I:repo/\"]\npath = inc1\n",
        ),
        ("home/inc1", "[a]\nk = 2\n"),
    ],
    &[
        (
            "repo/.git/config",
            "[core]\nrepositoryformatversion = 0\n[extensions]\nworktreeConfig = true\n[a]\nk = 1\n",
        ),
        (
            "repo/.git/config.worktree",
            "[a]\nk = 2\n[include]\npath = inc3\n",
        ),
        ("repo/.git/inc3", "[a]\nk = 3\n"),
    ],
    &[
        (
            "repo/.git/config",
            "[extensions]\nworktreeConfig = false\n[a]\nk = 1\n",
        ),
        ("repo/.git/config.worktree", "[a]\nk = 2\n"),
    ],
    &[
        ("home/.gitconfig", "[extensions]\nworktreeConfig = true\n"),
        ("repo/.git/config.worktree", "[a]\nk = 2\n"),
        ("system", "[a]\nk = 0\n"),
        ("home/.config/git/config", "[a]\nk = 1\n"),
    ],
];

#[test]
fn includes_and_scopes_are_followed_as_git_follows_them() {
    for git in gits() {
        let machine = Machine::new(&git);
        let mut differences = Vec::new();
        for layout in LAYOUTS_WITH_INCLUDES {
            machine.forget();
            for (name, text) in layout {
                machine.write(name, text);
            }
            differences.extend(machine.difference());
        }
        assert_none(&differences, LAYOUTS_WITH_INCLUDES.len());
    }
}

/// Numbers that look random and are the same in every run (George Marsaglia, "Xorshift RNGs").
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("because 31 bits remain") % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.throw(of.len())]
    }

    fn section(&mut self) -> String {
        let section = self.pick(&["a", "A", "core", "bbtoken", "http", "x-y", "a.Sub", "r2.d2"]);
        let subsection = self.pick(&[
            "",
            "",
            "",
            " \"Sub\"",
            " \"work\"",
            " \"https://bitbucket.org/\"",
            " \"q\\\"\\\\q\"",
            " \"two words\"",
            " \"dots.in.it\"",
        ]);
        let subsection = if section.contains('.') {
            ""
        } else {
            subsection
        };
        let rest = self.pick(&["", "", "", " # c", " ; c", " k = same line", "\timplicit"]);
        format!("[{section}{subsection}]{rest}")
    }

    fn line(&mut self) -> String {
        let indent = self.pick(&["", "\t", "    ", " \t"]);
        let key = self.pick(&["k", "Key", "key-2", "path", "clientId", "z9"]);
        let equals = self.pick(&["=", " = ", "\t=  ", " ="]);
        let mut value = String::new();
        for _ in 0..self.throw(5) {
            value.push_str(self.pick(&[
                "a",
                "B7",
                " ",
                "  ",
                "\t",
                "\"q # q\"",
                "\"\"",
                "\\t",
                "\\n",
                "\\\\",
                "\\\"",
                "\\b",
                "=",
                "[x]",
                "ü",
                "'",
                "!",
                "$HOME",
                "~",
                "\\\n",
                "\\\n  ",
                "\" s \"",
                ".",
                "/",
            ]));
        }
        let comment = self.pick(&["", "", "", " # c", ";c", " # c \\"]);
        match self.throw(10) {
            0 => format!("{indent}{key}"),
            1 => format!("{indent}# {key}{equals}{value}").replace('\n', ""),
            2 => String::new(),
            _ => format!("{indent}{key}{equals}{value}{comment}"),
        }
    }

    fn include(&mut self) -> String {
        let condition = self.pick(&[
            "[include]",
            "[include]",
            "[includeIf \"gitdir:ROOT/repo/\"]",
            "[includeIf \"gitdir:repo/\"]",
            "[includeIf \"gitdir/i:RE*O/\"]",
            "[includeIf \"gitdir:~/\"]",
            "[includeIf \"onbranch:topic/\"]",
            "[includeIf \"onbranch:main\"]",
            "[includeIf \"hasconfig:remote.*.url:https://bitbucket.org/**\"]",
        ]);
        let path = self.pick(&[
            "inc1",
            "~/inc1",
            "inc2",
            "ROOT/home/.config/git/inc2",
            "ROOT/repo/.git/inc3",
            "../inc4",
            "missing",
            "\"inc1\"",
        ]);
        format!("{condition}\n\tpath = {path}")
    }

    fn text(&mut self, may_include: bool) -> String {
        let end = self.pick(&["\n", "\n", "\n", "\r\n"]);
        let mut text = String::new();
        for _ in 0..=self.throw(4) {
            text.push_str(&self.section());
            text.push_str(end);
            for _ in 0..self.throw(4) {
                text.push_str(&self.line());
                text.push_str(end);
            }
            if may_include && self.throw(3) == 0 {
                text.push_str(&self.include());
                text.push_str(end);
                // The section goes on.
                if self.throw(2) == 0 {
                    text.push_str("\tmore = 1");
                    text.push_str(end);
                }
            }
        }
        if self.throw(3) == 0 {
            text.push_str("[remote \"origin\"]\n\turl = https://bitbucket.org/ws/repo\n");
        }
        if self.throw(6) == 0 {
            text.truncate(text.trim_end().len());
        }
        text
    }

    fn layout(&mut self, machine: &Machine) {
        machine.forget();
        for (number, name) in FILES.iter().enumerate() {
            // Those that are included include only what comes behind them, mostly.
            let may_include = number < 6 || self.throw(20) == 0;
            let text = self.text(may_include);
            if self.throw(4) > 0 {
                let text = match *name {
                    "repo/.git/config" => {
                        format!(
                            "[extensions]\nworktreeConfig = {}\n{text}",
                            self.pick(&["true", "no", "1"])
                        )
                    }
                    _ => text,
                };
                machine.write(name, &text);
            }
        }
        if self.throw(3) == 0 {
            let count = self.throw(4);
            machine.set("GIT_CONFIG_COUNT", count.to_string());
            for number in 0..count {
                let key = self.pick(&[
                    "a.k",
                    "A.Sub.Key",
                    "http.https://x.y/.k",
                    "include.path",
                    "a.b c.d",
                ]);
                let value = self.pick(&["v", "", " v ", "ROOT/inc4", "a'b", "x\ny"]);
                let value = value.replace("ROOT", &machine.directory.path().display().to_string());
                machine.set(&format!("GIT_CONFIG_KEY_{number}"), key);
                machine.set(&format!("GIT_CONFIG_VALUE_{number}"), value);
            }
        }
        match self.throw(12) {
            0 => machine.set("GIT_CONFIG_GLOBAL", machine.path("inc4")),
            1 => machine.set("GIT_CONFIG_NOSYSTEM", "1"),
            2 => machine.set("XDG_CONFIG_HOME", machine.path("repo")),
            3 => machine.set("GIT_CONFIG_GLOBAL", ""),
            4 => machine.set("XDG_CONFIG_HOME", ""),
            _ => {}
        }
    }
}

#[test]
fn made_up_layouts_are_read_as_git_reads_them() {
    for git in gits() {
        let machine = Machine::new(&git);
        let mut dice = Dice(0x5eed_0001);
        let (mut differences, mut accepted) = (Vec::new(), 0);
        for _ in 0..LAYOUTS {
            dice.layout(&machine);
            differences.extend(machine.difference());
            accepted += u64::from(machine.ours().is_some_and(|settings| settings.len() > 3));
        }
        assert_none(&differences, usize::try_from(LAYOUTS).unwrap_or(0));
        assert!(
            accepted > LAYOUTS / 3,
            "many layouts hold something: {accepted}"
        );
    }
}

#[test]
fn settings_of_the_command_line_are_read_as_git_hands_them_on() {
    for git in gits() {
        let machine = Machine::new(&git);
        machine.write("inc4", "[inc]\nk = 1\n");
        machine.write("home/.gitconfig", "[a]\nk = file\n");
        let include = format!("include.path={}", machine.path("inc4").display());
        let conditional = format!(
            "includeIf.gitdir:repo/.path={}",
            machine.path("inc4").display()
        );
        let pieces = [
            "a.k=v",
            "A.Sub.Key=V w",
            "a.k=",
            "a.k",
            "a.it's.k=it's",
            "a.k=it's a \"quote\" !bang \\back",
            "a.k='",
            "a.k=x=y=z",
            "http.https://x.y/.extraHeader=A: b=c",
            "a.dots.in.it.k=1",
            "a.k=two\nlines",
            "a.k= spaces ",
            "a.ü.k=∑",
            &include,
            &conditional,
        ];
        let mut dice = Dice(0x5eed_0002);
        let mut compared = 0;
        for round in 0..60 {
            let mut options = Vec::new();
            for _ in 0..=dice.throw(4) {
                let piece = if round < pieces.len() {
                    pieces[round]
                } else {
                    dice.pick(&pieces)
                };
                options.extend(["-c".to_owned(), piece.to_owned()]);
            }
            if dice.throw(3) == 0 {
                machine.set("FROM_HERE", "a value");
                options.push("--config-env=http.https://x.y/a=b.k=FROM_HERE".to_owned());
            }
            let (gits, ours) = machine.both_within(&options);
            assert_eq!(ours, gits, "{options:?}");
            compared += 1;
        }
        assert_eq!(compared, 60);
    }
}

#[test]
fn malformed_settings_of_the_command_line_stop_us_as_they_stop_git() {
    let cases: [&[(&str, &str)]; 12] = [
        &[("GIT_CONFIG_COUNT", "x")],
        &[("GIT_CONFIG_COUNT", "-1")],
        &[("GIT_CONFIG_COUNT", "1")],
        &[("GIT_CONFIG_COUNT", "")],
        &[("GIT_CONFIG_COUNT", "0")],
        &[("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "a.k")],
        &[
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "nodot"),
            ("GIT_CONFIG_VALUE_0", "v"),
        ],
        &[
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", ""),
            ("GIT_CONFIG_VALUE_0", "v"),
        ],
        &[
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "a.2k"),
            ("GIT_CONFIG_VALUE_0", "v"),
        ],
        &[
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "a.k_x"),
            ("GIT_CONFIG_VALUE_0", "v"),
        ],
        &[("GIT_CONFIG_PARAMETERS", "'a.k=v")],
        &[("GIT_CONFIG_PARAMETERS", "a.k=v")],
    ];
    for git in gits() {
        let machine = Machine::new(&git);
        let mut differences = Vec::new();
        for case in cases {
            machine.forget();
            for (name, value) in case {
                machine.set(name, *value);
            }
            let difference = machine.difference();
            differences.extend(difference.map(|difference| format!("{case:?}\n{difference}")));
        }
        assert_none(&differences, cases.len());
    }
}

#[test]
fn a_work_trees_settings_are_its_own() {
    for git in gits() {
        let machine = Machine::new(&git);
        machine.set("GIT_COMMITTER_NAME", "A");
        machine.set("GIT_COMMITTER_EMAIL", "a@b");
        machine.set("GIT_AUTHOR_NAME", "A");
        machine.set("GIT_AUTHOR_EMAIL", "a@b");
        let repo = machine.path("repo");
        let run = |arguments: &[&str], directory: &Path| {
            let done = machine
                .command()
                .env_remove("GIT_DIR")
                .args(arguments)
                .current_dir(directory)
                .status();
            assert!(done.expect("git starts").success(), "{arguments:?}");
        };
        run(&["init", "-q", "."], &repo);
        run(&["commit", "-q", "--allow-empty", "-m", "one"], &repo);
        run(&["worktree", "add", "-q", "-b", "side", "../side"], &repo);
        run(&["config", "extensions.worktreeConfig", "true"], &repo);
        run(&["config", "--worktree", "a.k", "main tree"], &repo);
        run(
            &["config", "--worktree", "a.k", "side tree"],
            &machine.path("side"),
        );
        machine.write(
            "home/.gitconfig",
            "[includeIf \"onbranch:side\"]\npath = inc1\n[includeIf \"gitdir:**/worktrees/*\"]\npath = inc1\n\
             [includeIf \"gitdir:ROOT/repo/\"]\npath = inc1\n",
        );
        machine.write("home/inc1", "[inc]\nk = 1\n");
        for git_dir in ["repo/.git", "repo/.git/worktrees/side"] {
            machine.set("GIT_DIR", machine.path(git_dir));
            let (gits, ours) = (machine.gits(), machine.ours());
            assert_eq!(ours, gits, "{git_dir}");
            assert!(
                gits.is_some_and(|settings| settings.iter().any(|setting| setting.0 == "worktree"))
            );
        }
    }
}

#[test]
fn the_most_specific_http_setting_wins_as_git_decides() {
    const URLS: [&str; 7] = [
        "https://bitbucket.org/ws/repo.git",
        "https://bitbucket.org/ws/re%70o.git",
        "https://bitbucket.org:8443/ws/repo.git",
        "http://bitbucket.org/ws/repo.git",
        "https://git.example.com/bb/ws/repo.git",
        "https://127.0.0.1:9000/ws/repo.git",
        "https://localhost/ws/repo.git",
    ];
    const PATTERNS: [&str; 34] = [
        "https://bitbucket.org",
        "https://bitbucket.org/",
        "HTTPS://BitBucket.ORG/",
        "https://bitbucket.org:443",
        "https://bitbucket.org:8443/",
        "http://bitbucket.org/",
        "https://bitbucket.org/ws",
        "https://bitbucket.org/ws/",
        "https://bitbucket.org/w",
        "https://bitbucket.org/WS",
        "https://bitbucket.org/ws/repo.git",
        "https://bitbucket.org/ws/repo",
        "https://bitbucket.org/ws/re%70o.git",
        "https://bitbucket.org/%77s/",
        "https://bitbucket.org/ws/../ws/",
        "https://bitbucket.org/./ws/",
        "https://bitbucket.org//ws",
        "https://joe@bitbucket.org/",
        "https://*.org/",
        "https://*",
        "https://*.*/ws",
        "https://bitbucket.*",
        "https://*.example.com",
        "https://git.*.com",
        "https://*.*.com/bb/",
        "https://g*.example.com",
        "https://127.0.0.1:9000",
        "https://127.0.0.1",
        "https://127.0.*.1:9000",
        "https://localhost",
        "https://localhost:0443",
        "bitbucket.org",
        "https://",
        "https://bitbucket.org/ws/repo.git?x",
    ];
    for git in gits() {
        let machine = Machine::new(&git);
        let mut dice = Dice(0x5eed_0003);
        let (mut specific, mut compared) = (0, 0);
        let mut compare = |chosen: &[&str]| {
            machine.forget();
            let mut text = String::new();
            for (number, pattern) in chosen.iter().enumerate() {
                let section = match *pattern {
                    "" => "[http]".to_owned(),
                    pattern => format!("[http \"{pattern}\"]"),
                };
                text.push_str(&format!("{section}\n\tuserAgent = agent {number}\n"));
            }
            machine.write("home/.gitconfig", &text);
            for url in URLS {
                let matched = machine
                    .command()
                    .args(["config", "--get-urlmatch", "http.userAgent", url])
                    .output()
                    .expect("git starts");
                let gits = String::from_utf8_lossy(&matched.stdout)
                    .trim_end()
                    .to_owned();
                let variables = machine.variables.borrow();
                let read = |name: &str| variables.get(name).cloned();
                let config = GitConfig::read(&read).expect("the file is well-formed");
                let url = Url::parse(url).expect("they are URLs");
                let resolved =
                    http_settings(&config, &read, &url, None).expect("there are no headers");
                let ours = resolved.settings.user_agent.unwrap_or_default();
                assert_eq!(ours, gits, "{url} among {chosen:?}");
                specific += usize::from(!gits.is_empty());
                compared += 1;
            }
        };
        for pattern in PATTERNS {
            compare(&[pattern]);
        }
        for _ in 0..40 {
            let mut chosen: Vec<&str> = (0..=dice.throw(6)).map(|_| dice.pick(&PATTERNS)).collect();
            if dice.throw(2) == 0 {
                chosen.insert(dice.throw(chosen.len() + 1), "");
            }
            compare(&chosen);
        }
        assert_eq!(compared, (PATTERNS.len() + 40) * URLS.len());
        assert!(specific > 100, "many settings hold: {specific}");
    }
}

/// The first git whose refs may be in tables.
const WITH_REFTABLE: (u32, u32) = (2, 45);

#[test]
fn the_branch_of_an_include_condition_is_the_same_as_in_git() {
    for git in gits() {
        let machine = Machine::new(&git);
        let head = machine.path("repo/.git/HEAD");
        machine.write("home/inc1", "[a]\n\tk = included\n");
        let included = |branch: &str| {
            let text = format!("[includeIf \"onbranch:{branch}\"]\n\tpath = inc1\n");
            machine.write("home/.gitconfig", &text);
            assert_eq!(machine.difference(), None, "{branch}");
            let ours = machine.ours().expect("it is read");
            ours.iter().any(|(_, name, _)| name == "a.k")
        };
        let in_repository = |arguments: &[&str]| {
            let mut command = machine.command();
            assert!(
                command
                    .args(arguments)
                    .status()
                    .expect("git starts")
                    .success()
            );
        };
        assert!(included("topic/one") && !included("main"));
        // As git's own scripts once wrote it.
        fs::remove_file(&head).expect("git wrote it");
        std::os::unix::fs::symlink("refs/heads/main", &head).expect("it is gone");
        assert!(included("main") && !included("topic/one"));
        in_repository(&["symbolic-ref", "refs/heads/main", "refs/heads/topic/two"]);
        assert!(included("topic/two") && !included("main"));
        if git.version < WITH_REFTABLE {
            continue;
        }
        fs::remove_dir_all(machine.path("repo")).expect("it is ours");
        let repository = machine.path("repo");
        fs::create_dir(&repository).expect("it is gone");
        machine.set("GIT_DIR", repository.join(".git"));
        in_repository(&["init", "-q", "--ref-format=reftable", "-b", "topic/three"]);
        assert!(included("topic/three") && !included(".invalid"));
        in_repository(&["symbolic-ref", "HEAD", "refs/heads/main"]);
        assert!(included("main") && !included("topic/three"));
    }
}
