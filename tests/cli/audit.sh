#!/bin/sh
# TAP tests of `mnistq audit` on a small set of built-in digits. From the root of the repository:
#   BUILD=build sh tests/cli/audit.sh
# shellcheck disable=SC2317,SC2016 # functions are called through check; programs for awk and sh hold dollars

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 1500 300 20 16
make_digits "$TMP/idx2" 1200 300 20 16
cd "$TMP" || exit 1
PATH=$BUILD:$PATH # the commands of the table are run as they stand

audit() { mnistq audit --data idx --hidden 32,16 --seeds 2 "$@"; }

# ---- the three forms of the table, as lines of cells between tabs ------------------------------------------------

md_rows() { # FILE: a bar within a cell is \|
    grep '^| ' "$1" | awk 'NR > 2 { gsub(/\\\|/, "\001"); gsub(/ *\| */, "\t"); gsub(/\001/, "|"); print substr($0, 2, length($0) - 2) }'
}
# id, part, claim, claimed, ours, verdict, explanation, measured, tolerance, command
cell() { awk -F'\t' -v id="$2" -v column="$3" '$1 == id { print $column }' "$1"; } # CELLS ID COLUMN

check 'audit' audit --results r
cp "$TMP/out" printed
cp "$TMP/err" said
tr -s ' \n' ' ' <printed >unwrapped
check_grep '^  [0-9]+ claims: [0-9]+ do not reproduce, ' printed 'the terminal shows the counts'
csv_rows r/audit.csv >rows
md_rows r/audit.md >md.rows
check 'audit.md is audit.csv' diff md.rows rows
check 'ten cells in each line' awk -F'\t' 'NF != 10 { print; bad = 1 } END { exit bad || NR < 70 }' rows
check 'the command, the data and their checksum stand below' [ "$(grep -cE '^# (command: mnistq audit --data idx|data: idx .* 1500 training|data SHA-256: [0-9a-f]{64})' r/audit.csv)" -eq 3 ]
check 'no cell but a number that cannot be had is empty' awk -F'\t' '{ for (i = 1; i <= NF; i++) if ($i == "" && i != 8) { print; bad = 1 } } END { exit bad }' rows

# ---- verdicts -------------------------------------------------------------------------------------------------------

check 'ids are unique' [ -z "$(cut -f1 rows | sort | uniq -d)" ]
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
          else if ($9 == "-") want = "not tested here"
          else if (holds(band[1], $8 + 0)) want = "reproduced"
          else if (holds(band[2], $8 + 0)) want = "reproduced with a difference"
          if ($6 != want) { print $1 ": " $6 ", not " want " by " $8 ", " $9; bad = 1 } }
        END { exit bad || NR == 0 }' rows
}
check 'each verdict follows from measured and tolerance' verdicts
count() { awk -F'\t' -v verdict="$1" '$6 == verdict { n++ } END { print n + 0 }' rows; }
check 'the counts are those of the rows' grep -qF "$(wc -l <rows | tr -d ' ') claims: $(count 'does not reproduce') do not reproduce, \
$(count 'reproduced with a difference') reproduced with a difference, $(count reproduced) reproduced, $(count 'not tested here') not tested here, 0 not measured." unwrapped
check 'fp16 arithmetic is not tested here' [ "$(cell rows speed-fp16 6)" = 'not tested here' ]
check 'every claim that does not reproduce is on the terminal' sh -c \
    'awk -F"\t" "\$6 == \"does not reproduce\" { print \$1 }" rows | while read -r id; do grep -q "^  $id " printed || exit 1; done'
check '... and the others are told to be in the files' grep -q 'more rows in the files' printed
check 'some claims reproduce' [ "$(count reproduced)" -gt 20 ]
order() { awk -F'\t' '{ turn = $6 == "does not reproduce" ? 1 : $6 == "not measured" ? 2 : $6 == "not tested here" ? 3 : 4; if (turn < last) bad = 1; last = turn } END { exit bad }' rows; }
check 'what does not reproduce comes first' order
check_no_grep '(^|[^a-z])-?nan' r/audit.csv 'no nan'
check 'some do not' [ "$(count 'does not reproduce')" -gt 5 ]

# ---- figures that do not depend on data -------------------------------------------------------------------------------

fixed() { # ID OURS VERDICT
    check "$1: $2, $3" [ "$(cell rows "$1" 5) / $(cell rows "$1" 6)" = "$2 / $3" ]
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
fixed ladder-q4_k '0.60539 B, 4.238 GB' "$differs"
fixed fp16-bits '5, 10' "$yes"
fixed fp16-overflow '65504 is the largest, infinity from 65520 on' "$yes"
fixed bf16-bits '8, 7' "$yes"
fixed bf16-range '1.000 (76.46 decades, fp32 76.46, fp16 9.0)' "$yes"
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
fixed int8-parameters '101770 = 101632 weights + 138 biases' "$no"
fixed int8-words '25546 = 101632 / 4 + 138' "$differs"
fixed outlier-scale '10.00 x' "$yes"
fixed outlier-error '10.05 x' "$yes"
fixed outlier-asymmetric '5.49 x' "$differs"
fixed outlier-clip '1.00 x' "$yes"
fixed outlier-rows '1.00 x in other channels, 10.07 x in its own' "$yes"
fixed saturation '100.0% of those above 6, 70.2% of [0, 20]' "$yes"
fixed int8-product '16384, the lowest -16256' "$yes"
fixed sum-int8 '99.9% of random sums; room for 0 times 127 x 127' "$yes"
fixed sum-int16 '85.2% of random sums; room for 2 times 127 x 127' "$yes"
fixed sum-int32 '0.78% of int32: 16777216 at most; 131071 products fit' "$yes"
check 'what the lesson printed stands beside it' [ "$(cell rows five-values 4)" = '-0.4213, -0.1084, 0.0000, 0.2288, 0.5098' ]

# ---- figures that do: what has to hold on any data set ----------------------------------------------------------------

between() { awk -v x="$1" -v lo="$2" -v hi="$3" 'BEGIN { exit !(x != "" && x + 0 >= lo && x + 0 <= hi) }'; }
measured() { cell rows "$1" 8; }
size() { wc -c <"$1" | tr -d ' '; }
models=r/models
ratio=$(awk -v a="$(size $models/fp32.safetensors)" -v b="$(size $models/int8-per-channel.safetensors)" 'BEGIN { print a / b }')
check 'exercise-size is that of the files' between "$(measured exercise-size)" "$(awk -v r="$ratio" 'BEGIN { print r - 0.001 }')" "$(awk -v r="$ratio" 'BEGIN { print r + 0.001 }')"
check 'relu-codes: half, and no more, lie below 0' between "$(measured relu-codes)" 49.99 50.01
check 'int4-error-of-range: near 1 / (7.5 sqrt(12))' between "$(measured int4-error-of-range)" 3 5
check 'int4 loses more weight than int8' between "$(measured int8-error-channel)" 0 "$(measured int4-error-channel)"
check 'drift: the twin is nearer than a fresh network' between "$(measured drift-twin)" 0.0001 "$(measured drift-fresh)"
check 'the listing too' between "$(measured listing-drift-twin)" 0.0001 "$(measured listing-drift-fresh)"
check 'network-int16 is no more than network-int8' between "$(measured network-int16)" 0 "$(measured network-int8)"

# ---- the commands of the column -----------------------------------------------------------------------------------------

again() { # each claim that needs no data gives the same on its own; int8-units is timed
    awk -F'\t' '$10 ~ /^mnistq audit --only / && $1 != "int8-units" { print $1 }' rows >free
    while read -r id; do
        sh -c "$(cell rows "$id" 10) --json --data nowhere --results free-r" >one 2>/dev/null </dev/null || return 1
        grep -qF -e "\"$(cell rows "$id" 5)\"" one || { echo "$id"; cat one; return 1; }
    done <free
    [ "$(wc -l <free)" -gt 30 ]
}
check 'each claim without data, by its own command' again
check '... leaves arithmetic, and no table audit' [ "$(echo free-r/*.csv)" = free-r/arithmetic.csv ]
check 'a claim names the study that its number is from' [ "$(cell rows most-answers 10)" = 'mnistq exercise --hidden=32,16 --data idx --results r' ]
cp r/audit.csv before.csv
check '--only' audit --results r --only exercise-drop
check_grep 'exercise-drop  *MNIST' "$TMP/out" '... shows the claim'
check '... and leaves the table alone' cmp before.csv r/audit.csv

audit --results r --json >audit.json 2>told
json_rows audit.json id,part,claim,claimed,ours,verdict,explanation,tolerance,command >a
cut -f1-7,9,10 rows >b
check '--json is audit.csv' diff a b

# ---- which studies run -----------------------------------------------------------------------------------------------

check_grep '^r/exercise.csv is missing: mnistq exercise --hidden=32,16 --data idx --results r$' said 'what runs is told, with why'
check_grep '^r/ladder.csv is missing: mnistq ladder --seeds 2 ' said '... the ladder, over as many seeds'
check '... each study once, and nothing else' [ "$(grep -c '^r/.* is missing: ' said)/$(wc -l <said)" = 6/6 ]
check_grep '^# command: mnistq sweep --seeds 2 --hidden=32,16 --data idx --results r$' r/sweep.csv 'a table has the command that made it'
same_cells() { csv_rows r/audit.csv >x && cmp x rows; }
quiet() { # ARGUMENT...: nothing has to run
    mnistq audit --data idx --results r "$@" >shown 2>told && [ ! -s told ]
}
check 'a second time nothing runs' quiet --hidden 32,16
check 'tables made with options are read where none are given' quiet
check '... and give the same' same_cells

rerun() { # WHY TABLE ARGUMENT...: the study runs again, and says why
    why=$1 table=$2
    shift 2
    mnistq audit --data idx --results r2 --seeds 2 "$@" >shown 2>told && grep -q "^r2/$table.csv $why: " told
}
cp -Rp r r2
touch -t 200001010000 r2/sweep.csv
rm r2/arithmetic.csv
check 'a table older than the program is made again' rerun 'is older than the program' sweep --hidden 32,16
check '... a missing one is made' grep -q '^r2/arithmetic.csv is missing: ' told
check '... and no other' [ "$(wc -l <told)" -eq 2 ]
same_rows() { grep -v '^#' "$1" >a && grep -v '^#' "$2" >b && cmp a b; }
check '... with the same numbers' same_rows r/sweep.csv r2/sweep.csv
echo '"' >>r2/exercise.csv
check 'a table that cannot be read is made again' rerun 'cannot be read' exercise --only exercise-size
check 'a table made with other options is made again' rerun 'was made with other options' exercise --only exercise-size --hidden=16
check '... with those' grep -q '^# command: mnistq exercise --hidden=16 ' r2/exercise.csv
check 'a table of other data is made again' rerun 'is of other data' exercise --only exercise-size --data idx2
check 'networks follow the exercise' rerun 'is older than exercise.csv' networks --only drift-twin --data idx2

# ---- reading alone ---------------------------------------------------------------------------------------------------------

read_alone() { mnistq audit --no-run --data nowhere --results "$1" >shown 2>told && [ ! -s told ]; }
check '--no-run reads what is there, without data' read_alone r
csv_rows r/audit.csv >rows
check '... all of it' [ "$(count 'not measured')" -eq 0 ]
long=$(printf '%0150d' 0)
cp -R r "$long"
check '... also from a folder of a long name' read_alone "$long"
csv_rows "$long/audit.csv" >rows
check '... all of it' [ "$(count 'not measured')" -eq 0 ]
rm r/ladder.csv
check '--no-run without a table' read_alone r
csv_rows r/audit.csv >rows
check '... its claims are not measured' [ "$(cell rows int8-error-channel 6)/$(cell rows int8-error-channel 8)" = 'not measured/' ]
check '... with what is missing' sh -c 'grep -q "r/ladder.csv" rows'
check '... the others are' [ "$(cell rows exercise-size 6)" != 'not measured' ]
check '... and every one has a verdict of its number' verdicts
check_no_grep '(^|[^a-z])-?nan' r/audit.csv 'no nan'
int8_bytes() { # BYTES: of the exercise's int8 file, in its table
    awk -F, -v OFS=, -v bytes="$1" '$2 == "per-channel" { $4 = bytes } { print }' r/exercise.csv >x && cp x r/exercise.csv
    read_alone r && csv_rows r/audit.csv >rows
}
fp32_bytes=$(awk -F, '$1 == "fp32" { print $4 }' r/exercise.csv)
check 'a doctored table' int8_bytes $((fp32_bytes / 4))
fixed exercise-size "4.000 ($fp32_bytes / $((fp32_bytes / 4)) bytes)" "$yes"
check 'a doctored table, smaller' int8_bytes $((fp32_bytes / 9))
check '... flips the verdict' [ "$(cell rows exercise-size 6)" = "$no" ]
check '... which then stands with those that do not reproduce' awk -F'\t' -v no="$no" '$6 != no { over = 1 } $1 == "exercise-size" { bad = over } END { exit bad }' rows
check 'a doctored table, empty' int8_bytes ''
check '... is not measured' [ "$(cell rows exercise-size 6)" = 'not measured' ]
check_grep 'is no number' r/audit.csv '... and says so'
check 'a doctored table, 0' int8_bytes 0
check_grep 'a division by 0' r/audit.csv '... says so'
printf 'format,x\n1\n' >r/exercise.csv
check 'a broken table' read_alone r
check_grep 'r/exercise.csv, line 2: 1 cells, the header has 2' r/audit.csv '... is not read, and the line is named'

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
