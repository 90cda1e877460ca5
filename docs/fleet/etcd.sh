#!/bin/sh
# A storeCommand for etcd 3.4 and later. etcdctl takes the server and its own login from ETCDCTL_… variables.
set -u
key=bbtoken/ci
# etcdctl has exit codes 2 and 3 of its own, and waits for a server without end.
etcd() { timeout 8 etcdctl "$@" -w fields || exit 1; }
field() { sed -n "s/^\"$1\" : \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p"; }
case $1 in
read)
    found=$(etcd get "$key") || exit 1
    version=$(printf '%s\n' "$found" | field ModRevision)
    [ -n "$version" ] || exit 2
    echo "$version"
    printf '%s\n' "$found" | field Value | base64 -d
    ;;
replace)
    # The record goes through stdin, because every user can read arguments.
    record=$(base64 -w 0) || exit 1
    done=$(printf 'mod("%s") = "%s"\n\nput %s "%s"\n\n\n' "$key" "$2" "$key" "$record" | etcd txn) || exit 1
    [ "$(printf '%s\n' "$done" | field Succeeded)" = true ] || exit 3
    printf '%s\n' "$done" | field Revision | head -1
    ;;
esac
