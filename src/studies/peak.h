/* What this machine can do at most, measured: loops of nothing but multiply-adds on registers. Speeds are told as
 * fractions of it, since a shared machine's absolute figures swing. */
#ifndef STUDIES_PEAK_H
#define STUDIES_PEAK_H

struct peak {
    const char *fp32_name, *int8_name; /* the instruction: "AVX-512 FMA", "AVX-512 VNNI" */
    double fp32_flops, int8_ops;       /* operations a second, a multiply-add counting two, over all threads */
    const char *bf16_name;             /* "AVX512-BF16"; NULL, and 0 operations, where the CPU has no bf16 products */
    double bf16_flops;
};

/* Runs each loop for about seconds on the given number of threads at once; the best of several short runs. */
struct peak measure_peak(int threads, double seconds);

#endif
