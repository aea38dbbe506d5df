#!/bin/sh
# TAP tests of scripts/fetch_mnist.sh against a server on this machine. From the root of the repository:
#   HTTP_SERVER=build/tests/http_server sh tests/cli/fetch.sh
# FETCH_SHELL names the shell that runs the script (default sh). No public address is contacted.
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

script=$PWD/scripts/fetch_mnist.sh
server=${HTTP_SERVER:-build/tests/http_server}
shell=${FETCH_SHELL:-sh}
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY MNIST_MIRROR MNIST_SHA256SUMS
[ -x "$server" ] || tap_bail "$server: not there (HTTP_SERVER names the compiled tests/http_server.c)"

# ---- a small fake set, and what is done with it ---------------------------------------------------

names='t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz'
big=train-images-idx3-ubyte.gz
good=$TMP/good
sums=$TMP/SHA256SUMS

sha256() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

mkdir "$good"
for name in $names; do
    case $name in *images*) kib=200 ;; *) kib=3 ;; esac
    dd if=/dev/urandom bs=1024 count=$kib 2>/dev/null | gzip -c >"$good/$name"
done
(cd "$good" && sha256 -- *.gz) >"$sums"
[ "$(wc -l <"$sums")" -eq 4 ] || tap_bail 'cannot make the fake set'

server_pid=
stop_server() {
    [ -n "$server_pid" ] || return 0
    kill "$server_pid" 2>/dev/null
    wait "$server_pid" 2>/dev/null
    server_pid=
}
tap_cleanup() { stop_server; }

serve() { # [OPTION...]: starts the server on the good folder. Sets $url; the requests go to $TMP/log
    stop_server
    : >"$TMP/port"
    "$server" --seconds 120 "$@" "$good" >"$TMP/port" 2>"$TMP/log" &
    server_pid=$!
    tries=0
    until [ -s "$TMP/port" ]; do
        tries=$((tries + 1))
        [ $tries -le 100 ] || tap_bail 'the server does not start'
        sleep 0.1
    done
    url=http://127.0.0.1:$(cat "$TMP/port")
}

fetch() { # MIRROR DIR: with the fake set, and the clients that are in $clients
    MNIST_MIRROR=$1 MNIST_SHA256SUMS=$sums PATH=${clients:-$PATH} "$shell_path" "$script" "$2"
}
shell_path=$(command -v "$shell")
clients=
complete() { # DIR: exactly the four files, with the right bytes, and nothing else
    [ "$(ls -A "$1")" = "$(ls -A "$good")" ] && for name in $names; do cmp "$good/$name" "$1/$name" || return; done
}
only() { [ "$(ls -A "$1")" = "$2" ]; } # DIR NAMES: these files, sorted, and no others
without() { [ ! -e "$1" ]; }
requests() { [ "$(grep -c . "$TMP/log")" -eq "$1" ]; }

# ---- file:// and usage ----------------------------------------------------------------------------

check 'file://: fetches' fetch "file://$good" "$TMP/a b/mnist"
check 'file://: complete' complete "$TMP/a b/mnist"
check 'file://: a second run keeps the files, the mirror being gone' fetch "file://$TMP/none" "$TMP/a b/mnist"
check_grep 'all four files are there and verified' "$TMP/out" 'file://: ... and says so'
check_status 3 'file://: a missing folder is an unreachable mirror' fetch "file://$TMP/none" "$TMP/none-1"
check_grep "file://$TMP/none/.*: no such file" "$TMP/err" 'file://: ... named'
check_status 2 'a mirror of another scheme' fetch ftp://127.0.0.1/mnist "$TMP/none-2"
check_status 2 'a file:// that is not absolute' fetch file://mnist "$TMP/none-2"
check 'usage errors make no folder' without "$TMP/none-2"
check_status 2 'two folders' "$shell" "$script" "$TMP/none-2" "$TMP/none-3"
check_status 2 'an unknown option' "$shell" "$script" --fast
check '--help' "$shell" "$script" --help
check_grep '^usage: ' "$TMP/out" '--help: on stdout'
check_status 2 'a list of checksums that is not there' \
    env MNIST_MIRROR="file://$good" MNIST_SHA256SUMS="$TMP/none" "$shell" "$script" "$TMP/none-2"
sed 1d "$sums" >"$TMP/three"
check_status 2 'a list of checksums that misses one' \
    env MNIST_MIRROR="file://$good" MNIST_SHA256SUMS="$TMP/three" "$shell" "$script" "$TMP/none-2"

: >"$TMP/in-the-way"
check_status 1 'a file in place of the folder' fetch "file://$good" "$TMP/in-the-way"
check "... is told in one line" [ "$(wc -l <"$TMP/err")" -eq 1 ]
mkdir -p "$TMP/dir/$big"
check_status 1 'a folder in place of a file' fetch "file://$good" "$TMP/dir"
check '... into which nothing is moved' only "$TMP/dir/$big" ''

mkdir "$TMP/bad" "$TMP/b"
cp "$good"/* "$TMP/bad"
echo bad >"$TMP/bad/$big"
echo old >"$TMP/b/$big"
check_status 1 'file://: wrong bytes' fetch "file://$TMP/bad" "$TMP/b"
check 'file://: wrong bytes do not replace a file, bad as it is' [ "$(cat "$TMP/b/$big")" = old ]
check_status 3 'a bad file survives when nothing is reachable' fetch "file://$TMP/none" "$TMP/b"
check '... unchanged' [ "$(cat "$TMP/b/$big")" = old ]
check 'a bad file is replaced by a verified one' fetch "file://$good" "$TMP/b"
check '... and nothing else is left' complete "$TMP/b"

# ---- http, once with each client that is installed ------------------------------------------------

only_client() { # NAME: a PATH with what the script needs, and of the clients only this one
    clients=$TMP/bin-$1
    mkdir "$clients"
    for tool in "$1" cat cp mkdir mv rm sha256sum shasum openssl perl tr wc sleep; do
        if found=$(command -v "$tool"); then ln -s "$found" "$clients/$tool"; fi
    done
}

http_tests() { # NAME of the client
    c=$1
    d=$TMP/$1
    mkdir "$d"

    serve
    check "$c: fetches" fetch "$url/" "$d/1"
    check "$c: complete" complete "$d/1"
    check "$c: one request for each file" requests 4
    check "$c: a second run keeps the files" fetch "$url" "$d/1"
    check "$c: ... and asks the server for nothing" requests 4
    rm "$d/1/$big"
    check "$c: a missing file is fetched" fetch "$url" "$d/1"
    check "$c: ... and only that one" requests 5
    check "$c: ... complete" complete "$d/1"

    fetch "$url" "$d/2" >/dev/null 2>&1 &
    other=$!
    check "$c: two runs at once, one" fetch "$url" "$d/2"
    check "$c: two runs at once, the other" wait $other
    check "$c: two runs at once, complete" complete "$d/2"

    mkdir "$d/3"
    head -c 70000 "$good/$big" >"$d/3/$big.part.99999999" # a run that was killed; no such process
    check "$c: takes over from a run that was killed" fetch "$url" "$d/3"
    check_grep "^GET $big from=70000 206 " "$TMP/log" "$c: ... from where it was"
    check "$c: ... complete" complete "$d/3"

    mkdir "$d/4"
    head -c 70000 /dev/zero >"$d/4/$big.part"
    head -c 999999 /dev/zero >"$d/4/t10k-images-idx3-ubyte.gz.part"
    cp "$good/train-labels-idx1-ubyte.gz" "$d/4/train-labels-idx1-ubyte.gz.part"
    check "$c: parts that do not fit, are too long, are whole" fetch "$url" "$d/4"
    check "$c: ... complete" complete "$d/4"
    stop_server

    check_status 3 "$c: connection refused" fetch "$url" "$d/5"
    check "$c: ... leaves nothing" only "$d/5" ''
    echo old >"$d/5/$big"
    head -c 1000 "$good/t10k-labels-idx1-ubyte.gz" >"$d/5/t10k-labels-idx1-ubyte.gz.part"
    check_status 3 "$c: connection refused, with a bad file and a part" fetch "$url" "$d/5"
    check "$c: ... both survive" only "$d/5" "t10k-labels-idx1-ubyte.gz.part
$big"

    serve --missing $big
    check_status 3 "$c: one file is missing on the server" fetch "$url" "$d/6"
    check "$c: ... and nothing of it is left" without "$d/6/$big"
    check "$c: ... nor a part" without "$d/6/$big.part"

    serve --corrupt $big
    mkdir "$d/7"
    echo old >"$d/7/$big"
    head -c 5000 "$good/$big" >"$d/7/$big.part"
    check_status 1 "$c: wrong bytes" fetch "$url" "$d/7"
    check_grep "$big: .*does not match its checksum" "$TMP/err" "$c: ... are named"
    check "$c: ... leave no junk" only "$d/7" "$(ls -A "$good")"
    check "$c: ... and the old file as it was" [ "$(cat "$d/7/$big")" = old ]

    serve --cut 50000 --cut-times 2 # that is two cuts of the first of the image files
    check_status 3 "$c: a cut connection" fetch "$url" "$d/8"
    check_grep "a part of it is kept" "$TMP/err" "$c: ... and says so"
    check "$c: ... keeps the part" [ "$(cat "$d/8"/*.part | wc -c)" -eq 50000 ]
    check_status 3 "$c: cut again" fetch "$url" "$d/8"
    check "$c: ... keeps more" [ "$(cat "$d/8"/*.part | wc -c)" -eq 100000 ]
    check "$c: resumes" fetch "$url" "$d/8"
    check_grep "from=50000 206 50000$" "$TMP/log" "$c: ... from the first cut"
    check_grep "from=100000 206" "$TMP/log" "$c: ... and from the second"
    check "$c: ... complete" complete "$d/8"

    serve --cut 50000 --cut-times 1 --no-range
    check_status 3 "$c: a cut connection, the server without Range" fetch "$url" "$d/9"
    check "$c: ... is fetched in the end" fetch "$url" "$d/9"
    check_grep 'from=50000 200' "$TMP/log" "$c: ... after it was asked to resume"
    check "$c: ... complete" complete "$d/9"
    stop_server
}

for client in curl wget; do
    case $($client --version 2>/dev/null) in
    curl* | 'GNU Wget '*)
        only_client $client
        http_tests $client
        ;;
    *) skip "$client: all of it" "there is no $client (of wgets, GNU Wget 1 resumes)" ;;
    esac
done

# ---- the public mirrors in turn, with a client that only pretends ---------------------------------

only_client none
cat >"$clients/curl" <<'END'
#!/bin/sh
# curl -o FILE URL: $FIRST and $SECOND say what each mirror does: good, bad or dead
while [ $# -gt 1 ]; do
    [ "$1" != -o ] || file=$2
    shift
done
echo "$1" >>"$CALLS"
case $1 in
https://ossci-datasets.s3.amazonaws.com/mnist/*) does=$FIRST ;;
https://storage.googleapis.com/cvdf-datasets/mnist/*) does=$SECOND ;;
*) does=dead ;;
esac
case $does in
good) cp "$GOOD/${1##*/}" "$file" ;;
bad) echo bad >"$file" ;;
dead) exit 7 ;;
esac
echo 200
END
chmod +x "$clients/curl"
ln -s "$(command -v sh)" "$clients/sh"

public() { # FIRST SECOND DIR
    : >"$TMP/calls"
    CALLS=$TMP/calls GOOD=$good FIRST=$1 SECOND=$2 MNIST_SHA256SUMS=$sums PATH=$clients "$shell_path" "$script" "$3"
}
calls() { [ "$(grep -c . "$TMP/calls")" -eq "$1" ]; }

check 'the first mirror is dead: the second' public dead good "$TMP/p1"
check '... the first being tried once, not for each file' calls 5
check '... complete' complete "$TMP/p1"
check 'the first mirror has wrong bytes: the second' public bad good "$TMP/p2"
check '... complete' complete "$TMP/p2"
check_status 3 'both are dead' public dead dead "$TMP/p3"
check '... and each is tried once' calls 2
check_status 1 'wrong bytes from one, the other dead' public bad dead "$TMP/p4"
check_status 1 'wrong bytes from both' public bad bad "$TMP/p5"
check '... and nothing is left' only "$TMP/p5" ''

rm "$clients/curl"
check_status 3 'neither curl nor wget' fetch http://127.0.0.1:9 "$TMP/p6"
check_grep 'neither curl nor wget' "$TMP/err" '... is told'
check 'neither is needed for file://' fetch "file://$good" "$TMP/p6"

# ---- what is not the script's own ------------------------------------------------------------------

clients=
mkdir "$TMP/links" && cp "$good"/train* "$TMP/links"
echo mine >"$TMP/mine"
ln -s ../mine "$TMP/links/t10k-images-idx3-ubyte.gz.part"
mkfifo "$TMP/links/t10k-labels-idx1-ubyte.gz.part"
check 'a .part that is a link, or a pipe' fetch "file://$good" "$TMP/links"
check '... is not written through' grep -qx mine "$TMP/mine"
check '... and all four are there' complete "$TMP/links"
mkdir "$TMP/locked" && cp "$good"/t*.gz "$TMP/locked" && echo mine >"$TMP/locked/$big" && chmod 444 "$TMP/locked/$big"
check_status 1 'a write-protected file with other bytes' fetch "file://$good" "$TMP/locked"
check_grep 'is write-protected: left as it is$' "$TMP/err" '... is told'
check '... and left' grep -qx mine "$TMP/locked/$big"
chmod 644 "$TMP/locked/$big"
check '... until it may be written' fetch "file://$good" "$TMP/locked"

# ---- the true checksums ---------------------------------------------------------------------------

if [ -e ../shared/mnist/$big ]; then
    check 'real MNIST has the checksums of the script' \
        env MNIST_MIRROR="file://$(cd ../shared/mnist && pwd)" "$shell" "$script" "$TMP/real"
    check '... and is all there' [ "$(ls "$TMP/real")" = "$(ls "$good")" ]
else
    skip 'real MNIST has the checksums of the script' 'there is no ../shared/mnist'
fi
check_status 1 'the fake set does not match the checksums of the script' \
    env MNIST_MIRROR="file://$good" "$shell" "$script" "$TMP/fake"

tap_done
