"""Writes the licenses of all dependencies, or the SBOM (CycloneDX 1.5), from the output of `cargo metadata`.

    dependencies.py licenses|sbom <version> <seconds since 1970> <metadata>...

One metadata file for each platform; a dependency of any platform is listed once. Both lists come from the same walk, so
no crate is in one and not in the other.
"""

import json
import sys
import time
import uuid
from pathlib import Path

NAME = "git-remote-bbtoken"
LICENSE_FILES = ("license", "licence", "copying", "notice", "copyright", "unlicense")


def dependencies(metadata):
    """Gives the crates that the programs are built from, and who needs which; crates that only tests need are left out."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(id for id, package in packages.items() if package["name"] == NAME)
    found, queue = {}, [root]
    while queue:
        id = queue.pop()
        if id in found:
            continue
        needed = [
            dependency["pkg"]
            for dependency in nodes[id]["deps"]
            if any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"])
        ]
        found[id] = (packages[id], set(needed))
        queue.extend(needed)
    return root, found


def united(files):
    """Gives the dependencies of all platforms."""
    root, all = None, {}
    for file in files:
        root, found = dependencies(json.loads(Path(file).read_text()))
        for id, (package, needed) in found.items():
            all.setdefault(id, (package, set()))[1].update(needed)
    order = sorted(all, key=lambda id: (all[id][0]["name"], all[id][0]["version"]))
    return root, {id: all[id] for id in order}


def expression(package):
    """Gives the SPDX expression; older crates write a slash for OR."""
    return (package["license"] or "").replace("/", " OR ").replace("  ", " ")


def licenses(root, all):
    """Gives each crate with its license, then each license text once, with the crates that have it."""
    yield f"The programs of {NAME} contain the following crates, under these licenses."
    yield "The text of a license follows the list. The programs also contain Rust's standard library, MIT OR Apache-2.0.\n"
    texts = {}
    for id, (package, _) in all.items():
        if id == root:
            continue
        crate = f"{package['name']} {package['version']}"
        yield f"{crate}: {expression(package)}, {(package['repository'] or 'no repository is named').strip()}"
        for path in sorted(Path(package["manifest_path"]).parent.iterdir()):
            if path.is_file() and path.name.lower().startswith(LICENSE_FILES):
                text = "\n".join(line.rstrip() for line in path.read_text(errors="replace").strip().splitlines())
                texts.setdefault(text, []).append(crate)
    for text, crates in texts.items():
        yield "\n" + "=" * 80
        yield f"{', '.join(dict.fromkeys(crates))}:\n\n{text}"


def url(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind="library"):
    described = {
        "type": kind,
        "bom-ref": url(package),
        "name": package["name"],
        "version": package["version"],
        "licenses": [{"expression": expression(package)}],
        "purl": url(package),
    }
    if package["description"]:
        described["description"] = " ".join(package["description"].split())
    if package["repository"]:
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"].strip()}]
    return described


def sbom(root, all, version, seconds):
    """Gives the SBOM; its serial number follows from what is in it, so it is the same in every run."""
    refs = {id: url(package) for id, (package, _) in all.items()}
    identity = " ".join([version, *refs.values()])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, identity).urn,
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
            "component": component(all[root][0], "application"),
        },
        "components": [component(package) for id, (package, _) in all.items() if id != root],
        "dependencies": [
            {"ref": refs[id], "dependsOn": sorted(refs[needed] for needed in needs)}
            for id, (_, needs) in all.items()
        ],
    }


def main():
    wanted, version, seconds, *files = sys.argv[1:]
    root, all = united(files)
    if wanted == "sbom":
        print(json.dumps(sbom(root, all, version, int(seconds)), indent=1))
    else:
        print("\n".join(licenses(root, all)))


main()
