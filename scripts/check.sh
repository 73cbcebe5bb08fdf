#!/bin/sh
# Runs every check, also after one has failed: `scripts/check.sh` all of them, `scripts/check.sh lint` all but the tests.
set -u
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH PYRIGHT_PYTHON_IGNORE_WARNINGS=1 # pyright needn't look for a newer release of itself
failed=""

step() {
    name=$1
    shift
    printf '== %s: %s\n' "$name" "$*"
    start=$(date +%s)
    if "$@"; then verdict=passed; else verdict=FAILED failed="$failed $name"; fi
    printf '== %s %s in %s s\n\n' "$name" "$verdict" "$(($(date +%s) - start))"
}

step lint ruff check --quiet
step format ruff format --check
step types pyright
step imports lint-imports --no-logo
[ "${1-}" = lint ] || step tests pytest -n auto -q

[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
