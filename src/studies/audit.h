/* The audit: what the lesson says beside what this program computes. ONE table of claims (audit_claims.c) drives the
 * command, the tables and the tests; a claim's verdict follows from the number measured and from its two bands. */
#ifndef STUDIES_AUDIT_H
#define STUDIES_AUDIT_H

#include "cli/exercise.h"
#include "studies/ladder.h"

/* Numbers that count as agreement: lo <= x <= hi. */
struct band {
    double lo, hi;
};

enum verdict { REPRODUCED, REPRODUCED_DIFFERENTLY, NOT_REPRODUCED, NOT_MEASURED, VERDICTS };
extern const char *const verdict_names[VERDICTS];

/* What was found: the number that is judged, and how the table shows it. */
struct finding {
    double value; /* NaN: could not be measured here */
    char text[160];
};

enum { CLAIM_MAX_LIST = 5 };

struct audit;

struct claim {
    const char *id, *part; /* part: of the lesson, set where one begins, else NULL */
    const char *claim;     /* in our own words */
    const char *claimed;   /* the figure as text; NULL: list */
    struct {
        int count, decimals;
        double values[CLAIM_MAX_LIST];
    } list;                  /* figures as the lesson prints them; the value is then the largest difference */
    struct band exact, near; /* reproduced; reproduced with a difference */
    bool (*measure)(struct audit *a, const struct claim *c, struct finding *f, struct error *err);
    struct {
        const char *format;
        int block;
        const char *method;
    } rung;    /* of the ladder, for those that measure one: rungs[] */
    int which; /* for measures that serve several claims */
    enum claim_source { FROM_ARITHMETIC, FROM_DATA, FROM_FILE, FROM_EVAL } source; /* what the command column names */
    const char *why; /* how it is measured, and what explains a difference */
};

extern const struct claim claims[];
extern const int claim_count;

/* NaN is never within a band. */
static inline bool band_holds(struct band b, double x) { return x >= b.lo && x <= b.hi; }

static inline enum verdict judge(const struct claim *c, double value) {
    if (value != value) return NOT_MEASURED;
    return band_holds(c->exact, value) ? REPRODUCED
        : band_holds(c->near, value)   ? REPRODUCED_DIFFERENTLY
                                       : NOT_REPRODUCED;
}

/* Sets a finding and returns true, so that a measure ends with `return found(f, x, "%.2f", x)`. */
bool found(struct finding *f, double value, const char *format, ...) PRINTF_LIKE(3, 4);

/* Sets the text to the values and the value to their largest difference from the claim's list, as they are printed. */
bool found_list(const struct claim *c, struct finding *f, const double *values);
void list_text(const double *values, int count, int decimals, char *text, size_t size);

/* ---- what claims are measured on: made when the first claim asks, NULL after an error -------------------------- */

enum { AUDIT_FP32, AUDIT_CHANNEL, AUDIT_TENSOR };                                  /* the exercise's models */
enum { SPEED_FP32, SPEED_FP16, SPEED_BF16, SPEED_INT8, SPEED_INT4, AUDIT_SPEEDS }; /* those that are timed together */

struct audit {
    const char *source, *results;    /* --data, --results */
    char models[4096];               /* folder */
    struct training_recipe training; /* of the first seed */
    int calibration, seeds;
    bool has_data, has_exercise, has_ladder, has_speeds;
    struct dataset data;
    struct exercise exercise; /* fp32, int8 per channel, int8 per tensor, from the first seed */
    struct ladder ladder;
    struct ladder_options ladder_options;
    struct model_notes notes;
    struct rung_result *rungs;   /* [rung_count] those asked for; a model of 0 layers: not yet */
    double speeds[AUDIT_SPEEDS]; /* images a second, of the same run */
};

const struct dataset *audit_data(struct audit *a, struct error *err);
const struct exercise *audit_exercise(struct audit *a, struct error *err);
const struct rung_result *audit_rung(struct audit *a, const char *format, int block, const char *method,
                                     struct error *err);
void audit_free(struct audit *a);

/* Creates the folder of models; false when it cannot. */
bool audit_folder(struct audit *a, struct error *err);

/* Codes of every activation, layer by layer with qlinear_ref: at[0] is a copy of codes [count][inputs].
 * Release with layer_codes_free, also after an error. */
struct layer_codes {
    uint8_t *at[MLP_MAX_LAYERS + 1]; /* [count][widths[i]] */
};
bool layer_codes_run(const struct qmlp *q, const uint8_t *codes, size_t count, struct layer_codes *out,
                     struct error *err);
void layer_codes_free(struct layer_codes *c);

/* ---- the measures ------------------------------------------------------------------------------------------------ */

#define MEASURE(name) bool name(struct audit *a, const struct claim *c, struct finding *f, struct error *err)

/* audit_arithmetic.c: the affine map, number formats, worked examples; the same on every machine and data set */
MEASURE(measure_digits);
MEASURE(measure_scale);
MEASURE(measure_zero_formula);
MEASURE(measure_zero_point);
MEASURE(measure_distinct_codes);
MEASURE(measure_half_step);
MEASURE(measure_error_spread);
MEASURE(measure_storage);
MEASURE(measure_float_bits);
MEASURE(measure_fp16_overflow);
MEASURE(measure_bf16_range);
MEASURE(measure_bf16_precision);
MEASURE(measure_five_codes);
MEASURE(measure_five_values);
MEASURE(measure_five_error);
MEASURE(measure_numpy_scales);
MEASURE(measure_numpy_error);
MEASURE(measure_lowest_code);

/* audit_pitfalls.c: outliers, saturation, accumulators; also without data */
MEASURE(measure_outlier);
MEASURE(measure_outlier_rows);
MEASURE(measure_saturation);
MEASURE(measure_int8_product);
MEASURE(measure_sums);
MEASURE(measure_worst_sum);

/* audit_listing.c: the network of the lesson's PyTorch listing; without data */
MEASURE(measure_parameters);
MEASURE(measure_int8_parameters);
MEASURE(measure_listing_size);
MEASURE(measure_listing_drift);

/* audit_networks.c: trained networks */
MEASURE(measure_weight_band);
MEASURE(measure_same_answers);
MEASURE(measure_drop);
MEASURE(measure_tensor_extra);
MEASURE(measure_file_ratio);
MEASURE(measure_network_drift);
MEASURE(measure_relu_codes);
MEASURE(measure_network_sums);
MEASURE(measure_weight_error);
MEASURE(measure_error_of_range);
MEASURE(measure_rung_gap);
MEASURE(measure_rung_drop);
MEASURE(measure_half_of_int8);
MEASURE(measure_method_gain);
MEASURE(measure_speed);
MEASURE(measure_int8_units);
#undef MEASURE

#endif
