/* What this machine can do at most, measured: loops of nothing but multiply-adds on registers. Speeds are told as
 * fractions of it, since a shared machine's absolute figures swing. */
#ifndef CLI_PEAK_H
#define CLI_PEAK_H

enum peak { PEAK_FP32, PEAK_INT8, PEAK_BF16, PEAKS };

/* The instruction of the loop: "AVX-512 FMA", "AVX-512 VNNI", "AVX512-BF16"; NULL where there is no loop for this
 * CPU. */
const char *peak_name(enum peak peak);

/* Operations a second, a multiply-add counting two, over so many threads at once: the best of short runs that go on for
 * about seconds, one at least. Each thread is timed by its own CPU time, so a busy machine does not lower the figure.
 * 0 where there is no loop. */
double peak_measure(enum peak peak, int threads, double seconds);

/* The clocks that speeds are taken with. One thread: the CPU time of the calling thread, which stands still while other
 * programs have the core. Several: wall time, since CPU time does not tell how long they take together. */
double speed_clock(int threads);

#endif
