# The roots that artifacts are installed in. packaging/check sources this file.

# Makes the root of a Debian release once, and keeps it: a removal that leaves nothing leaves it as it was.
root_of() {
    root=$work/roots/$1
    [ ! -e "$root/complete" ] || return 0
    needs mmdebstrap:mmdebstrap
    local packages=git,ca-certificates,man-db,bash-completion
    # Programs of arm64 run under the qemu of trixie; that of bookworm hangs.
    [ "$1" != trixie ] || packages+=,qemu-user,libc6-arm64-cross
    say "makes the root of Debian $1"
    rm -rf "$root"
    mkdir -p "$work/roots"
    mmdebstrap --quiet --mode=root --variant=apt --include="$packages" "$1" "$root.tar" 2>"$work/log" || fail "see $work/log"
    mkdir "$root"
    tar -xpf "$root.tar" -C "$root"
    rm "$root.tar"
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    touch "$root/complete"
}

# A root with busybox and nothing else.
busybox_root() {
    needs /usr/share/doc/busybox-static:busybox-static
    root=$place/busybox
    rm -rf "$root"
    mkdir -p "$root"/{bin,tmp,dev,etc,mnt}
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    cp "$(command -v busybox)" "$root/bin/busybox"
    local applet
    for applet in sh grep dirname; do
        ln -s busybox "$root/bin/$applet"
    done
}

# Runs a command in $root, which sees the server and nothing else of this machine; /mnt is $shared.
inside() {
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child sh -c '
        mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount --bind "$1" "$0/mnt" || exit
        root=$0; shift; exec chroot "$root" "$@"' \
        "$root" "$shared" /usr/bin/env -i PATH="${path:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}" LC_ALL=C.UTF-8 HOME=/root "$@"
}

# What is in $root, but for what a package manager remembers.
listing() {
    (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/lib/rpm -o -path ./var/lib/pacman -o -path ./var/cache \
        -o -path ./var/log -o -path ./tmp -o -path ./dev -o -path ./proc -o -path ./mnt \) -prune -o -print | sort)
}

# Installs the version before, upgrades, uses and removes: lifecycle <install> <remove>, two functions.
# The first gets a file, which /mnt has, too.
lifecycle() {
    local before
    # If this artifact leaves something behind, the next one gets a new root.
    rm "$root/complete"
    before=$(listing)
    "$1" "$shared/$(basename "$old")"
    inside git-bbtoken --version | grep -qwF 0.0.1
    "$1" "$shared/$(basename "$new")"
    inside sh /mnt/use "$version"
    inside bash /mnt/extras
    "$2"
    diff <(echo "$before") <(listing) || fail "the removal of $artifact leaves files, or takes some away"
    touch "$root/complete"
}

# Makes the same artifact with a lower version and other programs, for upgrades: $old and $new, also in $shared.
old_and_new() {
    local program
    mkdir -p "$place/stand-ins"
    for program in "${programs[@]}"; do
        printf '#!/bin/sh\necho %s 0.0.1\n' "$program" >"$place/stand-ins/$program"
        chmod 755 "$place/stand-ins/$program"
    done
    "$top/packaging/texts"
    out=$place/before version=0.0.1 stand_ins=$place/stand-ins "$top/packaging/parts/$1"
    old=$(find "$place/before" -type f -newer "$place/announced" -name "$2" | head -1)
    new=$(find "$out" -maxdepth 1 -name "$2" | head -1)
    [ -n "$old" ] && [ -n "$new" ] || fail "there is no $2 in $out; make it first: scripts/release --only $artifact"
    cp "$old" "$new" "$shared/"
}

# Uses programs of arm64 in the root of trixie: arm <directory with both>.
arm() {
    local program
    root_of trixie
    mkdir -p "$shared/arm"
    for program in "${programs[@]}"; do
        cp "$1/$program" "$shared/arm/$program.real"
        printf '#!/bin/sh\nexec qemu-aarch64 -L /usr/aarch64-linux-gnu /mnt/arm/%s.real "$@"\n' "$program" >"$shared/arm/$program"
        chmod 755 "$shared/arm/$program"
    done
    path=/mnt/arm:/usr/bin:/bin inside sh /mnt/use "$version"
}

# Uses the static programs where there is nothing else: bare <directory with both>.
bare() {
    busybox_root
    cp "$1"/git-* "$root/bin/"
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child sh -c '
        mount --bind /dev "$0/dev" && mount --bind "$1" "$0/mnt" && exec chroot "$0" /bin/sh /mnt/bare "$2"' \
        "$root" "$shared" "$version"
}
