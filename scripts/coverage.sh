#!/bin/sh
# coverage.sh BUILD: what the tests ran of src, from the counts that a build with --coverage left in BUILD. A line for each
# room, then the files with the most lines that never ran. `make coverage` calls it.
set -u
build=$1
gcov=${GCOV:-gcov}
command -v "$gcov" >/dev/null || {
    echo "coverage.sh: there is no $gcov" >&2
    exit 1
}
find "$build/obj/src" -name '*.gcno' | while read -r notes; do
    "$gcov" -b -n -o "${notes%/*}" "$notes" 2>/dev/null
done | awk '
    /^File / { file = $2; gsub(/\047/, "", file); mine = file ~ /^src\/.*[.]c$/; next }
    !mine { next }
    function counts(text,   part) { split(text, part, /[:%]| of /); n = part[4]; done = part[2] / 100 * n }
    function room(   name) { name = file; sub(/^src\//, "", name); return sub(/\/[^\/]*$/, "", name) ? name : "main.c" }
    /^(No calls|Calls executed)/ { mine = 0 }
    /^Lines executed/ { counts($0); lines[room()] += n; ran[room()] += done; missed[file] = int(n - done + 0.5); all = all " " room() }
    /^Taken at least once/ { counts($0); branches[room()] += n; taken[room()] += done }
    /^No executable lines/ { next }
    function share(a, b) { return b ? sprintf("%.1f", 100 * a / b) : "-" }
    function row(name, l, r, b, t) { printf "%-16s %8d %8s %10d %8s\n", name, l, share(r, l), b, share(t, b) }
    END {
        printf "%-16s %8s %8s %10s %8s\n", "room", "lines", "run %", "branches", "taken %"
        n = split(all, names, " ")
        for (i = 1; i <= n; i++) if (!(names[i] in told)) {
            told[names[i]]
            row(names[i], lines[names[i]], ran[names[i]], branches[names[i]], taken[names[i]])
            L += lines[names[i]]; R += ran[names[i]]; B += branches[names[i]]; T += taken[names[i]]
        }
        row("all", L, R, B, T)
        print "\nlines that no test ran:"
        for (i = 1; i <= 10; i++) {
            worst = ""
            for (f in missed) if (missed[f] > 0 && (worst == "" || missed[f] > missed[worst] || (missed[f] == missed[worst] && f < worst))) worst = f
            if (worst == "") break
            printf "%6d  %s\n", missed[worst], worst
            delete missed[worst]
        }
    }'
