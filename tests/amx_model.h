/* The tiles of AMX in plain C, for tests: palette 1 of Intel's manual (volume 2, LDTILECFG, TDPBUSD, TDPBF16PS), eight
 * registers of at most 16 rows x 64 bytes. What the instructions refuse (#GP, #UD) gives false here.
 *
 * With AMX_MODEL defined before it, it also gives the functions of quant/kernels/amx.h over these registers, which end
 * the program at a refusal. */
#ifndef TESTS_AMX_MODEL_H
#define TESTS_AMX_MODEL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/kernels/amx.h"

struct amx_tile {
    int rows, row_bytes;
    uint8_t bytes[TILE_ROWS][TILE_ROW_BYTES];
};

static _Thread_local struct amx_tile amx_tile[8];
static size_t amx_products; /* that were made, by all threads; for the tests that guard the tests */

static inline bool amx_model_configure(const struct tile_shapes *shapes) {
    bool ok = shapes->palette == 1 && shapes->start_row == 0;
    for (int i = 0; i < 14; i++) ok = ok && shapes->reserved[i] == 0;
    for (int i = 0; i < 16; i++) {
        int rows = shapes->rows[i], bytes = shapes->row_bytes[i];
        ok = ok &&
            (i < 8 ? rows <= TILE_ROWS && bytes <= TILE_ROW_BYTES && (rows == 0) == (bytes == 0) : !rows && !bytes);
    }
    memset(amx_tile, 0, sizeof amx_tile);
    for (int i = 0; ok && i < 8; i++) amx_tile[i].rows = shapes->rows[i], amx_tile[i].row_bytes = shapes->row_bytes[i];
    return ok;
}

static inline void amx_model_release(void) { memset(amx_tile, 0, sizeof amx_tile); }

static inline bool amx_model_zero(int t) {
    memset(amx_tile[t].bytes, 0, sizeof amx_tile[t].bytes);
    return amx_tile[t].rows > 0;
}

static inline bool amx_model_load(int t, const uint8_t *from, size_t stride) {
    amx_model_zero(t);
    for (int r = 0; r < amx_tile[t].rows; r++)
        memcpy(amx_tile[t].bytes[r], from + (size_t)r * stride, (size_t)amx_tile[t].row_bytes);
    return amx_tile[t].rows > 0;
}

static inline bool amx_model_store(int t, uint8_t *to, size_t stride) {
    for (int r = 0; r < amx_tile[t].rows; r++)
        memcpy(to + (size_t)r * stride, amx_tile[t].bytes[r], (size_t)amx_tile[t].row_bytes);
    return amx_tile[t].rows > 0;
}

/* Whether c += a . b has matching shapes. */
static inline bool amx_model_fit(int c, int a, int b) {
    const struct amx_tile *x = &amx_tile[a], *w = &amx_tile[b], *sum = &amx_tile[c];
    return c != a && c != b && a != b && sum->rows && x->rows && w->rows && sum->rows == x->rows &&
        sum->row_bytes == w->row_bytes && x->row_bytes == 4 * w->rows && sum->row_bytes % 4 == 0;
}

static inline bool amx_model_tdpbusd(int c, int a, int b) {
    if (!amx_model_fit(c, a, b)) return false;
    struct amx_tile *sum = &amx_tile[c];
    for (int m = 0; m < sum->rows; m++) {
        uint32_t acc[TILE_ROW_BYTES / 4];
        memcpy(acc, sum->bytes[m], sizeof acc);
        for (int k = 0; k < amx_tile[b].rows; k++)
            for (int i = 0; i < 4; i++)
                for (int n = 0; n < sum->row_bytes / 4; n++)
                    acc[n] += (uint32_t)(amx_tile[a].bytes[m][4 * k + i] * (int8_t)amx_tile[b].bytes[k][4 * n + i]);
        memcpy(sum->bytes[m], acc, sizeof acc);
    }
#pragma omp atomic
    amx_products += 1;
    return true;
}

/* Subnormals are 0, going in and coming out, and keep their sign. */
static inline float amx_model_flush(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

static inline float amx_model_bfloat(const uint8_t *at) {
    uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 24;
    float x;
    memcpy(&x, &bits, sizeof x);
    return amx_model_flush(x);
}

/* Of each row the even products of the K pairs add up in one sum and the odd ones in another, each by an FMA that
 * rounds to nearest even; then those two are added, and that to what was there. */
static inline bool amx_model_tdpbf16ps(int c, int a, int b) {
    if (!amx_model_fit(c, a, b)) return false;
    struct amx_tile *sum = &amx_tile[c];
    for (int m = 0; m < sum->rows; m++)
        for (int n = 0; n < sum->row_bytes / 4; n++) {
            float half[2] = {0, 0}, acc;
            for (int k = 0; k < amx_tile[b].rows; k++)
                for (int i = 0; i < 2; i++)
                    half[i] = amx_model_flush(fmaf(amx_model_bfloat(&amx_tile[a].bytes[m][4 * k + 2 * i]),
                                                   amx_model_bfloat(&amx_tile[b].bytes[k][4 * n + 2 * i]), half[i]));
            memcpy(&acc, &sum->bytes[m][4 * n], sizeof acc);
            acc = amx_model_flush(amx_model_flush(acc) + amx_model_flush(half[0] + half[1]));
            memcpy(&sum->bytes[m][4 * n], &acc, sizeof acc);
        }
#pragma omp atomic
    amx_products += 1;
    return true;
}

#ifdef AMX_MODEL

static inline void amx_model_must(bool done, const char *instruction) {
    if (done) return;
    fprintf(stderr, "%s: the machine would refuse this\n", instruction);
    abort();
}

static inline void tiles_configure(const struct tile_shapes *shapes) {
    amx_model_must(amx_model_configure(shapes), "ldtilecfg");
}

static inline void tiles_release(void) { amx_model_release(); }
static inline void tile_zero(int sum) { amx_model_must(amx_model_zero(sum), "tilezero"); }

static inline void tile_load_inputs(int i, const void *rows, size_t stride) {
    amx_model_must(amx_model_load(4 + i, rows, stride), "tileloadd");
}

static inline void tile_load_inputs_once(int i, const void *rows, size_t stride) { tile_load_inputs(i, rows, stride); }

static inline void tile_load_weights(int i, const void *rows, size_t stride) {
    amx_model_must(amx_model_load(6 + i, rows, stride), "tileloaddt1");
}

static inline void tile_store(int sum, void *rows, size_t stride) {
    amx_model_must(amx_model_store(sum, rows, stride), "tilestored");
}

static inline void tile_multiply_bytes(int sum) {
    amx_model_must(amx_model_tdpbusd(sum, 4 + sum / 2, 6 + sum % 2), "tdpbusd");
}

static inline void tile_multiply_bfloats(int sum) {
    amx_model_must(amx_model_tdpbf16ps(sum, 4 + sum / 2, 6 + sum % 2), "tdpbf16ps");
}

#endif
#endif
