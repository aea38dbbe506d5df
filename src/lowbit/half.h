/* The 16-bit floats of the ladder, rounded to nearest, ties to even.
 *   fp16 (IEEE 754 binary16)  | sign | 5 exponent | 10 mantissa |   overflow to infinity from 65520 on
 *   bf16                      | sign | 8 exponent |  7 mantissa |   the upper half of a float
 * Subnormals are kept, infinities stay, a NaN stays a NaN (quiet, with the upper bits of its payload). */
#ifndef LOWBIT_HALF_H
#define LOWBIT_HALF_H

#include <stdint.h>
#include <string.h>

uint16_t half_from_float(float x);
float float_from_half(uint16_t bits);

uint16_t bfloat_from_float(float x);
float float_from_bfloat(uint16_t bits);

/* In files the lower byte comes first, whatever the machine's order. */
static inline void write_16(uint16_t bits, uint8_t bytes[2]) {
    bytes[0] = (uint8_t)bits;
    bytes[1] = (uint8_t)(bits >> 8);
}

static inline uint16_t read_16(const uint8_t bytes[2]) { return (uint16_t)(bytes[0] | bytes[1] << 8); }

static inline void half_write(float x, uint8_t bytes[2]) { write_16(half_from_float(x), bytes); }

static inline float half_read(const uint8_t bytes[2]) { return float_from_half(read_16(bytes)); }

/* A float in a block of bytes, in the same order. */
static inline void float_write(float x, uint8_t bytes[4]) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    write_16((uint16_t)bits, bytes);
    write_16((uint16_t)(bits >> 16), bytes + 2);
}

static inline float float_read(const uint8_t bytes[4]) {
    uint32_t bits = read_16(bytes) | (uint32_t)read_16(bytes + 2) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
