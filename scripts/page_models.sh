#!/bin/sh
# page_models.sh PROGRAM DATA FOLDER: makes the models of the page that the exercise does not, from FOLDER's fp32 model.
# Those that are there stay: the exercise removes them when it makes another fp32 model.
set -u
program=$1 data=$2 folder=$3
make_model() { # NAME FORMAT OPTION...
    name=$1
    shift
    [ -s "$folder/$name.safetensors" ] ||
        "$program" --quiet quantize "$folder/fp32.safetensors" --data "$data" --out "$folder/$name.safetensors" --format "$@"
}
make_model int4 int4 && make_model int2 int2/row --method rtn && make_model int2-qat int2/row --method qat
