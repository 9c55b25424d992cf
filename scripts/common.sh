# shellcheck shell=bash
# Sourced by the other scripts: strict mode, the repository's root as working directory, and progress lines.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Debian's interpreter: its version is known, and python3-venv belongs to it.
PYTHON=/usr/bin/python3
# shellcheck disable=SC2034  # read by those that source this
BUILD=build/release

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# make_venv DIR REQUIREMENTS: a virtual environment with exactly these requirements; nothing is done where it is current.
make_venv() {
  local folder=$1 requirements=$2 stamp
  stamp=$(sha256sum "$requirements" | cut -d' ' -f1)
  if [[ -f $folder/stamp && $(<"$folder/stamp") == "$stamp" ]]; then return; fi
  say "Python environment $folder"
  "$PYTHON" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  printf '%s\n' "$stamp" > "$folder/stamp"
}

# install_packages PACKAGE...: of Debian's, those that are missing.
install_packages() {
  local package status missing=() as_root=()
  for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    say "All $# packages are installed"
    return
  fi
  if ((EUID != 0)); then
    command -v sudo > /dev/null || die "run as root or install sudo; missing packages: ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${#missing[@]} packages: ${missing[*]}"
  "${as_root[@]}" apt-get update --quiet
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
}
