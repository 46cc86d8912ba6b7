#!/bin/sh
# Prepares InfluxDB 2.x for Givre with its own command, influx: the bucket, the DBRP mapping by which InfluxQL finds it (the
# dashboard asks in InfluxQL), and two tokens. Safe to run again, except that each run makes new tokens.
# InfluxDB 3 needs none of it: `influxdb3 create database givre` is all, and the data source asks it as it is.
#
#   INFLUX_HOST, INFLUX_TOKEN, INFLUX_ORG    as `influx` itself reads them: the server, an operator's token, the organisation
#   INFLUX_BUCKET                            givre, which the dashboard counts on
#   INFLUX_KEEP                              how long points are kept (365d; 0: for ever)
set -eu

BUCKET=${INFLUX_BUCKET:-givre}
KEEP=${INFLUX_KEEP:-365d}

fail() {
  printf '%s\n' "setup-v2: $*" >&2
  exit 1
}
command -v influx > /dev/null || fail "no influx command here: it comes with InfluxDB 2, in the package influxdb2-cli"
[ -n "${INFLUX_ORG:-}" ] || fail "set INFLUX_ORG to the organisation that the bucket belongs to"

bucket_id() { influx bucket list --name "$BUCKET" --hide-headers 2> /dev/null | awk 'NR == 1 { print $1 }'; }
token() { influx auth create --json "$@" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'; }

id=$(bucket_id)
if [ -n "$id" ]; then
  influx bucket update --id "$id" --retention "$KEEP" > /dev/null
else
  # A shard group for each day keeps the deletion of old points cheap.
  influx bucket create --name "$BUCKET" --retention "$KEEP" --shard-group-duration 1d > /dev/null
  id=$(bucket_id)
  [ -n "$id" ] || fail "the bucket $BUCKET was made and cannot be found"
fi

# Newer versions have a virtual mapping for every bucket, under the policy autogen; an explicit one is right in all of them.
if ! influx v1 dbrp list --db "$BUCKET" --rp givre | grep -q "$id"; then
  influx v1 dbrp create --db "$BUCKET" --rp givre --bucket-id "$id" --default > /dev/null
fi

printf '%s\n' "setup-v2: bucket $BUCKET keeps points for $KEEP; InfluxQL finds it as the database $BUCKET"
printf '%s\n' "token for Givre, which writes (/etc/givre/credentials/influx_token):"
token --write-bucket "$id" --read-bucket "$id" --description givre
printf '%s\n' "token for Grafana, which reads (GIVRE_INFLUX_TOKEN):"
token --read-bucket "$id" --description "grafana for givre"
