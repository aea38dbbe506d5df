#!/bin/sh
# TAP tests of `mnistq audit` on a small set of built-in digits. From the root of the repository:
#   BUILD=build sh tests/cli/audit.sh
# shellcheck disable=SC2317,SC2016 # functions are called through check; programs for awk and sh hold dollars

. tests/cli/tap.sh

BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
[ -x "$BUILD/mnistq" ] || tap_bail "$BUILD/mnistq: not there (make builds it)"
"$BUILD/tests/make_idx" "$TMP/idx" 1500 300 20 16 || tap_bail "$BUILD/tests/make_idx does not work"
cd "$TMP" || exit 1
PATH=$BUILD:$PATH # the commands of the table are run as they stand
tab=$(printf '\t')

audit() { mnistq audit --data idx --hidden 32,16 --seeds 2 "$@"; }

# ---- the three forms of the table, as lines of cells between tabs ------------------------------------------------

csv_cells() { # FILE: quoted fields hold commas, and "" for a quote
    grep -v '^#' "$1" | awk '{
        line = ""; quoted = 0
        for (i = 1; i <= length($0); i++) {
            c = substr($0, i, 1)
            if (c == "\"" && quoted && substr($0, i + 1, 1) == "\"") { line = line c; i++ }
            else if (c == "\"") quoted = !quoted
            else line = line (c == "," && !quoted ? "\t" : c)
        }
        print line }'
}
md_cells() { # FILE: a bar within a cell is \|
    grep '^| ' "$1" | awk 'NR != 2 { gsub(/\\\|/, "\001"); gsub(/ *\| */, "\t"); gsub(/\001/, "|"); print substr($0, 2, length($0) - 2) }'
}
json=
if command -v jq >/dev/null; then json=jq; elif command -v python3 >/dev/null; then json=python3; fi
json_cells() { # FILE
    if [ $json = jq ]; then
        jq -r '.rows[] | [.[] | tostring] | join("\t")' "$1"
    else
        python3 -c 'import json, sys
for row in json.load(open(sys.argv[1]))["rows"]: print("\t".join(map(str, row.values())))' "$1"
    fi
}
# part, claim, claimed, ours, verdict, explanation, id, measured, tolerance, command
cell() { awk -F'\t' -v id="$2" -v column="$3" '$7 == id { print $column }' "$1"; } # CELLS ID COLUMN
without_measured() { cut -f1-7,9,10 "$1"; } # JSON may write a number's zeros in its own way

check 'audit' audit --results r
cp "$TMP/out" printed
check_grep '^  [0-9]+ claims: [0-9]+ reproduced, ' printed 'the terminal shows the counts'
csv_cells r/audit.csv >csv.cells
md_cells r/audit.md >md.cells
check 'audit.md is audit.csv' diff md.cells csv.cells
check 'ten cells in each line' awk -F'\t' 'NF != 10 { print; bad = 1 } END { exit bad || NR < 70 }' csv.cells
check 'the command, the data and their checksum stand below' [ "$(grep -cE '^# (command: mnistq audit --data idx|data: idx .* 1500 training|data SHA-256: [0-9a-f]{64})' r/audit.csv)" -eq 3 ]
check 'no cell but a number that cannot be had is empty' awk -F'\t' '{ for (i = 1; i <= NF; i++) if ($i == "" && i != 8) { print; bad = 1 } } END { exit bad }' csv.cells

# ---- verdicts -------------------------------------------------------------------------------------------------------

sed 1d csv.cells >rows
check 'ids are unique' [ -z "$(cut -f7 rows | sort | uniq -d)" ]
verdicts() { # each is what its measured number and its tolerance say
    awk -F'\t' '
        function holds(band, x) {
            if (band ~ /^<= /) return x <= substr(band, 4) + 0
            if (band ~ /^>= /) return x >= substr(band, 4) + 0
            if (band ~ /^= /) return x == substr(band, 3) + 0
            split(band, end, " to ")
            return x >= end[1] + 0 && x <= end[2] + 0
        }
        { split($9, band, "; near: ")
          want = "does not reproduce"
          if ($8 == "") want = "not measured"
          else if (holds(band[1], $8 + 0)) want = "reproduced"
          else if (holds(band[2], $8 + 0)) want = "reproduced with a difference"
          if ($5 != want) { print $7 ": " $5 ", not " want " by " $8 ", " $9; bad = 1 } }
        END { exit bad || NR == 0 }' rows
}
check 'each verdict follows from measured and tolerance' verdicts
count() { awk -F'\t' -v verdict="$1" '$5 == verdict { n++ } END { print n + 0 }' rows; }
check 'the counts are those of the rows' grep -qF "$(wc -l <rows | tr -d ' ') claims: $(count reproduced) reproduced, \
$(count 'reproduced with a difference') reproduced with a difference, $(count 'does not reproduce') do not reproduce" printed
check 'every claim is on the terminal' sh -c 'cut -f7 rows | while read -r id; do grep -q "^  $id " printed || exit 1; done'
check 'some claims reproduce' [ "$(count reproduced)" -gt 20 ]
check 'some do not' [ "$(count 'does not reproduce')" -gt 5 ]

# ---- figures that do not depend on data -------------------------------------------------------------------------------

fixed() { # ID OURS VERDICT
    check "$1: $2, $3" [ "$(cell rows "$1" 4) / $(cell rows "$1" 5)" = "$2 / $3" ]
}
yes=reproduced differs='reproduced with a difference' no='does not reproduce'
fixed size-7b '4 B, 28 GB' "$yes"
fixed digits-fp32 7.22 "$yes"
fixed digits-int8 2.41 "$yes"
fixed scale-255 '0.003922 = 1/255.0' "$yes"
fixed zero-formula '100.000% of 100000 random ranges' "$yes"
fixed distinct-codes 255 "$differs"
fixed half-step '0.50001 s, the worst of 1000 ranges' "$yes"
fixed error-spread '0.2889 s' "$yes"
fixed ladder-fp32 '4 B, 28 GB' "$yes"
fixed ladder-fp16 '2 B, 14 GB' "$yes"
fixed ladder-bf16 '2 B, 14 GB' "$yes"
fixed ladder-int8 '1.0005 B, 7.003 GB' "$yes"
fixed ladder-int4 '0.50049 B, 3.503 GB' "$yes"
fixed ladder-q4_k '0.5625 B, 3.938 GB' "$differs"
fixed fp16-bits '5, 10' "$yes"
fixed fp16-overflow '65504 is the largest, infinity from 65520 on' "$yes"
fixed bf16-bits '8, 7' "$yes"
fixed bf16-range '76.46 decades, fp32 76.46, fp16 9.0' "$yes"
fixed bf16-precision "8.0 x fp16's (0.389% against 0.049%)" "$yes"
fixed zero-point-6 -128 "$yes"
fixed five-codes '-105, -27, 0, 57, 127' "$yes"
fixed five-values '-0.4217, -0.1084, 0.0000, 0.2289, 0.5100' "$differs"
fixed five-error 0.0017 "$differs"
fixed five-consistent 0.0016 "$differs"
fixed numpy-scales '0.00308, 0.00549, 0.00323, 0.00238' "$no"
fixed numpy-error 0.0024 "$no"
fixed numpy-consistent 0.0035 "$yes"
fixed lowest-code '-127, lowest of 640000 weights' "$differs"
fixed parameters-built '35594 in 128-256-10' "$no"
fixed parameters-counted '101770 in 784-128-10' "$yes"
fixed int8-parameters '101632 weights + 138 biases = 101770' "$no"
fixed int8-words '101632 / 4 + 138 = 25546' "$differs"
fixed outlier-scale '10.00 x' "$yes"
fixed outlier-error '10.10 x' "$yes"
fixed outlier-asymmetric '5.48 x' "$differs"
fixed outlier-clip '1.00 x' "$yes"
fixed outlier-rows '1 of 8 channels' "$yes"
fixed saturation '100.0% of those above 6, 70.2% of [0, 20]' "$yes"
fixed int8-product '-16256 to 16384' "$yes"
fixed sum-int8 '99.9% of random sums; room for 0 times 127 x 127' "$yes"
fixed sum-int16 '85.2% of random sums; room for 2 times 127 x 127' "$yes"
fixed sum-int32 '16777216 at most, 0.78% of int32; 131071 products fit' "$yes"
check 'what the lesson printed stands beside it' [ "$(cell rows five-values 3)" = '-0.4213, -0.1084, 0.0000, 0.2288, 0.5098' ]

# ---- figures that do: what has to hold on any data set ----------------------------------------------------------------

between() { awk -v x="$1" -v lo="$2" -v hi="$3" 'BEGIN { exit !(x != "" && x + 0 >= lo && x + 0 <= hi) }'; }
measured() { cell rows "$1" 8; }
size() { wc -c <"$1" | tr -d ' '; }
models=r/models/audit
ratio=$(awk -v a="$(size $models/fp32.safetensors)" -v b="$(size $models/int8-per-channel.safetensors)" 'BEGIN { print a / b }')
check 'exercise-size is that of the files' between "$(measured exercise-size)" "$(awk -v r="$ratio" 'BEGIN { print r - 0.001 }')" "$(awk -v r="$ratio" 'BEGIN { print r + 0.001 }')"
check 'relu-codes: half, and no more, lie below 0' between "$(measured relu-codes)" 49.99 50.01
check 'int4-error-of-range: near 1 / (7 sqrt(12))' between "$(measured int4-error-of-range)" 3 5
check 'int4 loses more weight than int8' between "$(measured int8-error-channel)" 0 "$(measured int4-error-channel)"
check 'drift: the twin is nearer than a fresh network' between "$(measured drift-twin)" 0.0001 "$(measured drift-fresh)"
check 'the listing too' between "$(measured listing-drift-twin)" 0.0001 "$(measured listing-drift-fresh)"
check 'network-int16 is no more than network-int8' between "$(measured network-int16)" 0 "$(measured network-int8)"

# ---- the commands of the column -----------------------------------------------------------------------------------------

check 'claims without data name no data' [ -z "$(awk -F'\t' '$10 ~ /^mnistq audit --only / && $10 != "mnistq audit --only " $7 { print }' rows)" ]
again() { # every claim without data gives the same on its own; int8-units is timed
    awk -F'\t' '$10 ~ /^mnistq audit --only / && $7 != "int8-units" { print $7 }' rows >free
    while read -r id; do
        sh -c "$(cell rows "$id" 10)" >one </dev/null || return 1
        grep -qF -e "$(cell rows "$id" 4)" one || { echo "$id"; cat one; return 1; }
    done <free
    [ "$(wc -l <free)" -gt 35 ]
}
check 'each claim without data, by its own command' again
check 'a claim with data, by its own command' sh -c "$(cell rows weight-band 10)"
check_grep "$(cell rows weight-band 8 | cut -c1-6)" "$TMP/out" '... the same number'
check 'the command of the sizes' sh -c "$(cell rows exercise-size 10)"
check_grep "$(size $models/fp32.safetensors)" "$TMP/out" '... the same bytes'
check 'the command of the accuracies' sh -c "$(cell rows exercise-drop 10)"
cp r/audit.csv before.csv
check '--only leaves the table alone' audit --results r --only exercise-drop
check '... it does' cmp before.csv r/audit.csv
check '--only without data asks for none' mnistq audit --data nowhere --results none --only scale-255
check '... and writes nothing' [ ! -e none ]

name='--json is audit.csv'
if [ -n "$json" ]; then
    audit --results r2 --json >audit.json
    json_cells audit.json >json.cells
    csv_cells r2/audit.csv | sed 1d >csv.cells
    without_measured json.cells >a
    without_measured csv.cells >b
    check "$name" diff a b
    check 'another run: the same files' diff -r r/models r2/models
    timed="$tab(speed-.*|int8-units)\$"
    cut -f4,5,7 rows | grep -vE "$timed" >a
    cut -f4,5,7 csv.cells | grep -vE "$timed" >b
    check 'another run: the same figures, speeds apart' cmp a b
else
    skip "$name" 'there is neither jq nor python3'
fi

# ---- wrong use ------------------------------------------------------------------------------------------------------------

check '--help' mnistq audit --help
check_grep '^usage: mnistq audit ' "$TMP/out" '--help: usage'
check 'mnistq --help lists it' sh -c "mnistq --help | grep -q '^  audit '"
one_line() { [ "$(wc -l <line)" -eq 1 ] && grep -q '^mnistq: ' line && grep -qF -e "$wrong_text" line; }
wrong() { # STATUS TEXT ARGUMENT...: one line on stderr that holds TEXT, nothing written
    wrong_status=$1 wrong_text=$2
    shift 2
    check_status "$wrong_status" "audit $*" mnistq audit --results wrong "$@"
    cp "$TMP/err" line
    check "... one line with $wrong_text" one_line
    check '... no table' [ ! -e wrong/audit.csv ]
}
wrong 2 '"nonsense"' --only nonsense
wrong 2 '--frobnicate' --frobnicate
wrong 2 '"more"' more
wrong 2 '--seeds' --seeds 0
wrong 2 'needs a value' --only
wrong 2 '--hidden' --hidden 0
wrong 1 'nowhere' --data nowhere
wrong 1 '1500' --data idx --calibration 1501
touch file
check_status 1 '--results that is a file' audit --results file
check 'no half-written file is left' [ -z "$(find . -name '*.partial*')" ]

tap_done
