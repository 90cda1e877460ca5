#!/bin/sh
# A storeCommand for PostgreSQL. psql takes the server and its own login from PG… variables: name the primary, because
# a replica may be behind. Create the table once:
#   create table bbtoken (name text primary key, version bigint not null, record text not null)
# A failed psql exits with 2 or 3, so each failure becomes 1: the helper then reads again.
set -u
# Runs the statement in stdin.
query() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --set=name=ci "$@"; }
case $1 in
read)
    found=$(echo "select version || E'\n' || record from bbtoken where name = :'name'" | query) || exit 1
    [ -n "$found" ] || exit 2
    printf '%s\n' "$found"
    ;;
replace)
    # The record goes through pipes: every user can read arguments, and a shell may keep a here-document in a file.
    # In base64, no text of it is SQL.
    record=$(base64 | tr -d '\n')
    version=$(printf '%s\n' "
        with given as (select convert_from(decode('$record', 'base64'), 'UTF8') as record),
            first as (insert into bbtoken select :'name', 1, record from given where :'old' = '0'
                on conflict do nothing returning version),
            next as (update bbtoken set version = bbtoken.version + 1, record = given.record from given
                where name = :'name' and bbtoken.version = :'old' returning bbtoken.version)
        select version from first union all select version from next" | query --set=old="$2") || exit 1
    [ -n "$version" ] || exit 3
    echo "$version"
    ;;
*) exit 1 ;;
esac
