# The one reader of our CSV tables for scripts (RFC 4180: cells in quotes may hold commas, "" and line ends; a line with #
# is a comment). Prints, tab-separated, a line for each row that is asked for:
#   awk [-v row=N] [-v where=COLUMN=VALUE,...] [-v columns=NAME,...] [-v header=1] -f scripts/csv.awk FILE
# row counts from 1; where keeps the rows that have these texts; without columns all are printed, with header their names
# first. It fails when a column is not there, or no row is found.

function split_row(line, into,   n, cell, c, i, quoted) {
    n = 1
    into[1] = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        if (c == "\"" && quoted && substr(line, i + 1, 1) == "\"") { into[n] = into[n] c; i++ }
        else if (c == "\"") quoted = !quoted
        else if (c == "," && !quoted) into[++n] = ""
        else into[n] = into[n] c
    }
    return quoted ? 0 : n
}
function number_of(name) {
    if (name in place) return place[name]
    printf "%s: there is no column %s\n", FILENAME, name > "/dev/stderr"
    failed = 1
    exit 1
}
function show(from,   i, line) {
    for (i = 1; i <= shown; i++) line = line (i > 1 ? "\t" : "") from[show_place[i]]
    print line
}

{ sub(/\r$/, "") }
held == "" && (/^#/ || /^$/) { next }
{
    line = held == "" ? $0 : held "\n" $0
    held = ""
    cells = split_row(line, cell)
    if (!cells) { held = line; next }
}
!names {
    names = cells
    for (i = 1; i <= cells; i++) { place[cell[i]] = i; show_place[i] = i }
    shown = names
    if (columns != "") {
        shown = split(columns, wanted, ",")
        for (i = 1; i <= shown; i++) show_place[i] = number_of(wanted[i])
    }
    conditions = split(where, condition, ",")
    for (i = 1; i <= conditions; i++) {
        at = index(condition[i], "=")
        test_place[i] = number_of(substr(condition[i], 1, at - 1))
        test_text[i] = substr(condition[i], at + 1)
    }
    if (header) show(cell)
    next
}
{
    rows++
    if (row && rows != row) next
    for (i = 1; i <= conditions; i++) if (cell[test_place[i]] "" != test_text[i] "") next
    found++
    show(cell)
}
END { exit failed || !found }
