#!/bin/sh
# `make mutants`: does a test fail for each fault? Puts the faults of mutants.txt into a copy of src, one at a time, builds
# the tests named there and runs them. One that passes all of them has survived, and fails the run; so does one whose text
# does not stand in src exactly once, or that does not compile.
#   BUILD=build sh tests/mutants/run.sh [WORD]    only those with WORD in their names
set -u
cd "$(dirname "$0")/../.." || exit 1
word=${1-}
table=$PWD/tests/mutants/mutants.txt
tree=$PWD/${BUILD:-build}/mutants
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
[ -z "${CPPFLAGS-}" ] || export CPPFLAGS

# A copy in which what is built stays from one run of this to the next: only files that differ are copied.
parts=$(ls -d Makefile *.mk src include examples tests scripts 2>/dev/null)
mkdir -p "$tree" || exit 1
# shellcheck disable=SC2086 # several names
find $parts -type f | while read -r file; do
    cmp -s "$file" "$tree/$file" || { case $file in */*) mkdir -p "$tree/${file%/*}" ;; esac; cp "$file" "$tree/$file"; }
done
# shellcheck disable=SC2086
(cd "$tree" && find $parts -type f 2>/dev/null) | while read -r file; do [ -e "$file" ] || rm "$tree/$file"; done
cd "$tree" || exit 1
build() { make -s BUILD=built CFLAGS='-O1' "$@" >log 2>&1; } # TARGET...

awk -v word="$word" '
    function tell() { if (name != "" && index(name, word)) printf "%s\t%s\t%s\t%s\n", name, suites, old, new; name = "" }
    /^(#|$)/ { tell(); next }
    /^- / { old = substr($0, 3); next }
    /^[+] / { new = substr($0, 3); next }
    { name = $1; suites = $0; sub(/^[^ ]+ */, "", suites); old = new = "" }
    END { tell() }' "$table" >list
[ -s list ] || {
    echo "no mutant is called *$word*"
    exit 1
}
tests=$(cut -f 2 list | tr ' ' '\n' | sort -u)
# shellcheck disable=SC2086,SC2046 # several names
build -j2 $(printf 'built/tests/%s ' $tests) || {
    cat log
    exit 1
}
for test in $tests; do
    "built/tests/$test" >log 2>&1 </dev/null || {
        echo "$test fails without a mutant"
        exit 1
    }
done

limit=
if timeout -k 5 1 true 2>/dev/null; then limit='timeout -k 5 60'; fi
caught=0 wrong=0
say() { printf '%-34s %s\n' "$name" "$*"; }
fault() {
    say "$@"
    wrong=$((wrong + 1))
}
while IFS='	' read -r name suites old new; do
    files=$(grep -rlF -e "$old" src)
    if [ -z "$files" ] || [ "$(grep -rhcF -e "$old" src | awk '{ n += $1 } END { print n }')" -ne 1 ]; then
        fault "its text does not stand in src exactly once: ${files:-nowhere}"
        continue
    fi
    cp "$files" original
    OLD=$old NEW=$new awk '{ at = index($0, ENVIRON["OLD"])
        print at ? substr($0, 1, at - 1) ENVIRON["NEW"] substr($0, at + length(ENVIRON["OLD"])) : $0 }' original >"$files"
    by=
    # shellcheck disable=SC2086,SC2046 # several names
    if build $(printf 'built/tests/%s ' $suites); then
        for test in $suites; do
            $limit "built/tests/$test" >log 2>&1 </dev/null || by="$by $test"
        done
        if [ -n "$by" ]; then
            say "caught by$by"
            caught=$((caught + 1))
        else
            fault "SURVIVED $suites: $files"
        fi
    else
        fault "does not compile: $(grep -m 1 'error:' log)"
    fi
    cp original "$files"
done <list
echo "$caught caught, $wrong not"
[ $wrong -eq 0 ]
