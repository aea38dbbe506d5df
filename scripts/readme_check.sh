#!/bin/sh
# readme_check.sh FILE.md...: are the figures of a page those of the tables? CONTRIBUTING.md, "Figures in the README".
# A comment after a figure names its cell:
#     97.76% <!-- results/reference/mnist/exercise.csv[format=int8,granularity=per-channel].accuracy_percent -->
# The last number before it, in its line or the one above (in a table's row: in the row), must be the cell's, rounded to as
# many digits as are shown. Several cells stand in one comment as "FILE[...].a, .b, .c": the last three numbers, in order.
# Fails when one differs, a cell is not there, or a page has no such comment at all.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
for page; do
    awk '
        {
            line = $0
            before = line ~ /^\|/ ? "" : above "\n"
            while (match(line, /<!-- *results\/[^>]*-->/)) {
                before = before substr(line, 1, RSTART - 1)
                comment = substr(line, RSTART + 4, RLENGTH - 7)
                line = substr(line, RSTART + RLENGTH)
                gsub(/^ +| +$/, "", comment)
                file = comment; sub(/\[.*/, "", file)
                where = comment; sub(/^[^[]*\[/, "", where); sub(/\].*/, "", where)
                names = comment; sub(/^[^]]*\]\./, "", names); gsub(/, *\./, ",", names)
                told = before; gsub(/[\t\n]/, " ", told)
                print NR "\t" file "\t" where "\t" names "\t" told
            }
            above = before line
            sub(/^.*\n/, "", above)
        }' "$page" >"${TMPDIR:-/tmp}/readme_check.$$" || exit 1
    while IFS='	' read -r line file where names before; do
        cells=$(awk -v where="$where" -v columns="$names" -f "$root/scripts/csv.awk" "$root/$file" 2>&1) || cells="no such cell: $cells"
        printf '%s\t%s\t%s\t%s\n' "$page:$line" "${file}[$where].$names" "$before" "$cells"
    done <"${TMPDIR:-/tmp}/readme_check.$$" | awk -F '\t' '
        function number(text) { gsub(/,/, "", text); return text }
        # The figure as it would be written from the cell: with as many digits after the point.
        function same(figure, cell,   digits) {
            if (cell !~ /^[-+]?[0-9.]+$/) return 0
            digits = index(figure, ".") ? length(figure) - index(figure, ".") : 0
            return sprintf("%." digits "f", cell + 0) + 0 == figure + 0
        }
        {
            n = split($2, part, /\]\./); wanted = split(part[n], name, ",")
            text = $3; found = 0
            while (match(text, /[-+]?[0-9][0-9,]*([.][0-9]+)?/)) {
                figure = substr(text, RSTART, RLENGTH)
                sub(/,+$/, "", figure)
                figures[++found] = number(figure)
                text = substr(text, RSTART + RLENGTH)
            }
            for (i = 1; i <= wanted; i++) {
                cell = $(3 + i)
                figure = found >= wanted ? figures[found - wanted + i] : "nothing"
                checked++
                if (same(figure, cell)) continue
                wrong++
                printf "%s: %s, but %s: %s is %s\n", $1, figure, $2, name[i], cell
            }
        }
        END {
            if (!checked) print "no figure of the page names its table"
            else printf "%d figures checked, %d wrong\n", checked, wrong
            exit !checked || wrong
        }' || bad=1
    rm -f "${TMPDIR:-/tmp}/readme_check.$$"
done
exit "${bad:-0}"
