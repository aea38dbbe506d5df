#!/bin/sh
# bench_cpus.sh MNISTQ DATA FP32MODEL INT8MODEL FILE      `make bench-cpus`: how fast each kernel is on this CPU, into FILE
# FILE (results/cpus.md) has the CPUs measured so far: rows of this one are replaced, others stay as they are. What ONNX
# Runtime does beside us is measured where it is installed (make peers-install; PEERS is the folder with its script).
# exit status: 0 done; 1 something failed, FILE is as it was
set -u
[ $# -eq 5 ] || {
    echo "usage: scripts/bench_cpus.sh MNISTQ DATA FP32MODEL INT8MODEL FILE" >&2
    exit 2
}
here=$(dirname "$0") mnistq=$1 data=$2 fp32=$3 int8=$4 file=$5
tab=$(printf '\t')
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work" "$file.partial-$$"' EXIT
trap 'exit 1' INT TERM HUP

# The name that the program has for it, and family and model: clouds call many kinds "AMD EPYC".
cpu_of() { # FILE: a table of ours
    name=$(sed -n 's/^# CPU: \(.*\), [0-9]* threads*$/\1/p' "$1" | tr -d '|')
    numbers=$(awk -F': *' '/^cpu family/ && !f { f = $2 } /^model\t/ && !m { m = $2 } END { if (f != "") print " (family " f ", model " m ")" }' /proc/cpuinfo 2>/dev/null)
    printf '%s%s\n' "$name" "$numbers"
}
fact() { sed -n "s/^# $2: //p" "$1"; } # FILE NAME

cp "$fp32" "$work/fp32.safetensors" && cp "$int8" "$work/int8.safetensors" || exit 1
for format in bf16 int4; do
    "$mnistq" quantize "$fp32" --data "$data" --format $format --out "$work/$format.safetensors" >/dev/null || exit 1
done
kernels=$("$mnistq" inspect --cpu --kernel '?' 2>&1 | sed -n 's/.*; this CPU runs //p')
bf16=$("$mnistq" inspect --cpu | awk '$1 ~ /bf16$/ && /taken/ { print $1 }')
for kernel in $kernels; do
    echo "bench-cpus: $kernel" >&2
    "$mnistq" bench "$work"/fp32.* "$work"/bf16.* "$work"/int8.* "$work"/int4.* --kernel "$kernel" --data "$data" --batch 1000 --threads 1 --no-training --quiet --results "$work/$kernel" \
        >/dev/null || exit 1
    table=$work/$kernel/bench.csv
    awk -v columns=arithmetic,name,images_per_second,of_peak_percent,of_l1_percent,spread_percent -f "$here/csv.awk" "$table" |
        awk -F '\t' -v OFS='\t' -v integer="$kernel" -v fp32="$(fact "$table" 'fp32 kernel')" -v bf16="$bf16" '{
            if ($1 ~ /^fp32/ && $2 != "fp32") next # decoded: no kernel of its own
            print $2, $2 == "fp32" ? fp32 : $2 == "bf16" ? bf16 : integer, $3, $4, $5, $6 }'
done >"$work/rows"
first=${kernels%% *}
cpu=$(cpu_of "$work/$first/bench.csv")

# The quotients of the kernels that the program takes by itself.
: >"$work/peers"
[ -n "${PEERS-}" ] || PEERS=$here/peers
if command -v python3 >/dev/null && [ -e "$PEERS/onnx_peer.mjs" ] &&
    python3 "$here/peers/compare.py" "$fp32" "$int8" --mnistq "$mnistq" \
        --peers "$PEERS" --data "$data" --batch 1000 --threads 1 --no-training --results "$work" >"$work/out" 2>&1; then
    awk -v columns=task,peer,ours_over_peer -f "$here/csv.awk" "$work/peers.csv" | grep "${tab}ONNX Runtime" >"$work/peers"
else
    echo "bench-cpus: without ONNX Runtime, which make peers-install gets" >&2
fi

{
    cat <<'END'
# Kernels on the CPUs measured so far

| CPU | model | kernel | images/s | of peak % | of l1 % | ± % | against ONNX Runtime | date |
| --- | ----- | ------ | -------: | --------: | ------: | --: | -------------------- | ---- |
END
    # Rows of before, but for this CPU's.
    [ ! -e "$file" ] || awk -F ' *[|] *' -v cpu="$cpu" '/^[|] / && !/^[|] (---|CPU [|])/ && $2 != cpu' "$file"
    awk -F '\t' -v cpu="$cpu" -v date="$(date +%Y-%m-%d)" -v first="$first" '
        FILENAME ~ /peers$/ { ratio[$1] = $3 " x (" $2 ")"; next }
        done[$1, $2]++ { next } # one fp32 kernel stands beside several for integers
        {
            print "| " cpu " | " $1 " | " $2 " | " $3 " | " $4 " | " $5 " | " $6 " | " (taken[$1]++ ? "" : ratio[$1]) " | " date " |"
        }' "$work/peers" "$work/rows"
    cat <<'END'

Written by `make bench-cpus`, which replaces the rows of the CPU that it runs on: 784-256-256-10 on MNIST's test images,
batches of 1000, one thread. of peak: of the products that were not left out for a zero, against a loop of the fastest
instruction that the CPU has for such numbers; of l1: the same with operands from L1. ±: from the 10th to the 90th
percentile of the turns; over 25 the machine was busy. ONNX Runtime: beside the kernel that the program takes by itself,
in wall time.
END
} >"$file.partial-$$" && mv "$file.partial-$$" "$file"
