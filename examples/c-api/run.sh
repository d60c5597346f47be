#!/usr/bin/env bash
# Compiles the example model to a shared object, to an object file and to an executable, builds greedy.c against the first
# two and batch.c against the shared object, and compares what all say: examples/c-api/run.sh [BUILD [MODEL]]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:-$here/../../build}
model=${2:-$here/../tiny-moe/model}
cc="${CC:-clang-22} ${CFLAGS:-}"
kit=$build/lib/qwench
out=$build/examples/c-api
mkdir -p "$out"

qwench() { "$build/bin/qwench" compile "$model" "$@"; }

# A shared object carries its weights.
qwench --emit shared -o "$out/libmodel.so"
$cc -I"$kit/include" "$here/greedy.c" -o "$out/greedy-shared" -L"$out" -lmodel -Wl,-rpath,"$out"

# An object file does not: they are a file that the program opens.
qwench --emit obj -o "$out/model.o"
qwench --emit weights -o "$out/model.weights"
$cc -I"$kit/include" "$here/greedy.c" "$out/model.o" "$kit/libqwench_runtime.a" -o "$out/greedy-object" \
  -lstdc++ -lm -lpthread

qwench -o "$out/model"

prompt=(1292 259 2125) count=24 # "In the beginning"
expected=$("$out/model" generate --tokens "$(IFS=,; echo "${prompt[*]}")" -n $count --greedy --ids --ignore-eos)
echo "executable:    $expected"
echo "in words:      $(echo "[$expected]" | "$out/model" tokenize --ids-to-text)"
for form in "shared -" "object $out/model.weights"; do
  read -r name weights <<<"$form"
  found=$("$out/greedy-$name" $count "$weights" "${prompt[@]}")
  echo "greedy-$name: $found"
  [ "$found" = "$expected" ] || { echo "expected what the executable says" >&2; exit 1; }
done
$cc -I"$kit/include" "$here/batch.c" -o "$out/batch" -L"$out" -lmodel -Wl,-rpath,"$out"
prompts=(1292,259,2125 271,259,1601,11 5)
expected=$("$out/model" generate $(printf -- '--tokens %s ' "${prompts[@]}") -n $count --greedy --ids --ignore-eos)
found=$("$out/batch" $count - "${prompts[@]}")
echo "batch of ${#prompts[@]}:
$found"
[ "$found" = "$expected" ] || { echo "expected what the executable says: $expected" >&2; exit 1; }
! "$out/greedy-shared" 1 - 999999 2>"$out/error" || { echo "expected an error for token 999999" >&2; exit 1; }
echo "and for token 999999: $(cat "$out/error")"
