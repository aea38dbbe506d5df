#!/bin/sh
# TAP tests of scripts/bench_cpus.sh (`make bench-cpus`) on small models, with a stand-in for ONNX Runtime. From the root of
# the repository:
#   BUILD=build sh tests/cli/cpus.sh
# shellcheck disable=SC2317,SC2016 # most functions are only called through check; $ is for awk

. tests/cli/tap.sh

tap_program
script=$PWD/scripts/bench_cpus.sh
make_digits "$TMP/idx" 2000 1000
cd "$TMP" || exit 1
"$mnistq" train --data idx --hidden 24,16 --out fp32.safetensors >/dev/null || tap_bail 'train does not work'
"$mnistq" quantize fp32.safetensors --data idx --out int8.safetensors >/dev/null || tap_bail 'quantize does not work'
mkdir stand-ins
cat >stand-ins/onnx_peer.mjs <<'END'
#!/bin/sh
for task in fp32 int8; do
    printf '{"peer": "ONNX Runtime 9", "variant": "", "task": "%s", "batch": 1000, "threads": 1, "images_per_second": 1000, ' $task
    printf '"p50_us": 7, "p99_us": 9, "correct": 900, "n": 1000}\n'
done
END
chmod +x stand-ins/onnx_peer.mjs
cpus() { PEERS=stand-ins sh "$script" "$mnistq" idx "${1:-fp32.safetensors}" int8.safetensors cpus.md; }
rows() { grep -c "^| $1" cpus.md; } # CPU
is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; false; }; }

cat >cpus.md <<'END'
# Anything

| CPU | model | kernel | images/s | of peak % | of l1 % | ± % | against ONNX Runtime | date |
| --- | ----- | ------ | -------: | --------: | ------: | --: | -------------------- | ---- |
| Another CPU (family 1, model 2) | int8 | that | 5 | 6 | 7 | 8 |  | 2025-01-02 |
END
check 'a CPU is added' cpus
check '... beside another, whose row stays as it was' \
    is "$(grep Another cpus.md)" '| Another CPU (family 1, model 2) | int8 | that | 5 | 6 | 7 | 8 |  | 2025-01-02 |'
int8=$("$mnistq" inspect --cpu --kernel '?' 2>&1 | sed 's/.*CPU runs //' | wc -w)
check '... with a row for each kernel of integers, of int8 and of int4' is "$(grep -c '| int[84] |' cpus.md)" $((2 * int8 + 1))
check '... and of fp32' is "$(grep -c '| fp32 |' cpus.md)" "$("$mnistq" inspect --cpu | grep -c '^ *fp32 .*runs it')"
check '... every cell is there but for quotients' \
    awk -F ' *[|] *' '/^[|] [^C-]/ { for (i = 2; i <= 10; i++) if ($i == "" && i != 9) exit 1; if ($5 <= 0) exit 1 }' cpus.md
if command -v python3 >/dev/null; then
    check '... the quotient stands beside the kernels that are taken' is "$(grep -c ' x (ONNX Runtime 9) |' cpus.md)" 2
else
    skip '... the quotient stands beside the kernels that are taken' 'python3 is not installed'
fi
count=$(rows '')
check 'measured again' cpus
check '... its rows are replaced' is "$(rows '')" "$count"
cp cpus.md before
check_status 1 'a model that is not there' cpus nowhere
check '... leaves the file' cmp cpus.md before
check '... and nothing beside it' is "$(ls cpus.md*)" cpus.md
check_status 2 'wrong use' sh "$script" "$mnistq"

tap_done
