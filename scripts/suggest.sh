#!/bin/sh
# suggest.sh WORD KNOWN...: prints "; did you mean NEAREST?" when a known word is at most two edits from WORD (a third of
# its letters), else the known ones. Edits are letters changed, left out, put in; case does not count.
word=$1
shift
printf '%s\n' "$@" | awk -v word="$word" '
    function distance(a, b, row, above, corner, i, j, best) {
        for (j = 0; j <= length(b); j++) row[j] = j
        for (i = 1; i <= length(a); i++) {
            corner = row[0]
            row[0] = i
            for (j = 1; j <= length(b); j++) {
                above = row[j]
                best = corner + (substr(a, i, 1) != substr(b, j, 1))
                if (above + 1 < best) best = above + 1
                if (row[j - 1] + 1 < best) best = row[j - 1] + 1
                row[j] = best
                corner = above
            }
        }
        return row[length(b)]
    }
    BEGIN { nearest = 1 + (length(word) > 4 ? 2 : 1) }
    { all = all " " $0; d = distance(tolower(word), tolower($0)); if (d < nearest) { nearest = d; found = $0 } }
    END { if (found != "") print "; did you mean " found "?"; else print ", there are:" all }'
