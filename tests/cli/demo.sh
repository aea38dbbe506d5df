#!/bin/sh
# TAP tests of `mnistq demo`: numbers that were worked out by hand. From the root of the repository:
#   BUILD=build sh tests/cli/demo.sh
# shellcheck disable=SC2317 # functions are called through check

. tests/cli/tap.sh

tap_program
cells() { # EXPECTED COLUMNS OPTIONS...: the cells of all rows, with spaces between
    want=$1 columns=$2
    shift 2
    "$mnistq" demo --json "$@" >"$TMP/demo.json" && found=$(json_rows "$TMP/demo.json" "$columns" | tr '\t\n' '  ') &&
        { [ "$found" = "$want " ] || { echo "found $found" && return 1; }; }
}
# In floats 2/255 is a little more than that: 1 / scale and the zero point round to 127, 0.5 / scale = 63.75 to 64
check 'asymmetric' cells '191 0.5019608 0 -0.9960785 254 0.9960785' code,read_back --range -1,1 0.5 -9 1
check 'symmetric, 4 bits: scale 0.7 / 7' cells '-3 -0.3 7 0.7 0 0' code,read_back --symmetric --bits 4 -0.3 0.7 0.04
check 'a range of its own' cells '-7 -0.7 4 0.4' code,read_back --symmetric --bits=4 --range=-0.7,0.2 -5 0.44
check 'the bits of bf16' cells '1 01111101 0011010 -0.3007812' bits,read_back --format bf16 -0.3
check 'nf4: quantiles' cells '-0.2844414 1' read_back --format nf4 -0.29 1
check 'a number beyond the format' "$mnistq" demo --format f16 1e5
check_grep 'beyond the largest number of f16' "$TMP/out" '... is told'
check_status 0 'what is outside is said' "$mnistq" demo --range 0,1 2 0.5
check_grep '^ +2 .*clipped' "$TMP/out" '... of the number that is'
check_no_grep '^ +0\.5 .*clipped' "$TMP/out" '... and of no other'
for wrong in x 1e99 nan '' '1 2'; do check_status 2 "no number: '$wrong'" "$mnistq" demo "$wrong"; done
check_status 2 'a range that falls' "$mnistq" demo --range 1,0 0.5
check_status 2 'a format that is none' "$mnistq" demo --format nf44 1
check_grep 'did you mean nf4' "$TMP/err" '... and which was meant'
check_status 2 'an option that is none' "$mnistq" demo --bit 4 -x 1
tap_done
