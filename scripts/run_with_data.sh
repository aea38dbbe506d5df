#!/bin/sh
# Usage: run_with_data.sh DIR PROGRAM ARGUMENTS...
# Runs the program with --data and --results, on
#   MNIST in DIR, fetched first where a file is missing: results/mnist (a DIR that is not there is an error, but for
#     data/mnist: it may be a slip of the pen)
#   the IDX files in DIR as they are, where they are not MNIST's: results/NAME after the folder. Nothing is fetched over them
#   the built-in digits, when DIR is digits or no mirror can be reached: results/digits
# Never one under the other's name. An argument RESULTS/NAME becomes NAME in the folder of results that is used, and DATA
# the folder of data; where there is a DATA, no --data and --results are added.
set -u
dir=$1
shift
fetch=$(dirname "$0")/fetch_mnist.sh

if [ "$dir" != digits ] && [ "$dir" != data/mnist ] && [ ! -d "$dir" ]; then
    echo "run_with_data.sh: $dir: no such folder (make data DATA=$dir fetches MNIST into it)" >&2
    exit 2
fi
[ "$dir" = digits ] || sh "$fetch" --check "$dir" 2>/dev/null
looked=$?
if [ "$dir" = digits ]; then
    data=digits results=results/digits
elif [ $looked -eq 1 ] && [ "$(cd "$dir" && pwd)" != "$PWD/data/mnist" ]; then
    name=$(basename "$dir")
    case $name in mnist | . | .. | /) name=other ;; esac # these are not MNIST's numbers
    echo "$dir: not MNIST's files; used as they are, for results/$name"
    data=$dir results=results/$name
else
    sh "$fetch" "$dir"
    case $? in
    0) data=$dir results=results/mnist ;;
    3)
        echo "" >&2
        echo "*** MNIST CANNOT BE FETCHED: no mirror can be reached. ***" >&2
        echo "*** Running on the built-in digits instead: results/digits. These are not MNIST's numbers. ***" >&2
        echo "" >&2
        data=digits results=results/digits
        ;;
    *) exit 1 ;;
    esac
fi

# Another folder for the results, to keep two side by side; but results/mnist only ever for MNIST
case $results:${RESULTS:-} in
*:) ;;
results/mnist:*) results=$RESULTS ;;
*:results/mnist*) echo "RESULTS=$RESULTS: this is not MNIST; the results go to $results" >&2 ;;
*) results=$RESULTS ;;
esac

where=added
for argument; do
    shift
    case $argument in
    DATA) argument=$data where=told ;;
    RESULTS/*) argument=$results/${argument#RESULTS/} ;;
    esac
    set -- "$@" "$argument"
done
[ $where = told ] || set -- "$@" --data "$data" --results "$results"
exec "$@"
