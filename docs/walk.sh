#!/usr/bin/env bash
# From an empty folder to predictions, with the program alone: docs/walk.sh [PROGRAM]. The walk of docs/own-pictures.md, with an
# interruption on the way. Fails where a step fails, or where two steps that must agree do not.
set -euo pipefail

program=$(command -v "${1:-tallow}") || { echo "no program ${1:-tallow}: build it by cargo build --release --bin tallow"; exit 1; }
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

tallow() {
    printf '\n$ tallow %s\n' "$*"
    "$program" "$@"
}

fail() {
    printf 'walk: %s\n' "$*"
    exit 1
}

tallow data export fashion-mnist-sample clothes

# Ctrl-C after the first epoch, and on from there.
printf '\n$ tallow train clothes --epochs 3    (Ctrl-C after the first epoch)\n'
"$program" train clothes --epochs 3 >out 2>err &
training=$!
until grep -q 'epoch 1/3' err; do
    kill -0 "$training" 2>/dev/null || { cat out err; fail "the training ended before its first epoch did"; }
    sleep 0.1
done
kill -INT "$training"
code=0
wait "$training" || code=$?
cat out err
[[ $code -eq 130 ]] || fail "an interrupted run exits with 130, not $code"
grep -q 'to continue: ' err || fail "nothing says how to go on"
tallow resume

run=$(echo runs/clothes/*-s0)
[[ -f $run/model.safetensors && -f $run/summary.json ]] || fail "$run is not finished"
# The folder of the experiment stands for its newest run.
tallow evaluate --run runs/clothes
"$program" evaluate --run "$run" --json >evaluation.json 2>/dev/null
bags=(clothes/test/Bag/*)
tallow predict --run "$run" "${bags[0]}" "${bags[1]}"

# Every test picture, with the probabilities of its classes; as many right ones as the evaluation counted.
printf '\n$ tallow predict --run %s clothes/test --csv > predictions.csv\n' "$run"
"$program" predict --run "$run" clothes/test --csv >predictions.csv
head -n 3 predictions.csv
[[ $(wc -l <predictions.csv) -eq 2001 ]] || fail "predictions.csv should have 2001 lines"
right=$(tail -n +2 predictions.csv | awk -F, '{ split($1, path, "/"); right += (path[3] == $2) } END { print right }')
counted=$(sed 's/.*"correct":\([0-9]*\),"total".*/\1/' evaluation.json)
[[ $right -eq $counted ]] || fail "predict finds $right pictures, evaluate $counted"

if "$program" export --help >/dev/null 2>&1; then
    tallow export --run "$run" --onnx -o clothes.onnx
    [[ -s clothes.onnx ]] || fail "clothes.onnx is empty"
fi

tallow report
[[ -s runs/clothes/report.html ]] || fail "there is no report"
[[ -z $(find . -name '*.partial' -o -name '*.tmp' -o -name '*.unfinished') ]] || fail "unfinished files are left"
printf '\nthe walk took %d s\n' "$SECONDS"
