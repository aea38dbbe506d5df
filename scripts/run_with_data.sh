#!/bin/sh
# run_with_data.sh DATA PROGRAM ARGUMENTS...
# Runs the program with --data and --results added:
#   DATA        read from                          tables go to
#   data/mnist  it; what is missing is fetched     results/mnist
#               the built-in digits, where no mirror can be reached   results/digits
#   digits      the built-in digits                results/digits
#   a folder    it, as it is                       results/mnist if it holds MNIST's own bytes, else results/ and its name
# Where an argument is DATA or RESULTS/NAME, the folders are put there instead; after DATA no options are added. INT8 is
# the int8 model of the results: per channel, or the one that is there.
# RESULTS in the environment names another folder for the tables, but never one called mnist for other data.
set -u
data=$1
shift
fetch=$(dirname "$0")/fetch_mnist.sh
shown() { # TEXT: on one line of a terminal, as the program shows names: without controls and turned writing
    printf '%s' "$1" | tr '\n' '?' | LC_ALL=C awk '{
        gsub(/[\001-\037\177]|\302[\200-\237]|\330\234|\342\200[\213\216\217\250-\256]|\342\201[\240-\244\246-\251]/, "?"); printf "%s", $0 }'
}
refuse() { # STATUS WHY
    printf 'run_with_data.sh: %s\n' "$(shown "$2")" >&2
    exit "$1"
}
files_of() { # FOLDER: the names in it, at most eight
    ls -- "$1" | awk 'NR <= 8 { printf "%s%s", (NR > 1 ? ", " : ""), $0 } END { printf "%s", (NR > 8 ? ", ..." : NR ? "" : "nothing") }'
}

case $data in -*) data=./$data ;; esac # no option
if [ "$data" = digits ]; then
    name=digits
elif [ "${data%/}" = data/mnist ]; then
    name=mnist
    sh "$fetch" --check "$data" || sh "$fetch" "$data" >&2
    case $? in
    0) ;;
    3)
        printf '\n*** %s ***\n' 'MNIST CANNOT BE FETCHED: no mirror can be reached.' \
            "Running on the built-in digits instead: results/digits. These are not MNIST's numbers." >&2
        data=digits name=digits
        ;;
    *) exit 1 ;;
    esac
elif [ ! -d "$data" ]; then
    refuse 1 "DATA=$data: no such folder (without DATA, MNIST is fetched into data/mnist)"
elif sh "$fetch" --check "$data"; then
    name=mnist
else
    name=$(basename "$(CDPATH='' cd "$data" && pwd)")
    case $name in mnist | reference | /) name=other ;; esac
    case $(ls -R -- "$data") in
    *[iI][dD][xX][13]*) printf '%s\n' "$(shown "$data: not MNIST's own files; read as they are, for results/$name")" >&2 ;;
    *) refuse 1 "DATA=$data: four IDX files expected (train-images-idx3-ubyte, ...), found: $(files_of "$data")" ;;
    esac
fi

results=${RESULTS:-results/$name}
case $name:/$results/ in
mnist:*) ;;
*/mnist/*) refuse 2 "RESULTS=$RESULTS: this is not MNIST (without RESULTS: results/$name)" ;;
esac

added=yes
for argument; do
    shift
    case $argument in
    DATA) argument=$data added=no ;;
    INT8)
        argument=$results/models/int8-per-channel.safetensors
        [ -e "$argument" ] || argument=$results/models/int8-per-tensor.safetensors
        ;;
    RESULTS/*) argument=$results/${argument#RESULTS/} ;;
    esac
    set -- "$@" "$argument"
done
[ $added = no ] || set -- "$@" --data "$data" --results "$results"
exec "$@"
