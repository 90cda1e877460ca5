"""Turns CHANGELOG.md into what nfpm makes the changelogs of deb and rpm from (YAML, of which JSON is a part).

    changelog.py <version> <seconds since 1970> <maintainer> <CHANGELOG.md>

The heading of a version is `## [1.2.3] - 2026-11-29`. Before a release has its own heading, its changes stand under
`## [Unreleased]`, and its date is that of the commit.
"""

import json
import re
import sys
import textwrap
import time
from pathlib import Path


def entries(text, version, date, maintainer):
    found = []
    for line in text.splitlines():
        if heading := re.match(r"## \[([^]]+)\](?: - (\d{4}-\d\d-\d\d))?", line):
            number, day = heading.groups()
            if number == "Unreleased":
                number = version
            entry = {"semver": number, "date": f"{day}T00:00:00Z" if day else date, "packager": maintainer}
            found.append(entry | {"deb": {"urgency": "medium", "distributions": ["unstable"]}, "changes": []})
        elif found and line.startswith("### "):
            kind = line[4:]
        elif found and line.startswith("- "):
            found[-1]["changes"].append({"note": f"{kind}: {line[2:]}"})
        elif found and found[-1]["changes"] and line.startswith("  "):
            found[-1]["changes"][-1]["note"] += f" {line.strip()}"
    for entry in found:
        for change in entry["changes"]:
            # Debian's changelogs are 80 columns wide.
            change["note"] = "\n".join(textwrap.wrap(change["note"], 72, break_long_words=False, break_on_hyphens=False))
    return [entry for entry in found if entry["changes"]]


version, seconds, maintainer, file = sys.argv[1:]
date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
found = entries(Path(file).read_text(), version, date, maintainer)
if not any(entry["semver"] == version for entry in found):
    sys.exit(f"error: CHANGELOG.md says nothing of version {version}")
print(json.dumps(found, indent=1))
