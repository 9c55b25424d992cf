#!/bin/sh
# longtake-verify-model FOLDER SUMS: ends with status 0 if FOLDER holds exactly the files that SUMS lists, each with its
# SHA-256 sum. SUMS is in sha256sum's format, with names relative to FOLDER. Writes no files, for it runs where it cannot.
set -eu
if [ $# -ne 2 ]; then
  echo "usage: longtake-verify-model FOLDER SUMS" >&2
  exit 2
fi
folder=$1
sums=$(readlink -f "$2")
cd "$folder"
LC_ALL=C
export LC_ALL

# A file that nobody listed is refused: a longtake.json that appears changes what the model makes.
listed=$(sed -E 's/^[0-9a-f]{64} [ *]//' "$sums" | sort)
found=$(find . ! -type d -printf '%P\n' | sort)
if [ "$listed" != "$found" ]; then
  printf '%s\n' "$found" | while IFS= read -r name; do
    printf '%s\n' "$listed" | grep -Fxq -- "$name" || echo "not listed: $name" >&2
  done
  printf '%s\n' "$listed" | while IFS= read -r name; do
    printf '%s\n' "$found" | grep -Fxq -- "$name" || echo "missing: $name" >&2
  done
  echo "$folder does not hold the files that $2 lists" >&2
  exit 1
fi
sha256sum --check --strict --quiet "$sums" >&2 || { echo "$folder is not the model that $2 lists" >&2; exit 1; }
echo "verified $(printf '%s\n' "$found" | wc -l) files of $folder"
