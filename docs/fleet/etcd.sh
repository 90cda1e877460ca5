#!/bin/sh
# A storeCommand for etcd 3.4 and later. etcdctl takes the servers and its own login from ETCDCTL_… variables.
# The value is the record in base64, because etcdctl reads words and quotes.
# etcdctl waits for a server without end, and may exit with 2 or 3. So it has a time limit, and each failure becomes 1:
# the helper then reads again.
set -u
key=bbtoken/ci
etcd() { timeout 8 etcdctl "$@" --write-out=fields; }
field() { printf '%s\n' "$2" | sed -n "s/^\"$1\" : \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" | head -n 1; }
case $1 in
read)
    found=$(etcd get "$key") || exit 1
    version=$(field ModRevision "$found")
    [ -n "$version" ] || exit 2
    echo "$version"
    field Value "$found" | base64 -d || exit 1
    ;;
replace)
    # The record goes through stdin, because every user can read arguments.
    value=$(base64 | tr -d '\n')
    answer=$(printf 'mod("%s") = "%s"\n\nput %s "%s"\n\n\n' "$key" "$2" "$key" "$value" | etcd txn) || exit 1
    case $(field Succeeded "$answer") in
    true) field Revision "$answer" ;;
    false) exit 3 ;;
    *) exit 1 ;;
    esac
    ;;
*) exit 1 ;;
esac
