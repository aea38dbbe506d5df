#!/bin/sh
# results.sh write     `make results`: every table of results/reference/NAME anew, NAME being that of DATA's folder. The only
#                      one that writes there.
# results.sh diff      `make results-diff`: the cells of results/NAME that differ from results/reference/NAME, ours beside
#                      yours, without speeds. What may differ is in results/README.md.
set -u
cd "$(dirname "$0")/.." || exit 1
name=$(basename "${DATA:-data/mnist}")
ours=results/reference/$name

write() {
    run() { ${MAKE:-make} --no-print-directory "$@" RESULTS="$ours" || exit 1; }
    # The audit reads what the others wrote.
    run mnist && run sweep SEEDS=10 && run recipe && run ladder LADDER_SEEDS=5 && run ladder-narrow LADDER_SEEDS=5 &&
        run ladder-wide LADDER_SEEDS=3 && run mixed LADDER_SEEDS=5 && run pitfalls && run compare && run trace IMAGE=18 &&
        run histogram &&
        run bench && { (run bench-peers) || echo "the peers are left as they were"; } && run audit
}

diff_tables() {
    yours=${RESULTS:-results/$name}
    [ -d "$yours" ] || {
        echo "results.sh: $yours: not there (make mnist writes it)" >&2
        exit 1
    }
    for table in "$ours"/*.csv; do
        mine=$yours/${table##*/}
        [ -e "$mine" ] || continue
        for file in "$table" "$mine"; do awk -v header=1 -f scripts/csv.awk "$file"; done | awk -F '\t' -v table="${table##*/}" '
            NR == 1 { for (i = 1; i <= NF; i++) { title[i] = $i; place[$i] = i }; columns = NF; first = $0; next }
            !second && $0 ~ "^" title[1] "(\t|$)" { second = 1; for (i = 1; i <= NF; i++) other[i] = ($i in place) ? place[$i] : 0; next }
            !second { rows++; for (i = 1; i <= NF; i++) cell[rows, i] = $i; next }
            {
                row++
                for (i = 1; i <= NF; i++) {
                    at = other[i]
                    if (!at || title[at] ~ /second|speed|gops|peak|_us$|spread|path|ms$/) continue
                    all++
                    if (cell[row, at] != $i) { differ++; if (differ <= 5) lines = lines sprintf("    row %d %s: ours %s, yours %s\n", row, title[at], cell[row, at], $i) }
                }
            }
            END {
                if (rows != row) counts = "; ours has " rows + 0 " row" (rows == 1 ? "" : "s") ", yours " row + 0
                printf "%-28s %d of %d cell%s differ%s\n%s", table, differ, all, (all == 1 ? "" : "s"), counts, lines
                if (differ > 5) print "    ..."
            }'
    done
}

case ${1-} in
write) write ;;
diff) diff_tables ;;
*)
    echo "usage: scripts/results.sh write|diff" >&2
    exit 2
    ;;
esac
