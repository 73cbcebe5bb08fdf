#!/bin/sh
# Runs every check, also after one has failed: `scripts/check.sh lint` all but the tests, `test` all but the exhaustive ones, `test-all` all.
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

tests() { # last, so that the last line is pytest's own, which counts
    printf '== tests: pytest %s\n' "$*"
    pytest "$@" || failed="$failed tests"
}

step lint ruff check --quiet
step format ruff format --check
step types pyright
step imports lint-imports --no-logo
case ${1-test} in
lint) ;;
test) tests -n auto --dist worksteal -q -m 'not exhaustive' ;;
test-all) tests -n auto --dist worksteal -q --durations=20 ;;
*) echo "scripts/check.sh lint, test or test-all; not $1" >&2 && exit 2 ;;
esac

[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
