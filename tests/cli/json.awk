# Reads JSON. Prints a line for each value, its path and a tab before it: "rows[0].format<TAB>int8". Texts are printed
# without their quotes, escapes as they stand but for \" and \\; empty lists and objects print [] and {}. With -v types=1
# texts keep their quotes, which tells "1" from 1. Fails, saying where, on what is not JSON.
#   awk -f tests/cli/json.awk FILE

function fail(what) {
    if (!failed) printf "not JSON: %s expected at character %d, found \"%s\"\n", what, at, substr(text, at, 20) > "/dev/stderr"
    failed = 1
    exit 1
}
function blank() { while (substr(text, at, 1) ~ /^[ \t\r\n]$/) at++ }
function take(mark) {
    blank()
    if (substr(text, at, 1) != mark) return 0
    at++
    return 1
}
function string(   from, c) {
    if (!take("\"")) fail("a text")
    from = at
    while ((c = substr(text, at, 1)) != "\"") {
        if (c == "" || c ~ /[\001-\037]/) fail("the end of a text")
        if (c == "\\" && substr(text, at + 1, 1) !~ /^["\\\/bfnrtu]$/) fail("an escape")
        if (substr(text, at, 2) ~ /^\\u/ && substr(text, at + 2, 4) !~ /^[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]$/)
            fail("four digits")
        at += c == "\\" ? 2 : 1
    }
    at++
    return substr(text, from, at - 1 - from)
}
function plain(t) {
    if (types) return "\"" t "\""
    gsub(/\\"/, "\"", t)
    gsub(/\\\\/, "\\", t)
    return t
}
function value(path,   name, n, word) {
    blank()
    if (take("{")) {
        if (take("}")) { print path "\t{}"; return }
        do {
            name = string()
            if (!take(":")) fail(":")
            value(path (path == "" ? "" : ".") name)
        } while (take(","))
        if (!take("}")) fail(", or }")
    } else if (take("[")) {
        if (take("]")) { print path "\t[]"; return }
        do value(path "[" n++ + 0 "]"); while (take(","))
        if (!take("]")) fail(", or ]")
    } else if (substr(text, at, 1) == "\"") print path "\t" plain(string())
    else if (match(substr(text, at, 64), /^(true|false|null|-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?)/)) {
        word = substr(text, at, RLENGTH)
        at += RLENGTH
        print path "\t" word
    } else fail("a value")
}
{ text = text $0 "\n" }
END {
    if (failed) exit 1
    at = 1
    value("")
    blank()
    if (at <= length(text)) fail("the end")
}
