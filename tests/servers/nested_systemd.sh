#!/bin/bash
# Boots this machine's own systemd as PID 1 of private namespaces, over a throw-away copy of / (an overlay in memory), so that
# a unit file can really be started, watched and killed where PID 1 is something else.
#
#   nested_systemd.sh FOLDER [OUTSIDE:INSIDE ...]
#
# FOLDER/* is copied onto the new /; OUTSIDE folders are mounted read-only at INSIDE. Prints "ready PID" when the system is
# up (PID is its PID 1, for nsenter) and takes everything down when its standard input is closed. Needs root.
set -eu
export FOLDER BINDS WORK GROUP
FOLDER=$(realpath "$1")
shift
BINDS="$*"
WORK=$(mktemp -d)
GROUP=givre-test-$$

# The groups of processes: cgroup v2 alone, or v1 with a hierarchy of systemd's own (and v2 beside it) as in older containers.
if [ -f /sys/fs/cgroup/cgroup.procs ]; then hierarchies=/sys/fs/cgroup; else hierarchies=; for name in systemd unified; do
  if [ -f /sys/fs/cgroup/$name/cgroup.procs ]; then hierarchies="$hierarchies /sys/fs/cgroup/$name"; fi
done; fi
export hierarchies

# shellcheck disable=SC2016 # the inner shell expands these
inner='
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$WORK"
mkdir "$WORK"/upper "$WORK"/work "$WORK"/root
R=$WORK/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$R"
mount --rbind /dev "$R/dev"
mount --rbind /sys "$R/sys"
for folder in run tmp proc; do mount -t tmpfs tmpfs "$R/$folder"; done
if [ "$hierarchies" = /sys/fs/cgroup ]; then mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"; else
  mount -t tmpfs tmpfs "$R/sys/fs/cgroup"
  for h in $hierarchies; do
    mkdir "$R$h"
    case $h in */unified) mount -t cgroup2 cgroup2 "$R$h" ;; *) mount -t cgroup -o none,name=systemd cgroup "$R$h" ;; esac
  done
fi
rm -rf "$R"/etc/systemd/system/*.wants
cp -a "$FOLDER"/* "$R/"
for pair in $BINDS; do
  mkdir -p "$R${pair#*:}"
  mount --rbind "${pair%%:*}" "$R${pair#*:}"
done
mkdir -p "$R/etc/systemd/journald.conf.d"
printf "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n" > "$R/etc/systemd/journald.conf.d/nest.conf"
printf "[Unit]\nDefaultDependencies=no\n" > "$R/etc/systemd/system/nest.target"
mkdir "$R/outside"
cd "$R"
pivot_root . outside
cd /
exec unshare --pid --fork --kill-child --mount-proc /bin/sh -c "
  umount -l /outside
  # In what it takes for a container systemd leaves this to others; credentials are mounted through it.
  mount --make-rshared /
  exec /usr/bin/env -i container=nest PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=nest.target --log-target=console"
'

end() {
  set +e
  trap "" PIPE
  [ -z "${outer:-}" ] || kill -KILL "$outer" # takes the inner PID 1 along, and it all of its processes
  wait 2> /dev/null
  for h in $hierarchies; do
    for _ in $(seq 25); do
      find "$h/$GROUP" -depth -type d -exec rmdir {} + 2> /dev/null
      [ -d "$h/$GROUP" ] || break
      sleep 0.2
    done
  done
  rm -rf "$WORK"
}
trap end EXIT

for h in $hierarchies; do mkdir "$h/$GROUP"; done
# The group is entered before its namespace is made, so that inside it is the root.
(
  for h in $hierarchies; do echo "$BASHPID" > "$h/$GROUP/cgroup.procs"; done
  exec unshare --cgroup --mount --uts --ipc --net bash -c "$inner"
) > "$WORK.log" 2>&1 < /dev/null &
outer=$!

up=
for _ in $(seq 100); do
  pid=$(pgrep -P "$outer" || true)
  if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = systemd ] &&
    nsenter -t "$pid" -a systemctl is-system-running 2> /dev/null | grep -qE 'running|degraded'; then
    up=$pid
    break
  fi
  kill -0 "$outer" 2> /dev/null || break
  sleep 0.1
done
if [ -z "$up" ]; then
  echo "systemd did not come up in its namespaces:" >&2
  tail -20 "$WORK.log" >&2
  rm -f "$WORK.log"
  exit 1
fi
rm -f "$WORK.log"
nsenter -t "$up" -n ip link set lo up 2> /dev/null || true
echo "ready $up"
cat > /dev/null
