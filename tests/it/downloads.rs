//! A copy of a release, from which the recipes of docs/ci download. Its programs start those of the tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{programs::installed, support::World};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the recipes say that the files are.
const ADDRESS: &str = "https://files.example";

/// Packs the directory `bin` of an installation as the wheel of a release.
const WHEEL: &str = "
import pathlib, sys, zipfile
version, bin, place = sys.argv[1:]
info = f'git_remote_bbtoken-{version}.dist-info'
with zipfile.ZipFile(place, 'w') as wheel:
    for file in pathlib.Path(bin).iterdir():
        wheel.write(file, f'git_remote_bbtoken-{version}.data/scripts/{file.name}')
    wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: git-remote-bbtoken\\nVersion: {version}\\n')
    wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: py3-none-any\\n')
    wheel.writestr(f'{info}/RECORD', '')
";

/// Makes the archive and the wheel in a directory of the world, with these programs.
pub(crate) fn release(world: &World, programs: [(&str, String); 2]) -> PathBuf {
    let place = world.path("release");
    let name = format!("git-remote-bbtoken-{VERSION}-linux-x86_64-static");
    let bin = place.join(&name).join("bin");
    fs::create_dir_all(&bin).expect("the world can be written");
    for (program, text) in programs {
        crate::support::put_program(bin.join(program), text);
    }
    let archive = format!("{name}.tar.gz");
    let tar = world.run(Path::new("tar"), ["-czf", &archive, &name]);
    tar.within(&place).ok();
    let wheel = format!("git_remote_bbtoken-{VERSION}-py3-none-any.whl");
    let python = world.run(&installed("venv/bin/python"), ["-c", WHEEL, VERSION]);
    python.args([&bin, &place.join(wheel)]).ok();
    place
}

/// A script that downloads one file, with the address and the checksum of this file.
pub(crate) fn from_release(world: &World, script: &str, place: &Path, end: &str) -> String {
    let mut files = fs::read_dir(place).expect("it is a directory").flatten();
    let file = files
        .find(|file| file.path().to_string_lossy().ends_with(end))
        .expect("the release has this file");
    let sum = world.run(Path::new("sha256sum"), [file.path()]).ok();
    let sum = sum.split_whitespace().next().expect("it prints a sum");
    assert!(script.contains("<sha256>"), "the recipe verifies the file");
    script
        .replace(ADDRESS, &format!("file://{}", place.display()))
        .replace("<sha256>", sum)
}
