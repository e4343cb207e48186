#!/usr/bin/env bash
# Install what `make` needs on this controller, and say what cannot be installed.
#   setup.sh check   tools for lint, types and unit tests (no lab)
#   setup.sh lab     those, and what the lab of containers needs
# Prints the virtualenv's path on its last line. Does nothing, in a second, when all is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
wanted=${1:-lab}
cache=${HOLDFAST_CACHE:-$HOME/.cache/holdfast}

say() { echo "setup: $*" >&2; }
fail() { say "$1"; say "what to do: $2"; exit 3; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "'$*' needs root, and there is no sudo" "run make as root, or install sudo"
  fi
}

command -v dpkg-query >/dev/null || fail "this is not Debian or Ubuntu: packages cannot be installed for you" \
  "use a Debian 12/13 or Ubuntu 24.04 machine or virtual machine as the controller"

packages=(git make python3 python3-venv rclone lz4 openssl)
# a test opens the status page in it; Ubuntu's package of that name is only a snap's, there the test skips by name
. /etc/os-release
if [ "${ID:-}" = debian ]; then packages+=(chromium); fi
if [ "$wanted" = lab ]; then
  packages+=(podman crun netavark aardvark-dns iptables nftables debootstrap util-linux openssh-client)
fi
missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  case "$state" in ii*) ;; *) missing+=("$package") ;; esac
done
if [ "${#missing[@]}" -gt 0 ]; then
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  as_root apt-get update -q >"$log" 2>&1 || { tail -n 5 "$log" >&2; say "apt-get update failed; trying with the lists at hand"; }
  as_root apt-get install -y -q --no-install-recommends "${missing[@]}" >>"$log" 2>&1 || {
    tail -n 25 "$log" >&2
    fail "apt-get could not install: ${missing[*]}" "see the lines above; is a Debian mirror reachable, is another apt running?"
  }
  rm -f "$log"
fi

# a PATH with an own python3 (pyenv) is fine; what counts is its version
python=""
for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(command -v "$candidate"); break
  fi
done
[ -n "$python" ] || fail "no Python 3.11 or newer with venv on this machine" "install python3.11 (or newer) and its -venv package"

# keyed by the pins: changed pins make a new virtualenv, unchanged ones cost nothing
key=$({ sed -n '/^dependencies/,/^]/p' pyproject.toml; "$python" -V; } | sha256sum | cut -c1-12)
venv="$cache/venv-$key"
if [ ! -e "$venv/.complete" ]; then
  say "virtualenv with ansible, molecule, pytest and linters (about 1 minute): $venv"
  mkdir -p "$cache"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  requirements=$(mktemp)
  "$python" -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))' >"$requirements"
  "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" >&2 ||
    fail "pip could not install the pinned Python packages" "is PyPI (or your mirror of it, see 'pip config list') reachable?"
  rm -f "$requirements"
  touch "$venv/.complete"
fi
# the `ansible` package carries the collections at tested versions; requirements.yml is for those who have only ansible-core
for collection in community/mysql community/crypto community/general ansible/posix ansible/utils containers/podman; do
  compgen -G "$venv/lib/python3*/site-packages/ansible_collections/$collection" >/dev/null ||
    fail "collection ${collection/\//.} is missing from $venv" "remove $venv and run make again"
done
echo "$venv"
