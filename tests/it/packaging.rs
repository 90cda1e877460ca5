//! What `scripts/release` is made of: lists that must agree, checked without building a release.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    help::COMMANDS,
    inspect::files,
    needs::needs,
    programs::installed,
    support::{World, gits},
};

const MANIFEST: &str = include_str!("../../Cargo.toml");
const COMMON: &str = include_str!("../../packaging/common.sh");
const PROGRAMS: &str = include_str!("../../packaging/programs");
const KINDS: &str = include_str!("../../packaging/checks/kinds.sh");
const NFPM: &str = include_str!("../../packaging/nfpm.yaml");
const RELEASE: &str = include_str!("../../.github/workflows/release.yml");
const TESTS: &str = include_str!("../../.github/workflows/tests.yml");
const PIPELINES: &str = include_str!("../../bitbucket-pipelines.yml");
/// One script makes the packages of all Linux distributions.
const DISTRIBUTIONS: [&str; 4] = ["deb", "rpm", "apk", "arch"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(top());
    command.output().expect("the program starts")
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "it succeeds: {output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The artifacts: each a kind and a target.
fn artifacts() -> Vec<(String, String)> {
    let listed = text(run("bash", &["scripts/release", "--list"]));
    let of_line = |line: &str| {
        let (kind, target) = line.split_once('-').expect("a name is <kind>-<target>");
        (kind.to_owned(), target.to_owned())
    };
    listed.lines().map(of_line).collect()
}

#[test]
fn each_artifact_is_made_checked_and_of_a_known_target() {
    let artifacts = artifacts();
    assert!(artifacts.len() > 15, "the list is complete: {artifacts:?}");
    let mut parts = BTreeSet::new();
    for (kind, target) in &artifacts {
        let part = if DISTRIBUTIONS.contains(&kind.as_str()) {
            "package"
        } else {
            kind
        };
        parts.insert(part.to_owned());
        assert!(
            KINDS.contains(&format!("\ncheck_{kind}() {{")),
            "packaging/checks/kinds.sh checks '{kind}'"
        );
        assert!(
            target == "all" || PROGRAMS.contains(&format!("\n    {target}) triple=")),
            "packaging/programs builds for '{target}'"
        );
        assert!(
            !target.starts_with("macos"),
            "a release has no program that was never run"
        );
    }
    let scripts = fs::read_dir(top().join("packaging/parts")).expect("the directory is there");
    let scripts: BTreeSet<_> = scripts
        .map(|script| script.expect("it can be read").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("the names are text");
    assert_eq!(scripts, parts, "each script makes an artifact of the list");
}

#[test]
fn an_artifact_that_does_not_exist_is_refused() {
    let output = run("bash", &["scripts/release", "--only", "floppy-*"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("scripts/release --list"), "{told}");
}

#[test]
fn ci_makes_and_checks_a_release_when_the_packaging_or_a_dependency_changes() {
    let commands = |file: &'static str, of: &str| -> Vec<&'static str> {
        let lines = file.lines().map(|line| {
            let line = line.trim().trim_start_matches("- ");
            line.strip_prefix("run: ").unwrap_or(line)
        });
        lines.filter(|line| line.starts_with(of)).collect()
    };
    for file in [RELEASE, PIPELINES] {
        let both = ["scripts/release", "scripts/release --check"];
        assert_eq!(commands(file, "scripts/"), both, "{file}");
        for when in [
            "\"release/**\"",
            "[\"packaging/**\", \"scripts/release\", \"Cargo.lock\", ",
        ] {
            assert!(file.contains(when), "it names {when}: {file}");
        }
    }
    for file in [TESTS, PIPELINES] {
        assert_eq!(commands(file, ".ci/"), [".ci/run"], "{file}");
    }
}

#[test]
fn the_lines_on_the_page_accept_a_signed_release_and_refuse_a_changed_one() {
    needs!("minisign");
    const INSTALL: &str = include_str!("../../docs/install.md");
    const SCRIPT: &str = include_str!("../../scripts/release");
    let mut lines = SCRIPT.lines().map(str::trim);
    let sign = lines.find(|line| line.starts_with("minisign -S "));
    let sign = sign.expect("the script signs");
    let (_, lines) = INSTALL
        .split_once("```sh\nminisign -V ")
        .expect("the page verifies");
    let (lines, _) = lines.split_once("```").expect("the block ends");
    let verify = format!("set -e\nminisign -V {lines}");
    let release = tempfile::tempdir().expect("a temporary directory can be made");
    let shell = |line: &str| {
        let mut command = Command::new("bash");
        let command = command.args(["-euc", line]).current_dir(release.path());
        command.output().expect("the program starts")
    };
    text(shell(
        "minisign -G -W -p public -s secret >log && echo program >a.deb && sha256sum a.deb >SHA256SUMS",
    ));
    text(shell(&format!("key=secret out=. version=0.1.0; {sign}")));
    let key = text(shell("tail -n 1 public"));
    let verify = verify.replace("<public key>", key.trim());
    text(shell(&verify));
    for change in ["echo other >a.deb", "sha256sum a.deb >SHA256SUMS"] {
        text(shell(change));
        let refused = shell(&verify);
        assert!(!refused.status.success(), "after '{change}': {refused:?}");
    }
}

#[test]
fn the_files_for_ci_services_follow_the_schemas_of_the_services() {
    needs!("programs/tools");
    for (schema, files) in [
        (
            "github-workflows",
            ".github/workflows/release.yml .github/workflows/tests.yml docs/ci/github-actions.yml docs/fleet/github-actions.yml",
        ),
        (
            "bitbucket-pipelines",
            "bitbucket-pipelines.yml docs/ci/bitbucket-pipelines.yml docs/fleet/bitbucket-pipelines.yml",
        ),
        (
            "gitlab-ci",
            "docs/ci/gitlab-ci.yml docs/fleet/gitlab-ci.yml",
        ),
    ] {
        let schema = format!("vendor.{schema}");
        let mut command = Command::new(installed("tools/bin/check-jsonschema"));
        command
            .args(["--builtin-schema", &schema])
            .current_dir(top());
        text(
            command
                .args(files.split(' '))
                .output()
                .expect("the program starts"),
        );
    }
}

#[test]
fn the_scripts_of_a_release_are_valid() {
    let listed = text(run("git", &["ls-files", "scripts/release", "packaging"]));
    let mut checked = 0;
    for file in listed.lines() {
        let start = fs::read_to_string(top().join(file)).unwrap_or_default();
        if file.ends_with(".sh") || start.starts_with("#!/usr/bin/env bash") {
            let output = run("bash", &["-n", file]);
            assert!(output.status.success(), "bash reads {file}: {output:?}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "all scripts are checked, not {checked}");
}

#[test]
fn a_package_contains_both_programs_and_a_page_for_each_command() {
    let programs = MANIFEST.split("[[bin]]\nname = \"").skip(1);
    let programs: Vec<_> = programs.filter_map(|rest| rest.split('"').next()).collect();
    let line = format!("\nprograms=({})\n", programs.join(" "));
    assert!(COMMON.contains(&line), "packaging/common.sh says {line:?}");

    let world = World::new(gits().remove(0));
    let directory = world.path("pages").display().to_string();
    world.bbtoken(["man", "--directory", &directory]).ok();
    for command in COMMANDS {
        let page = world.path(&format!("pages/git-bbtoken-{command}.1"));
        assert!(page.exists(), "there is a page of '{command}'");
    }
    for program in programs {
        let page = world.path(&format!("pages/{program}.1"));
        assert!(page.exists(), "there is a page of '{program}'");
    }
}

#[test]
fn packages_require_the_versions_that_the_programs_need() {
    let readme = fs::read_to_string(top().join("README.md")).expect("it is there");
    assert!(
        readme.contains("git 2.39 or later"),
        "README says which git"
    );
    for required in ["git (>= 1:2.39)", "git-core >= 2.39", "git>=2.39"] {
        assert!(NFPM.contains(required), "a package requires '{required}'");
    }
    assert!(PROGRAMS.contains(".2.17\""), "zig links for glibc 2.17");
    for required in ["libc6 (>= 2.17)", "glibc >= 2.17", "glibc>=2.17"] {
        assert!(NFPM.contains(required), "a package requires '{required}'");
    }
    let version = env!("CARGO_PKG_VERSION");
    let description = env!("CARGO_PKG_DESCRIPTION");
    assert!(!NFPM.contains(version), "the version is in Cargo.toml only");
    assert!(NFPM.contains(description), "the description is the crate's");
}

#[test]
fn an_rpm_names_each_directory_of_the_documents() {
    let listed = text(run(
        "git",
        &["ls-tree", "-rd", "--name-only", "HEAD", "docs"],
    ));
    let mut count = 0;
    for directory in listed.lines().chain(["docs"]) {
        let line =
            format!("  - dst: /usr/share/doc/git-remote-bbtoken/{directory}\n    type: dir\n");
        assert!(NFPM.contains(&line), "a removal leaves {directory}");
        count += 1;
    }
    assert!(count > 2, "docs has directories");
}

/// Looks for leaks in a file, as `scripts/release` does for each artifact.
fn leaks(file: &Path, work: &Path) -> (bool, String) {
    let mut command = Command::new("packaging/leaks");
    command.arg(file).current_dir(top());
    command.env("top", top()).env("work", work);
    let output = command.output().expect("the script starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), told)
}

#[test]
fn what_leaks_is_found_in_every_layer_of_an_artifact() {
    needs!("bsdtar", "7z");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| directory.path().join(name);
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-euc", script]).current_dir(&directory);
        text(command.output().expect("bash starts"))
    };
    let key = format!("-----BEGIN {} KEY-----\n{}\n", "PRIVATE", "A".repeat(64));
    let of_machine = format!("built in {}/src\n", top().display());
    let of_tests = text(run("git", &["show", "HEAD:tests/it/packaging.rs"]));
    let clean = "nothing\n";
    for (content, word) in [
        (&*key, "secret"),
        (&of_machine, "path of this machine"),
        (&of_tests, "file of tests/"),
        (clean, ""),
    ] {
        fs::write(path("page"), content).expect("it is the test's");
        shell(
            "mkdir -p blobs/sha256
            tar -czf archive.tar.gz page
            tar -czf blobs/sha256/00ff page
            tar -cf image.oci.tar blobs
            gzip -nkf page && tar -cf package.tar page.gz
            tar -cf nested.tar archive.tar.gz
            tar -czf data.tar.gz page.gz && tar -cf debian.tar data.tar.gz",
        );
        for file in [
            "archive.tar.gz",
            "image.oci.tar",
            "package.tar",
            "nested.tar",
            "debian.tar",
        ] {
            let (is_clean, told) = leaks(&path(file), directory.path());
            assert_eq!(is_clean, word.is_empty(), "{file}: {told}");
            assert!(told.contains(word), "{file}: {told}");
        }
    }
    fs::write(path("setup.exe"), "no archive").expect("it is the test's");
    let (is_clean, told) = leaks(&path("setup.exe"), directory.path());
    assert!(
        !is_clean,
        "what cannot be opened is no good artifact: {told}"
    );
}

#[test]
fn the_changelog_of_packages_comes_from_the_changelog() {
    needs!("python3");
    let make = |version: &str, file: &Path| {
        let file = file.display().to_string();
        let maintainer = "Ann <ann@example.org>";
        run(
            "python3",
            &[
                "packaging/changelog.py",
                version,
                "86400",
                maintainer,
                &file,
            ],
        )
    };
    let version = env!("CARGO_PKG_VERSION");
    let entries = text(make(version, &top().join("CHANGELOG.md")));
    let entries: Value = serde_json::from_str(&entries).expect("it is JSON");
    assert_eq!(entries[0]["semver"], version, "the newest entry is first");
    assert!(
        entries[0]["changes"]
            .as_array()
            .is_some_and(|all| all.len() > 10),
        "it has every change"
    );

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("CHANGELOG.md");
    let text_of_file = "# Changelog\n\n## [Unreleased]\n\n## [2.0.0] - 2030-01-02\n\n### Added\n\n- A line\n  and more.\n";
    fs::write(&file, text_of_file).expect("it is the test's");
    let entries = text(make("2.0.0", &file));
    let entries: Value = serde_json::from_str(&entries).expect("it is JSON");
    assert_eq!(entries[0]["date"], "2030-01-02T00:00:00Z", "{entries}");
    assert_eq!(entries[0]["changes"][0]["note"], "Added: A line and more.");
    let refused = make("2.1.0", &file);
    assert!(
        !refused.status.success(),
        "a version without changes is no release"
    );
}

#[test]
fn the_sbom_and_the_licenses_list_what_the_programs_contain() {
    needs!("python3");
    let cargo = ["metadata", "--locked", "--offline", "--format-version", "1"];
    let metadata = text(run(env!("CARGO"), &cargo));
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("metadata.json");
    fs::write(&file, metadata).expect("it is the test's");
    let file = file.display().to_string();
    let make = |what: &str| {
        text(run(
            "python3",
            &["packaging/dependencies.py", what, "1.2.3", "86400", &file],
        ))
    };
    let sbom: Value = serde_json::from_str(&make("sbom")).expect("it is JSON");
    assert_eq!(sbom["metadata"]["timestamp"], "1970-01-02T00:00:00Z");
    let components = sbom["components"].as_array().expect("it has components");
    let names: BTreeSet<_> = components
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert!(names.contains("rustls"), "it lists what is built in");
    for only_in_tests in ["expect-test", "bitbucket-local", "rcgen"] {
        assert!(
            !names.contains(only_in_tests),
            "{only_in_tests} is only in tests"
        );
    }
    let licenses = make("licenses");
    for component in components {
        let license = component["licenses"][0]["expression"]
            .as_str()
            .unwrap_or("");
        assert_ne!(license, "", "each has a license: {component}");
        let line = format!(
            "\n{} {}: {license}, ",
            component["name"].as_str().unwrap_or(""),
            component["version"].as_str().unwrap_or("")
        );
        assert!(licenses.contains(&line), "the licenses list {line:?}");
    }
    assert_eq!(make("sbom"), make("sbom"), "two runs write the same");
}

#[test]
fn a_wheel_is_the_same_twice_and_its_removal_leaves_nothing() {
    needs!("programs/venv");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (file, content) in [
        ("stage/bin/git-bbtoken", "#!/bin/sh\necho installed\n"),
        ("stage/share/man/man1/git-bbtoken.1.gz", "a page"),
        (
            "stage/share/licenses/git-remote-bbtoken/LICENSE",
            "a license",
        ),
    ] {
        let file = PathBuf::from(path(file));
        fs::create_dir_all(file.parent().expect("it is in a directory")).expect("it is the test's");
        fs::write(file, content).expect("it is the test's");
    }
    let make = |version: &str, to: &str| {
        fs::create_dir_all(path(to)).expect("it is the test's");
        let arguments = [
            version,
            "1800000000",
            "https://git.example",
            "any",
            &path("stage"),
            &path(to),
        ];
        let script = ["packaging/wheel.py"];
        text(run("python3", &[&script[..], &arguments].concat()));
        path(&format!(
            "{to}/git_remote_bbtoken-{version}-py3-none-any.whl"
        ))
    };
    let (old, new) = (make("1.0.0", "one"), make("1.1.0", "one"));
    let again = fs::read(make("1.1.0", "two"));
    assert_eq!(fs::read(&new).ok(), again.ok(), "two runs write the same");

    let (uv, python, root) = (
        installed("venv/bin/uv"),
        installed("venv/bin/python"),
        path("root"),
    );
    let uv = |words: &str, last: &str| {
        let mut arguments: Vec<_> = words.split(' ').collect();
        arguments.extend(["--quiet", "--no-cache", "--offline", "--python", last]);
        text(run(&uv.display().to_string(), &arguments))
    };
    uv(&format!("venv {root}"), &python.display().to_string());
    for wheel in [old, new] {
        uv(&format!("pip install {wheel}"), &root);
    }
    assert_eq!(text(run(&path("root/bin/git-bbtoken"), &[])), "installed\n");
    let page = path("root/share/man/man1/git-bbtoken.1.gz");
    assert!(Path::new(&page).exists(), "man finds the page beside 'bin'");
    uv("pip uninstall git-remote-bbtoken", &root);
    let mut left = files(Path::new(&root)).into_keys();
    let left = left.find(|file| file.display().to_string().contains("bbtoken"));
    assert_eq!(left, None, "a removal leaves no file of ours");
}
