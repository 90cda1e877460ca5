"""Packs an installation into a wheel, which is a zip file: 'pip install' then puts both programs on the PATH.

    wheel.py <version> <seconds since 1970> <homepage> <platform tags> <prefix> <directory>

No build back end does this: the wheel holds the very programs that the other artifacts hold.
"""

import base64
import hashlib
import sys
import time
import zipfile
from pathlib import Path

version, seconds, homepage, tags, prefix, directory = sys.argv[1:]
prefix = Path(prefix)
DISTRIBUTION = f"git_remote_bbtoken-{version}"
INFO = f"{DISTRIBUTION}.dist-info"
METADATA = f"""Metadata-Version: 2.4
Name: git-remote-bbtoken
Version: {version}
Summary: git remote helper for Bitbucket with OAuth 2 tokens that never go stale
Home-page: {homepage}
License-Expression: MIT OR Apache-2.0
License-File: LICENSE
License-File: dependencies.txt
Classifier: Environment :: Console
Classifier: Topic :: Software Development :: Version Control :: Git
Requires-Python: >=3.7
Description-Content-Type: text/markdown

After `pip install git-remote-bbtoken`, `git clone bbtoken::workspace/repo` works with Bitbucket.
This git remote helper gets an OAuth 2 access token, renews it, and adds it to git's requests.
The wheel contains two programs, their manual pages and shell completions, and no Python code.
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: git-remote-bbtoken\nRoot-Is-Purelib: false\n" + "".join(
    f"Tag: py3-none-{tag}\n" for tag in tags.split(".")
)


def contents():
    """Gives the path of each file in the wheel, what is in it, and its mode (PEP 427)."""
    for file in sorted(path for path in prefix.rglob("*") if path.is_file()):
        path = file.relative_to(prefix)
        if path.parts[0] == "bin":
            yield f"{DISTRIBUTION}.data/scripts/{path.name}", file.read_bytes(), 0o755
        elif path.parts[1] == "licenses":
            yield f"{INFO}/licenses/{path.name}", file.read_bytes(), 0o644
        elif path.parts[1] != "doc":
            yield f"{DISTRIBUTION}.data/data/{path.as_posix()}", file.read_bytes(), 0o644
    yield f"{INFO}/METADATA", METADATA.encode(), 0o644
    yield f"{INFO}/WHEEL", WHEEL.encode(), 0o644


def record(path, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


files = list(contents())
lines = "".join(record(path, data) for path, data, _ in files) + f"{INFO}/RECORD,,\n"
files.append((f"{INFO}/RECORD", lines.encode(), 0o644))
date = time.gmtime(int(seconds))[:6]
with zipfile.ZipFile(f"{directory}/{DISTRIBUTION}-py3-none-{tags}.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
    for path, data, mode in files:
        entry = zipfile.ZipInfo(path, date)
        entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
        entry.external_attr = (0o100000 | mode) << 16
        wheel.writestr(entry, data, compresslevel=9)
