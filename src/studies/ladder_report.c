/* The ladder's means over seeds, and the claims of its methods' papers beside what came out. */
#include "studies/ladder.h"

#include <math.h>
#include <string.h>

#include "base/finite.h"
#include "base/stats.h"

struct sums ladder_sums(const struct ladder_values *v, const struct rung *rung,
                        double (*of)(const struct rung_value *value)) {
    struct sums s = {0};
    for (int i = 0; i < v->seeds; i++) sums_add(&s, of(&v->of[(rung - rungs) * v->seeds + i]));
    return s;
}

static double accuracy_of(const struct rung_value *x) { return x->accuracy; }
static double change_of(const struct rung_value *x) { return x->change; }
static double bits_of(const struct rung_value *x) { return x->bits; }
static double sqnr_of(const struct rung_value *x) { return x->sqnr; }
static double logit_sqnr_of(const struct rung_value *x) { return x->logit_sqnr; }
static double kl_of(const struct rung_value *x) { return x->kl; }

static double mean_of(const struct ladder_values *v, const struct rung *rung, double (*of)(const struct rung_value *)) {
    struct sums s = ladder_sums(v, rung, of);
    return sums_mean(&s);
}

bool ladder_is_best(const struct ladder_values *v, const struct rung *rung) {
    if (rung_trains(rung) || strcmp(rung->option, "none") == 0) return false;
    for (const struct rung *r = rungs; r < rungs + rung_count; r++)
        if (r->bits == rung->bits && !rung_trains(r) && strcmp(r->option, "none") != 0 &&
            mean_of(v, r, kl_of) < mean_of(v, rung, kl_of))
            return false;
    return true;
}

void fill_means(struct table *t, const struct ladder_values *v) {
    for (int i = 1; i <= v->layers; i++) table_add_columns(t, "fc%d_output_error-", i);
    table_note(
        t,
        "What to see: where accuracy cannot tell methods apart, KL divergence and the layers' output errors can. "
        "best: nearest to fp32 by KL divergence among the rungs of its bits; those that train on (QAT, one more "
        "epoch) are another network and left out. Compare their accuracy with that of \"one more epoch\", not "
        "with fp32's.");
    table_note(t,
               "KL: divergence of the answers' probabilities from fp32's, nats an image. logit sqnr: of the logits "
               "against fp32's. Output error: sum of squares of (W - W_hat) x over the test images and outputs of a "
               "layer, relative to that of W x, with x from the fp32 network. Means over the seeds.");
    for (const struct rung *r = rungs; r < rungs + rung_count; r++) {
        char format[64], section[32];
        struct sums accuracy = ladder_sums(v, r, accuracy_of);
        rung_format(r, v->group, format, sizeof format);
        rung_section(r, section, sizeof section);
        if (r == rungs || r->bits != r[-1].bits) table_group(t, "%s", section);
        table_row(t, "%s | %s | %.3f | %.1f | %.3f | %.3f | %+.3f | %.7f | %.2f | %s", format, r->method,
                  mean_of(v, r, bits_of), mean_of(v, r, sqnr_of), sums_mean(&accuracy), sums_deviation(&accuracy),
                  mean_of(v, r, change_of), mean_of(v, r, kl_of), mean_of(v, r, logit_sqnr_of),
                  ladder_is_best(v, r) ? "best" : "");
        for (int layer = 0; layer < v->layers; layer++) {
            double sum = 0;
            for (int i = 0; i < v->seeds; i++) sum += v->of[(r - rungs) * v->seeds + i].output_error[layer];
            table_row(t, "%.7f", sum / v->seeds);
        }
    }
}

/* ---- what the papers claim --------------------------------------------------------------------------------------- */

enum measure { OUTPUT_ERROR, KL, ACCURACY };

/* A method's one claim, in our own words: that it beats another rung by a measure. Formats without their group. */
static const struct method_claim {
    const char *format, *option, *base_format, *base_option;
    enum measure measure;
    const char *claim, *reference;
} claims[] = {
#include "studies/ladder_claims.h"
};

static const struct rung *rung_of(const char *format, const char *option) {
    size_t length = strcspn(format, "/");
    const char *block = format + length;
    int wanted = strcmp(block, "/row") == 0 ? CODEC_ROW : strcmp(block, "/tensor") == 0 ? CODEC_TENSOR : BLOCK_GROUP;
    for (const struct rung *r = rungs; r < rungs + rung_count; r++)
        if (strncmp(r->format, format, length) == 0 && !r->format[length] && strcmp(r->option, option) == 0 &&
            (!*block || r->block == wanted))
            return r;
    return NULL;
}

/* The measure of one network: less is better. */
static double cost(const struct ladder_values *v, const struct rung_value *x, enum measure measure) {
    if (measure == ACCURACY) return 100 - x->accuracy;
    if (measure == KL) return log(x->kl);
    double sum = 0;
    for (int i = 0; i < v->layers; i++) sum += log(x->output_error[i]);
    return sum / v->layers;
}

const char methods_columns[] =
    "format method against claim- reference- measure gain p shows accuracy_gain:accuracy accuracy_p-";

static void add_method(struct table *t, const struct ladder_values *v, const struct method_claim *c,
                       const struct rung *rung, const struct rung *base) {
    static const char *const names[] = {"output error", "KL", "accuracy"};
    double gains[MOST_SEEDS] = {0}, points[MOST_SEEDS] = {0};
    struct sums gain = {0}, accuracy = {0};
    int n = v->seeds < MOST_SEEDS ? v->seeds : MOST_SEEDS;
    char format[64], base_format[64];
    for (int i = 0; i < n; i++) {
        const struct rung_value *x = &v->of[(rung - rungs) * v->seeds + i], *y = &v->of[(base - rungs) * v->seeds + i];
        sums_add(&gain, gains[i] = cost(v, y, c->measure) - cost(v, x, c->measure));
        sums_add(&accuracy, points[i] = x->accuracy - y->accuracy);
    }
    double p = paired_t_p(gains, n), mean = sums_mean(&gain);
    const char *verdict = n < 2 || is_nan(p) ? "one seed" : p >= 0.05 ? "no difference" : mean > 0 ? "yes" : "opposite";
    rung_format(rung, v->group, format, sizeof format);
    rung_format(base, v->group, base_format, sizeof base_format);
    char against[128];
    snprintf(against, sizeof against, "%s%s%s", strcmp(format, base_format) ? base_format : "",
             strcmp(format, base_format) ? ", " : "", base->method);
    table_row(t, "%s | %s | %s | %s | %s | %s", format, rung->method, against, c->claim, c->reference,
              names[c->measure]);
    if (c->measure == ACCURACY) table_row(t, "%+.3f", mean);
    else table_row(t, "%.2f", exp(mean));
    table_row(t, "%.4f | %s | %+.3f | %.4f", p, verdict, sums_mean(&accuracy), paired_t_p(points, n));
}

void fill_methods(struct table *t, const struct ladder_values *v) {
    table_note(t,
               "What to see: which methods do here what their papers claim, %s. gain: how many times less output error "
               "(geometric mean of layers) or KL divergence from fp32 than the rung it is held against, or points of "
               "accuracy. accuracy: its gain in points, whatever was claimed. shows: yes or the opposite where p < "
               "0.05 in Student's paired test over the seeds, no difference else: none shown, which is not that there "
               "is none.",
               v->about);
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        const struct rung *rung = rung_of(claims[i].format, claims[i].option);
        const struct rung *base = rung_of(claims[i].base_format, claims[i].base_option);
        if (rung && base) add_method(t, v, &claims[i], rung, base);
    }
}
