#!/bin/sh
# The main job on real images, with the commands that a person would type.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

rm -rf runs/demo # of an earlier demo: train refuses a folder that exists

run inceptions train digits --model inception_small --output runs/demo
run inceptions draw inception_small --stage 3a --output runs/demo/module.svg
run inceptions predict runs/demo/test_images --model runs/demo/best --output runs/demo/predictions.csv

printf '\nIt is all in runs/demo: the trained model in best/, its picture module.svg, the answers in predictions.csv.\n'
