#!/bin/sh
# Run by the PostgreSQL image when its folder is empty, as the superuser over the local socket: the databases, and the
# roles that `headgate migrate` and `headgate ehr … --reader` then give their rights to.
set -eu

role() { printf "CREATE ROLE %s LOGIN PASSWORD '%s';\n" "$1" "$(cat "${SECRETS:-/secrets}/$1.password")"; }

{
    role headgate_api
    role headgate_worker
    role headgate_reader
    echo 'CREATE DATABASE headgate;'
    echo 'CREATE DATABASE pod21test;'
    echo 'CREATE DATABASE lakeside;'
} | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres
