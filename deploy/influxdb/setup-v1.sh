#!/bin/sh
# Prepares InfluxDB 1.x for Givre: the database, how long it keeps points, and (where it asks for logins) two users.
# Safe to run again: what is there stays, the retention is set to what is asked for.
#
#   INFLUX_URL          http://127.0.0.1:8086
#   INFLUX_DATABASE     givre, which the dashboard counts on
#   INFLUX_KEEP         how long points are kept (365d; 0s: for ever)
#   INFLUX_ADMIN        user:password of an administrator, where the server asks for logins
#   GIVRE_PASSWORD      given: makes the user givre, who may write and read
#   GRAFANA_PASSWORD    given: makes the user grafana, who may read
set -eu

INFLUX_URL=${INFLUX_URL:-http://127.0.0.1:8086}
DATABASE=${INFLUX_DATABASE:-givre}
KEEP=${INFLUX_KEEP:-365d}
ANSWER=$(mktemp)
trap 'rm -f "$ANSWER"' EXIT

fail() {
  printf '%s\n' "setup-v1: $*" >&2
  exit 1
}
for name in "$DATABASE" "$KEEP"; do
  case $name in *[!A-Za-z0-9_-]* | '') fail "'$name': only letters, digits, dash and underline, please" ;; esac
done

# The statement goes by standard input, and so does the login: a command line is for everybody on the machine to see.
ask() {
  {
    if [ -n "${INFLUX_ADMIN:-}" ]; then printf 'user = "%s"\n' "$(escaped "$INFLUX_ADMIN")"; fi
    printf 'data-urlencode = "q=%s"\n' "$(escaped "$1")"
  } | curl --silent --show-error --fail-with-body --max-time 20 --config - --output "$ANSWER" "$INFLUX_URL/query" ||
    fail "$INFLUX_URL refused: $(cat "$ANSWER")"
  case $(cat "$ANSWER") in *'"error"'*) fail "$INFLUX_URL refused: $(cat "$ANSWER")" ;; esac
}
escaped() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
quoted() { printf '%s' "$1" | sed "s/[\\\\']/\\\\&/g"; }

user() {
  ask 'SHOW USERS'
  case $(cat "$ANSWER") in
    *"[\"$1\","*) ask "SET PASSWORD FOR \"$1\" = '$(quoted "$2")'" ;;
    *) ask "CREATE USER \"$1\" WITH PASSWORD '$(quoted "$2")'" ;;
  esac
  ask "GRANT $3 ON \"$DATABASE\" TO \"$1\""
}

# A shard group for each day keeps the deletion of old points cheap.
ask "CREATE DATABASE \"$DATABASE\""
ask "SHOW RETENTION POLICIES ON \"$DATABASE\""
case $(cat "$ANSWER") in
  *'["givre",'*) ask "ALTER RETENTION POLICY \"givre\" ON \"$DATABASE\" DURATION $KEEP SHARD DURATION 1d DEFAULT" ;;
  *) ask "CREATE RETENTION POLICY \"givre\" ON \"$DATABASE\" DURATION $KEEP REPLICATION 1 SHARD DURATION 1d DEFAULT" ;;
esac
[ -z "${GIVRE_PASSWORD:-}" ] || user givre "$GIVRE_PASSWORD" ALL
[ -z "${GRAFANA_PASSWORD:-}" ] || user grafana "$GRAFANA_PASSWORD" READ
printf '%s\n' "setup-v1: database $DATABASE on $INFLUX_URL keeps points for $KEEP"
