#!/bin/sh
# The main job on real images, with the commands that a person would type.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

rm -rf runs/demo                        # of an earlier demo: train refuses a folder that exists
export INCEPTIONS_CACHE="$PWD/runs/data" # where the built-in digits are unpacked, as image files one can look at

run inceptions train digits --model inception_small --epochs 8 --output runs/demo
run inceptions draw inception_small --stage 3a --output runs/demo/module.svg
run inceptions predict runs/data/digits/test --model runs/demo/best --output runs/demo/predictions.csv
run inceptions predict docs/chelsea.jpg --model inception_small.cifar10 # comes with the package, and knows ten kinds of things

cat <<END

Look at
  runs/demo/report.html       how well it does, and every mistake
  runs/demo/module.svg        the Inception module that did it
  runs/demo/predictions.csv   what it says of each held-out image in runs/data/digits/test
  runs/demo/best              the model; inceptions predict YOUR_IMAGES --model runs/demo/best
END
