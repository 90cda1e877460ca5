# How each kind of artifact is checked: check_<kind>, with $artifact and $target set. packaging/check sources this file.

# Unpacks an artifact whose programs another root uses: $unpacked is the directory of both.
unpacked() {
    new=$(find "$out" -maxdepth 1 -name "$1" | head -1)
    [ -n "$new" ] || fail "there is no $1 in $out; make it first: scripts/release --only $artifact"
    needs bsdtar:libarchive-tools
    rm -rf "$place/unpacked"
    mkdir -p "$place/unpacked"
    case "$new" in
        *.deb) dpkg-deb -x "$new" "$place/unpacked" ;;
        *) bsdtar -xf "$new" -C "$place/unpacked" ;;
    esac
    unpacked=$(dirname "$(find "$place/unpacked" -name git-bbtoken -type f -perm -1 | head -1)")
}

check_tar() {
    case "$target" in
        *-static) unpacked "*-$target.tar.gz"; bare "$unpacked"; check_cost ;;
        linux-aarch64) unpacked "*-$target.tar.gz"; arm "$unpacked" ;;
        *)
            old_and_new tar "*-$target.tar.gz"
            local release
            for release in bookworm trixie; do
                root_of "$release"
                lifecycle unpack_tar remove_tar
            done
            check_cost
            ;;
    esac
}
unpack_tar() { inside tar --no-same-owner --strip-components=1 -C /usr/local -xzf "/mnt/$(basename "$1")"; }
remove_tar() {
    (tar -tzf "$old"; tar -tzf "$new") | cut -d/ -f2- | grep -v '/$' | sort -u | (cd "$root/usr/local" && xargs rm -f)
    # Directories that this archive brought, but not those of Debian.
    find "$root"/usr/local/share -mindepth 1 -type d -empty ! -path '*/local/share/man' ! -name ca-certificates -delete
}

check_deb() {
    if [ "$target" = linux-aarch64 ]; then
        unpacked '*_arm64.deb'
        has_no_fault
        arm "$unpacked"
        return
    fi
    old_and_new package '*_amd64.deb'
    has_no_fault
    for release in bookworm trixie; do
        root_of "$release"
        lifecycle install_deb remove_deb
    done
}
has_no_fault() {
    needs lintian:lintian
    lintian --allow-root --fail-on warning,error "$new"
}
install_deb() { inside dpkg -i "/mnt/$(basename "$1")" >"$place/log" 2>&1 || { cat "$place/log" >&2; return 1; }; }
remove_deb() { inside dpkg -P "$name" >/dev/null; }

# Debian's rpm and pacman install into a root of Debian: it has what the programs need, but not under these names.
check_rpm() {
    if [ "$target" = linux-aarch64 ]; then
        unpacked '*.aarch64.rpm'
        arm "$unpacked"
        return
    fi
    needs rpm:rpm
    old_and_new package '*.x86_64.rpm'
    root_of trixie
    # Two directories that belong to Fedora's own packages.
    mkdir -p "$root"/usr/share/{licenses,zsh/site-functions}
    lifecycle install_rpm remove_rpm
    rm -rf "$root/var/lib/rpm"
    rmdir "$root"/usr/share/{licenses,zsh/site-functions}
}
# Debian's rpm says at each start that Debian has another package manager.
in_rpm() { rpm --root "$root" --dbpath /var/lib/rpm "$@" 2> >(grep -v '^rpm: ' >&2); }
install_rpm() { in_rpm --nodeps -U "$1"; }
remove_rpm() { in_rpm -e "$name"; }

check_arch() {
    needs pacman:pacman-package-manager
    old_and_new package '*.pkg.tar.zst'
    root_of trixie
    mkdir -p "$root/var/lib/pacman" "$place/cache"
    printf '[options]\nArchitecture = x86_64\nSigLevel = Never\n' >"$place/pacman.conf"
    lifecycle install_arch remove_arch
    rm -rf "$root/var/lib/pacman"
}
in_pacman() {
    pacman --root "$root" --dbpath "$root/var/lib/pacman" --cachedir "$place/cache" --logfile "$place/log" \
        --config "$place/pacman.conf" --noconfirm "$@" >/dev/null
}
install_arch() { in_pacman -Udd "$1"; }
remove_arch() { in_pacman -Rdd "$name"; }

# Debian has no apk: what is in the package is unpacked and used, and its description is read.
check_apk() {
    unpacked '*.apk'
    grep -qx "pkgver = $version-r1" "$place/unpacked/.PKGINFO"
    grep -q '^depend = git' "$place/unpacked/.PKGINFO"
    bare "$unpacked"
}

check_wheel() {
    case "$target" in
        linux-x86_64) ;;
        *-static) unpacked '*-musllinux_*.whl'; bare "$unpacked"; return ;;
        linux-aarch64) unpacked '*_aarch64.whl'; arm "$unpacked"; return ;;
        *) unpacked '*-win_amd64.whl'; has_exe; return ;;
    esac
    old_and_new wheel '*manylinux2014_x86_64.whl'
    needs man:man-db /usr/share/bash-completion/bash_completion:bash-completion
    root=$place/venv
    python3 -m venv "$root"
    install_wheel "$old"
    "$root/bin/git-bbtoken" --version | grep -qwF 0.0.1
    install_wheel "$new"
    PATH=$root/bin:$PATH sh "$shared/use" "$version"
    PATH=$root/bin:$PATH XDG_DATA_DIRS=$root/share bash "$shared/extras"
    "$root/bin/python" -m pip uninstall -q --yes "$name"
    [ -z "$(find "$root" -iname '*bbtoken*')" ] || fail "pip leaves files in $root"
}
install_wheel() { "$root/bin/python" -m pip install -q --disable-pip-version-check --no-index "$1"; }

check_npm() {
    case "$target" in
        linux-aarch64) unpacked 'git-remote-bbtoken-linux-arm64-*.tgz'; arm "$unpacked"; return ;;
        *-static) unpacked 'git-remote-bbtoken-linux-x64-musl-*.tgz'; bare "$unpacked"; return ;;
        linux-x86_64) unpacked 'git-remote-bbtoken-linux-x64-[0-9]*.tgz'; "$unpacked/git-bbtoken" --version >/dev/null; return ;;
    esac
    needs npm:npm man:man-db
    root=$place/npm
    mkdir -p "$root"
    local scripts before after
    target=linux-x86_64 old_and_new npm "$name-linux-x64-[0-9]*.tgz"
    before=("$old") after=("$new")
    old_and_new npm "$name-[0-9]*.tgz"
    before+=("$old") after+=("$new")
    # npm runs no script of a package if the user forbids it; the programs then start by way of node.
    for scripts in --ignore-scripts --no-ignore-scripts; do
        install_npm "$scripts" "${before[@]}"
        grep -q '"version": "0.0.1"' "$root/lib/node_modules/$name/package.json"
        install_npm "$scripts" "${after[@]}"
        grep -q "\"version\": \"$version\"" "$root/lib/node_modules/$name/package.json"
        PATH=$root/bin:$PATH sh "$shared/use" "$version"
        PATH=$root/bin:$PATH man -w git-bbtoken-login >/dev/null
        [ "$scripts" = --ignore-scripts ] || cmp "$root/bin/git-bbtoken" "$work/programs/linux-x86_64/git-bbtoken"
        npm uninstall --silent -g --prefix "$root" "$name" "$name-linux-x64"
        [ -z "$(find "$root" -name '*bbtoken*')" ] || fail "npm leaves files in $root"
    done
}
install_npm() { npm install --silent --offline --no-audit --no-fund -g --prefix "$root" "$@"; }

check_zip() {
    unpacked "*-$target.zip"
    has_exe
}
has_exe() {
    [ -n "$(find "$place/unpacked" -name git-remote-bbtoken.exe)" ] || fail "$artifact has no git-remote-bbtoken.exe"
    say "BBTOKEN_TEST_RELEASE=${out#"$top/"} scripts/test --windows runs the programs"
}

check_setup() {
    [ -f "$out/$name-$version-$target-setup.exe" ] || fail "there is no setup program in $out; make it first: scripts/release --only $artifact"
    say "BBTOKEN_TEST_RELEASE=${out#"$top/"} scripts/test --windows installs it"
}

check_image() {
    needs buildah:buildah
    local storage=(buildah --storage-driver vfs --root "$place/storage" --runroot "$place/runroot") container
    container=$("${storage[@]}" from --pull-never "oci-archive:$(find "$out" -name '*.oci.tar' | head -1)")
    root=$("${storage[@]}" mount "$container")
    [ ! -e "$root/etc/hostname" ] && [ ! -e "$root/etc/resolv.conf" ] || fail "the image has the name and network of a machine"
    # A container engine writes this file.
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    inside sh /mnt/use "$version"
    inside git lfs version >/dev/null
    "${storage[@]}" rm -a >/dev/null
    "${storage[@]}" rmi -af >/dev/null
}

check_sbom() {
    local venv=$work/sbom-tools wanted='cyclonedx-python-lib[json-validation]==11.12.0'
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check "$wanted"
        echo "$wanted" >"$venv/installed"
    fi
    "$venv/bin/python" - "$out/$name-$version.cdx.json" <<'PYTHON'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(f"error: {error}" if error else 0)
PYTHON
}

# The size of the helper, and what a discovery costs in instructions: as the plain build of the same source.
check_cost() {
    needs valgrind:valgrind
    local helper=$work/programs/$target/git-remote-bbtoken plain=$work/plain/release/git-remote-bbtoken size counts
    size=$(stat -c %s "$helper")
    ((size <= 6500000)) || fail "git-remote-bbtoken has $size bytes; 6500000 are allowed"
    say "builds as 'cargo build --release' does, to compare"
    cargo build --release --locked -q --bin git-remote-bbtoken --manifest-path "$top/Cargo.toml" --target-dir "$work/plain"
    counts=$(count "$plain") && counts+=" $(count "$helper")" && [[ $counts =~ ^[1-9][0-9]*\ [1-9][0-9]*$ ]] ||
        fail "the instructions could not be counted"
    say "$size bytes; instructions of the plain and the released helper: $counts"
    awk '{ exit !($2 <= $1 * 1.03 && $2 >= $1 * 0.97) }' <<<"$counts" ||
        fail "the released helper needs less than 0.97 or more than 1.03 of the plain one's instructions: $counts"
}

# Counts the instructions of an 'ls-remote' with a cached token: the least of three, as hash tables are seeded by chance.
count() {
    local request='0014command=ls-refs\n0014agent=git/2.47.30016object-format=sha100010009peel\n000csymrefs\n0000'
    (
        . "$shared/environment"
        export HOME=$place/count GIT_SSL_CAINFO=$shared/ca.pem GIT_CONFIG_NOSYSTEM=1 GIT_PROTOCOL=version=2
        mkdir -p "$HOME"
        # shellcheck disable=SC2059  # the request is the format
        for _ in 1 2 3 4; do
            printf "capabilities\nconnect git-upload-pack\n$request" | valgrind --tool=callgrind -q \
                --callgrind-out-file="$HOME/callgrind" "$1" origin acme/app | grep refs/heads/main >/dev/null || exit
            sed -n 's/^totals: //p' "$HOME/callgrind"
        done | sort -n | head -1
    )
}
