#!/bin/sh
# A storeCommand for PostgreSQL. psql takes the server and its own login from PG… variables. Create the table once:
#   create table bbtoken (name text primary key, version bigint not null, record text not null)
set -u
name=ci
# psql has exit codes 2 and 3 of its own. The record goes through stdin, because every user can read arguments.
query() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 || exit 1; }
case $1 in
read)
    found=$(echo "select version || E'\n' || record from bbtoken where name = '$name'" | query) || exit 1
    [ -n "$found" ] || exit 2
    printf '%s\n' "$found"
    ;;
replace)
    record="\$record\$$(cat)\$record\$"
    version=$(query <<SQL
insert into bbtoken select '$name', 1, $record where $2 = 0 on conflict do nothing returning version;
update bbtoken set version = version + 1, record = $record where name = '$name' and version = $2 returning version;
SQL
    ) || exit 1
    [ -n "$version" ] || exit 3
    echo "$version"
    ;;
esac
