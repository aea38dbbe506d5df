#!/bin/sh
# TAP tests of scripts/readme_check.sh: the README's figures are those of results/reference, and a wrong one is found; and of
# scripts/results.sh. From the root of the repository:
#   sh tests/cli/readme.sh
# shellcheck disable=SC2317 # functions are only called through check

. tests/cli/tap.sh

readme_check() { sh scripts/readme_check.sh "$TMP/page.md"; }
page() { cat >"$TMP/page.md"; }
table=results/reference/mnist/exercise.csv
csv_rows $table >/dev/null || tap_bail "$table: not there"
bytes=$(csv_find $table granularity=per-tensor file_bytes) accuracy=$(csv_find $table granularity=per-tensor accuracy_percent)

check "the README's figures are those of the tables" sh scripts/readme_check.sh README.md
check_grep '^[1-9][0-9]* figures checked, 0 wrong$' "$TMP/out" '... so many'

commas() { echo "$1" | sed -e ':a' -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/' -e 'ta'; }
page <<END
| int8 | $(commas "$bytes") | $accuracy% <!-- ${table}[granularity=per-tensor].file_bytes, .accuracy_percent --> |
about ${accuracy%.*}.${accuracy#*.} of 100 <!-- ${table}[granularity=per-tensor].accuracy_percent, .n --> and so on
a figure in the line above: $bytes
<!-- ${table}[format=int8,granularity=per-tensor].file_bytes --> goes on
END
sed -i.old 's/of 100 /of 10,000 /' "$TMP/page.md"
check 'figures as one writes them' readme_check
check_grep '^5 figures checked, 0 wrong$' "$TMP/out" '... all are checked'

wrong() { # NAME PATTERN <page
    page
    check_status 1 "$1" readme_check
    check_grep "$2" "$TMP/out" '... is told'
}
wrong 'a wrong figure' "page.md:1: 9$bytes, but .*file_bytes is $bytes" <<END
9$bytes <!-- ${table}[granularity=per-tensor].file_bytes -->
END
wrong 'one of two is wrong' '2 figures checked, 1 wrong' <<END
| $bytes | 12.34 <!-- ${table}[granularity=per-tensor].file_bytes, .accuracy_percent --> |
END
wrong 'a sign' 'but ' <<END
+0.07 <!-- ${table}[granularity=per-tensor].change -->
END
wrong 'a cell that is not there' 'no such cell' <<END
$bytes <!-- ${table}[granularity=per-row].file_bytes -->
END
wrong 'a table that is not there' 'no such cell' <<END
$bytes <!-- results/reference/mnist/none.csv[granularity=per-row].file_bytes -->
END
wrong 'no figure before the comment' 'nothing, but' <<END
words <!-- ${table}[granularity=per-tensor].file_bytes -->
END
wrong 'a page without figures' 'no figure of the page' <<END
words
END

# ---- ours and yours -----------------------------------------------------------------------------------------------------

mkdir "$TMP/yours"
sed 's/^int8,per-tensor\(.*\)$/int8,per-row\1/' $table >"$TMP/yours/exercise.csv"
cp results/reference/mnist/layers.csv "$TMP/yours"
check 'results-diff' env RESULTS="$TMP/yours" sh scripts/results.sh diff
check_grep '^exercise.csv +1 of [0-9]+ cells differ$' "$TMP/out" '... counts what differs'
check_grep 'row 3 granularity: ours per-tensor, yours per-row' "$TMP/out" '... and shows it'
check_grep '^layers.csv +0 of [0-9]+ cells differ$' "$TMP/out" '... and what is the same'
sed 2d results/reference/mnist/layers.csv >"$TMP/yours/layers.csv"
check 'results-diff with a row less' env RESULTS="$TMP/yours" sh scripts/results.sh diff
check_grep "^layers.csv .* differ; ours has 6 rows, yours 5\$" "$TMP/out" '... says whose rows are how many'
check_no_grep '^sweep' "$TMP/out" '... leaving out what is not there'
check_status 1 'results-diff without tables of yours' env RESULTS="$TMP/none" sh scripts/results.sh diff
tap_done
