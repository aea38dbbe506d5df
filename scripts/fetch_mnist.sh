#!/bin/sh
# Gets the four MNIST files into a folder, and checks each against its SHA-256.
# Plain POSIX sh; needs curl or wget (neither for file://) and sha256sum, shasum or openssl.
#
# Nothing unverified ever gets a final name. A download goes to NAME.part.PID, which only this run
# writes, is checked there and then renamed, so two runs at once do not meet. When the connection
# is cut it is given back as NAME.part, from where the next run (or the next mirror) resumes.

set -u

usage() {
    cat <<'END'
usage: scripts/fetch_mnist.sh [--check] [DIR]

Gets the four MNIST files (.gz) into DIR (default data/mnist). Files that are there and match
their SHA-256 are kept, packed (.gz) or not; a file that does not match is replaced, once its replacement
is verified.

  --check           only look, without a word: exit status 0 all four are there and verified, 1 they are not

  MNIST_MIRROR      where from: http://HOST/PATH, https://HOST/PATH or file:///ABSOLUTE/PATH
                    (default: the public mirrors, in turn)
  MNIST_SHA256SUMS  a list as sha256sum writes it, instead of MNIST's own: for the tests, and for
                    other data sets with the same four names (Fashion-MNIST), with MNIST_MIRROR

exit status: 0 all there and verified, 1 a file that does not match its checksum or a folder that
cannot be written, 2 usage, 3 no mirror reachable
END
}

sums='f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6  t10k-labels-idx1-ubyte.gz
8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6  t10k-images-idx3-ubyte.gz
3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c  train-labels-idx1-ubyte.gz
440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609  train-images-idx3-ubyte.gz
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2  t10k-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7  t10k-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5  train-labels-idx1-ubyte
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db  train-images-idx3-ubyte'
files='t10k-labels-idx1-ubyte.gz t10k-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz train-images-idx3-ubyte.gz'

connect_s=5 # a machine without a network is told within this time per mirror
stall_s=20  # a transfer below 1 KB/s for this long counts as cut

say() { printf '%s\n' "$*"; }
warn() { printf 'fetch_mnist.sh: %s\n' "$*" >&2; }
die() { # STATUS TEXT
    status=$1
    shift
    warn "$*"
    exit "$status"
}

sha256_of() { # FILE -> hex digest on stdout; fails when it cannot be read
    case $sha_tool in
    sha256sum) digest=$(sha256sum <"$1") ;;
    shasum) digest=$(shasum -a 256 <"$1") ;;
    openssl) digest=$(openssl dgst -sha256 -r <"$1") ;;
    esac || return 1
    printf '%s\n' "${digest%% *}"
}

expected_of() { # NAME -> its digest from the list, lower case; nothing when it is not listed
    printf '%s\n' "$sums" | while read -r digest listed; do
        if [ "${listed#\*}" = "$1" ]; then
            printf '%s\n' "$digest" | tr ABCDEF abcdef
            break
        fi
    done
}

matches() { # FILE
    [ -f "$1" ] && [ "$(sha256_of "$1" 2>/dev/null)" = "$expected" ]
}

is_protected() { # FILE: nobody may write it; asked of its mode, as root may write everything
    case $(ls -ldL -- "$1" 2>/dev/null) in '' | [!r-]* | ??w* | ?????w* | ????????w*) return 1 ;; esac
}

# ---- the temporary file -------------------------------------------------------------------------

take_part() { # start on $tmp: what an earlier run left of this file, or empty
    tmp=$final.part.$$
    for left in "$final".part.*; do
        pid=${left##*.part.}
        pid=${pid%.old}
        case $pid in *[!0-9]*) continue ;; esac
        if [ "$pid" != $$ ] && kill -0 "$pid" 2>/dev/null; then continue; fi
        # Left by a run that was killed. A copy, because its curl may still be alive and writing.
        if mv -f "$left" "$tmp.old" 2>/dev/null; then cp "$tmp.old" "$tmp" 2>/dev/null; fi
        rm -f "$tmp.old" 2>/dev/null
    done
    # A link would be written through, over a file elsewhere; a pipe waits.
    for part in "$final.part" "$tmp"; do if [ -L "$part" ] || [ ! -f "$part" ]; then rm -f "$part" 2>/dev/null; fi; done
    # A rename has one winner: of two runs, one resumes and the other starts from zero.
    [ -s "$tmp" ] || mv -f "$final.part" "$tmp" 2>/dev/null || true 2>/dev/null >"$tmp" || {
        tmp=
        die 1 "$dir: cannot write there"
    }
}

give_back() { # keep what there is for the next resume
    [ -n "$tmp" ] || return 0
    if [ -s "$tmp" ]; then mv -f "$tmp" "$final.part" 2>/dev/null; else rm -f "$tmp"; fi
    tmp=
}

install_part() { # $tmp is verified: give it its final name
    [ ! -d "$final" ] || die 1 "$final: a folder has the name of the file"
    mv -f "$tmp" "$final" 2>/dev/null || die 1 "$final: cannot write there"
    tmp=
    rm -f "$final.part"
}

tmp=
trap give_back EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- one transfer -------------------------------------------------------------------------------
# transfer URL: continues $tmp from where it ends. Sets $why on failure and returns
#   0 the whole file came   1 no connection   2 the connection was cut
#   3 cannot write here     4 the server does not have it   5 it cannot continue from there

transfer() {
    case $1 in
    file://*) transfer_file "${1#file://}" ;;
    *) "transfer_$client" "$1" ;;
    esac
}

transfer_file() {
    why='no such file, or not readable'
    [ -f "$1" ] && [ -r "$1" ] || return 4
    why="cannot copy it into $dir"
    cp "$1" "$tmp" 2>/dev/null || return 3
}

transfer_none() {
    why='there is neither curl nor wget to fetch it with (scripts/install_deps.sh installs curl)'
    return 1
}

transfer_curl() {
    if [ -t 2 ]; then meter='-#'; else meter='-s'; fi
    http=$(curl -g -f -L "$meter" --connect-timeout "$connect_s" --speed-limit 1000 --speed-time "$stall_s" \
        -C - -o "$tmp" -w '%{http_code}' "$1")
    code=$?
    why="curl error $code"
    case $code in
    0) return 0 ;;
    6) why='host not found' && return 1 ;;
    5 | 7) why='cannot connect' && return 1 ;;
    18 | 52 | 55 | 56 | 92) why='the connection was cut' && return 2 ;;
    22) why="the server answered $http" ;;
    23) why="cannot write into $dir" && return 3 ;;
    28) # which of the two timeouts: did it ever connect?
        why='timed out'
        if [ "$http" = 000 ]; then return 1; else return 2; fi
        ;;
    33) return 5 ;; # an answer without the range that was asked for
    35 | 51 | 58 | 60 | 77) why="no safe connection (curl error $code: TLS or certificates)" && return 1 ;;
    esac
    if [ "$http" = 416 ]; then return 5; else return 4; fi
}

transfer_wget() {
    before=$(wc -c <"$tmp")
    if [ -t 2 ]; then meter=--progress=bar; else meter=-q; fi
    # -c answers a 200 without the range, and a 416, by itself; the checksum has the last word.
    wget "$meter" -t 1 --dns-timeout="$connect_s" --connect-timeout="$connect_s" --read-timeout="$stall_s" \
        -c -O "$tmp" "$1"
    code=$?
    after=$(wc -c <"$tmp")
    why="wget error $code"
    case $code in
    0) return 0 ;;
    3) why="cannot write into $dir" && return 3 ;;
    4) if [ "$after" -gt "$before" ]; then
        why='the connection was cut' && return 2
    else
        why='cannot connect' && return 1
    fi ;;
    5) why='no safe connection (TLS or certificates)' && return 1 ;;
    8) why='the server does not have it (an HTTP error)' ;;
    esac
    return 4
}

transfer_small_wget() { # BusyBox, Wget2: no resume, as they do not tell a 416 or a cut from the rest
    why='wget could not fetch it'
    wget -q -T "$stall_s" -O "$tmp" "$1" || {
        code=$?
        true >"$tmp"
        [ $code -eq 139 ] || return 1
        wget -q -O "$tmp" "$1" || { # the BusyBox of Debian 12 crashes on -T
            true >"$tmp"
            return 1
        }
    }
    [ -s "$tmp" ] # Wget2 exits with 0 when it could not connect
}

# ---- one file from one mirror -------------------------------------------------------------------
# Returns 0 verified and in place, 1 the bytes are wrong, 3 not to be had there (part kept).

fetch_from() { # MIRROR
    url=$1/$name
    take_part
    if matches "$tmp"; then # it was cut between the last byte and the rename
        install_part
        return 0
    fi
    from=$(($(wc -c <"$tmp")))
    case $url:$client in file://*:* | *:small_wget) from=0 ;; esac # these start from zero
    if [ "$from" -gt 0 ]; then say "$name: resuming at byte $from from $1"; else say "$name: fetching from $1"; fi
    while :; do
        transfer "$url"
        result=$?
        if [ "$result" = 0 ] && matches "$tmp"; then
            install_part
            return 0
        fi
        case $result in
        0 | 5) # the old part may be to blame: once again from zero
            true >"$tmp"
            [ "$from" -gt 0 ] && from=0 && say "$name: what was there does not fit; starting from zero" && continue
            rm -f "$tmp"
            tmp=
            if [ "$result" = 5 ]; then why='the server cannot send a whole file' && break; fi
            warn "$url: does not match its checksum"
            return 1
            ;;
        3)
            give_back
            die 1 "$name: $why"
            ;;
        1) dead="$dead $1 " ;; # not tried again for the other files
        esac
        break
    done
    give_back
    warn "$url: $why"
    return 3
}

fetch() { # MIRROR... in turn, until one has the right bytes
    wrong=0
    for mirror; do
        case $dead in *" $mirror "*) continue ;; esac
        fetch_from "$mirror"
        case $? in
        0)
            say "$name: verified"
            return
            ;;
        1) wrong=1 ;;
        esac
    done
    kept=
    if [ -e "$final" ]; then kept=' (the one that is there does not match its checksum either; it was left as it is)'; fi
    [ $wrong = 0 ] || die 1 "$name: what came does not match its checksum$kept"
    if [ -e "$final.part" ]; then kept="$kept; a part of it is kept, the next run resumes"; fi
    die 3 "$name: no mirror reachable that has it$kept"
}

# ---- what is asked ------------------------------------------------------------------------------

check=no
case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
--check)
    check=yes
    shift
    ;;
-*)
    usage >&2
    exit 2
    ;;
esac
if [ $# -gt 1 ] || [ -z "${1-data}" ]; then
    usage >&2
    exit 2
fi
dir=${1:-data/mnist}

if [ -n "${MNIST_SHA256SUMS:-}" ]; then
    sums=$(cat "$MNIST_SHA256SUMS" 2>/dev/null) || die 2 "MNIST_SHA256SUMS=$MNIST_SHA256SUMS: cannot read it"
fi

set -- https://ossci-datasets.s3.amazonaws.com/mnist https://storage.googleapis.com/cvdf-datasets/mnist
if [ -n "${MNIST_MIRROR:-}" ]; then
    case $MNIST_MIRROR in
    http://?* | https://?* | file:///*) ;;
    *) die 2 "MNIST_MIRROR=$MNIST_MIRROR: not http://, https:// or file:///ABSOLUTE/PATH" ;;
    esac
    path=${MNIST_MIRROR#*://}
    while [ "${path%/}" != "$path" ]; do path=${path%/}; done
    set -- "${MNIST_MIRROR%%://*}://$path"
fi
dead=

sha_tool= # the last one found
for tool in openssl shasum sha256sum; do
    if command -v $tool >/dev/null 2>&1; then sha_tool=$tool; fi
done
[ -n "$sha_tool" ] || die 1 'there is none of sha256sum, shasum, openssl to check the files with'

client=none
if command -v curl >/dev/null 2>&1; then
    client=curl
elif command -v wget >/dev/null 2>&1; then
    case $(wget --version 2>/dev/null) in 'GNU Wget '*) client=wget ;; *) client=small_wget ;; esac
fi

# ---- and what is done ---------------------------------------------------------------------------

is_there() { # NAME.gz: it, or where it is not there NAME, which the program then reads, has the right bytes
    if [ -e "$dir/$1" ]; then there=$1; else there=${1%.gz}; fi
    expected=$(expected_of "$there")
    [ -n "$expected" ] && matches "$dir/$there"
}

if [ $check = yes ]; then
    for name in $files; do is_there "$name" || exit 1; done
    exit 0
fi

missing=
for name in $files; do
    expected=$(expected_of "$name")
    [ -n "$expected" ] || die 2 "MNIST_SHA256SUMS=${MNIST_SHA256SUMS:-}: no checksum for $name"
    final=$dir/$name
    if is_there "$name"; then
        say "$there: there and verified"
        rm -f "$final.part" 2>/dev/null
        continue
    fi
    missing="$missing $name"
    if [ -e "$dir/$there" ]; then say "$there: there, but does not match its checksum"; fi
done

if [ -n "$missing" ]; then
    mkdir -p "$dir" 2>/dev/null || die 1 "$dir: cannot make this folder"
    for name in $missing; do
        expected=$(expected_of "$name")
        final=$dir/$name
        is_protected "$final" && die 1 "$final: does not match its checksum, and is write-protected: left as it is"
        [ ! -d "$final" ] || die 1 "$final: a folder has the name of the file"
        fetch "$@"
    done
fi
say "$dir: all four files are there and verified"
