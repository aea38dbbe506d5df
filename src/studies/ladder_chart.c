/* The ladder as small multiples: a panel for each number of bits, in it a row for each rung, which so has its name
 * beside its marks. Left the accuracy, by the logarithm of the error, mean and standard deviation over the seeds; right
 * the KL divergence from fp32. */
#include "studies/ladder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"
#include "base/text.h"

enum { COLUMN = 690, LABEL = 10, BITS = 300, LEFT = 316, RIGHT = 500, KL_LEFT = 524, KL_RIGHT = 670 };
enum { TOP = 92, LINE = 15, HEAD = 40, FOOT = 12, MAX_PANELS = 16 };

struct panel {
    const struct rung *first;
    int rows, column, y;
    double lowest, highest; /* of the accuracy axis, in percent */
};

/* Okabe and Ito's colours, and a shape each for those who see none. */
static const struct family {
    const char *name, *colour, *marker;
} families[] = {{"weights rounded without data", "#009e73", "M-4,0a4,4 0 1 0 8,0a4,4 0 1 0 -8,0z"},
                {"codes chosen on training images", "#0072b2", "M-5,0l5,-5l5,5l-5,5z"},
                {"trained on: hold it against \xe2\x80\x9cone more epoch\xe2\x80\x9d", "#d55e00", "M-5,4h10l-5,-9z"}};

static const struct family *family_of(const struct rung *r) {
    return &families[rung_trains(r) ? 2 : r->how != METHOD_RTN && r->how != METHOD_RTN_MSE];
}

static double accuracy_of(const struct rung_value *x) { return x->accuracy; }
static double kl_of(const struct rung_value *x) { return x->kl; }
static double bits_of(const struct rung_value *x) { return x->bits; }

static double clamped(double x) { return fmin(fmax(x, 0), 1); }

static double accuracy_x(const struct panel *p, double accuracy) {
    double from = log(100 - p->lowest), to = log(100 - p->highest), at = log(fmax(100 - accuracy, 1e-3));
    return LEFT + (RIGHT - LEFT) * clamped((at - from) / (to - from));
}

/* From 1e-8 to 10 nats. */
static double kl_x(double kl) { return KL_LEFT + (KL_RIGHT - KL_LEFT) * clamped((log10(fmax(kl, 1e-9)) + 8) / 9); }

static void text_at(FILE *f, double x, double y, const char *how, const char *text) {
    fprintf(f, "<text x='%.1f' y='%.1f'%s>", x, y, how);
    text_html(text, f);
    fprintf(f, "</text>\n");
}

static void draw_axes(FILE *f, const struct panel *p, double fp32, double longer) {
    static const double ticks[] = {10,   20,   40, 60,   80,   90,   95,   96,   97,   97.5, 97.6, 97.7,
                                   97.8, 97.9, 98, 98.1, 98.2, 98.3, 98.4, 98.6, 98.8, 99,   99.2, 99.5};
    double last = -INFINITY, bottom = p->y + HEAD + p->rows * LINE;
    char text[32];
    for (size_t i = 0; i < sizeof ticks / sizeof ticks[0]; i++) {
        double x = accuracy_x(p, ticks[i]);
        if (ticks[i] < p->lowest || ticks[i] > p->highest || x < last + 30) continue;
        snprintf(text, sizeof text, "%g", ticks[i]);
        fprintf(f, "<path stroke='#ddd' d='M%.1f,%dV%.1f'/>", x, p->y + HEAD - 6, bottom);
        text_at(f, last = x, p->y + HEAD - 10, " text-anchor='middle' fill='#444'", text);
    }
    for (int power = -7; power <= 1; power += 2) {
        double x = kl_x(pow(10, power));
        snprintf(text, sizeof text, "1e%d", power);
        fprintf(f, "<path stroke='#ddd' d='M%.1f,%dV%.1f'/>", x, p->y + HEAD - 6, bottom);
        text_at(f, x, p->y + HEAD - 10, " text-anchor='middle' fill='#444'", text);
    }
    bool trains = false;
    for (const struct rung *r = p->first; r < p->first + p->rows; r++) trains |= rung_trains(r);
    fprintf(f, "<path stroke='black' d='M%.1f,%dV%.1f'/>\n", accuracy_x(p, fp32), p->y + HEAD - 6, bottom);
    if (trains)
        fprintf(f, "<path stroke='#d55e00' stroke-dasharray='4 3' d='M%.1f,%dV%.1f'/>\n", accuracy_x(p, longer),
                p->y + HEAD - 6, bottom);
}

static void draw_row(FILE *f, const struct ladder_values *v, const struct panel *p, const struct rung *r) {
    const struct family *family = family_of(r);
    struct sums accuracy = ladder_sums(v, r, accuracy_of), kl = ladder_sums(v, r, kl_of);
    struct sums bits = ladder_sums(v, r, bits_of);
    double mean = sums_mean(&accuracy), sd = v->seeds > 1 ? sums_deviation(&accuracy) : 0;
    double y = p->y + HEAD + LINE * (double)(r - p->first) + LINE / 2.0;
    char format[64], label[160];
    rung_format(r, v->group, format, sizeof format);
    snprintf(label, sizeof label, "%s  %s", format, r->method);
    text_at(f, LABEL, y + 4, ladder_is_best(v, r) ? " font-weight='bold'" : "", label);
    snprintf(label, sizeof label, "%.2f", sums_mean(&bits));
    text_at(f, BITS, y + 4, " text-anchor='end' fill='#444'", label);
    fprintf(f,
            "<g stroke='%s' fill='%s'><path stroke-width='1.5' d='M%.1f,%.1fH%.1f'/>"
            "<path transform='translate(%.1f,%.1f)' d='%s'/>",
            family->colour, family->colour, accuracy_x(p, mean - sd), y, accuracy_x(p, mean + sd), accuracy_x(p, mean),
            y, family->marker);
    if (sums_mean(&kl) > 0)
        fprintf(f, "<path stroke-width='1.5' d='M%.1f,%.1fH%.1f'/><path transform='translate(%.1f,%.1f)' d='%s'/>",
                kl_x(kl.lowest), y, kl_x(kl.highest), kl_x(sums_mean(&kl)), y, family->marker);
    fputs("</g>\n", f);
}

static void draw_panel(FILE *f, const struct ladder_values *v, const struct panel *p) {
    const struct rung *longer = rungs;
    char title[32];
    while (strcmp(longer->option, "longer") != 0 && longer < rungs + rung_count - 1) longer++;
    struct sums fp32 = ladder_sums(v, rungs, accuracy_of), more = ladder_sums(v, longer, accuracy_of);
    fprintf(f, "<g transform='translate(%d,0)'>\n", p->column * COLUMN);
    rung_section(p->first, title, sizeof title);
    text_at(f, LABEL, p->y + 14, " font-size='14' font-weight='bold'", title);
    text_at(f, BITS, p->y + 14, " text-anchor='end' fill='#444'", "bits stored");
    text_at(f, (LEFT + RIGHT) / 2.0, p->y + 14, " text-anchor='middle'", "test accuracy, %");
    text_at(f, (KL_LEFT + KL_RIGHT) / 2.0, p->y + 14, " text-anchor='middle'", "KL from fp32, nats");
    draw_axes(f, p, sums_mean(&fp32), sums_mean(&more));
    for (const struct rung *r = p->first; r < p->first + p->rows; r++) draw_row(f, v, p, r);
    fputs("</g>\n", f);
}

/* What the panel's axis has to hold: fp32, and all rungs with their deviations, to half the error's logarithm at most.
 */
static void set_range(const struct ladder_values *v, struct panel *p) {
    struct sums fp32 = ladder_sums(v, rungs, accuracy_of);
    p->lowest = p->highest = sums_mean(&fp32);
    for (const struct rung *r = p->first; r < p->first + p->rows; r++) {
        struct sums s = ladder_sums(v, r, accuracy_of);
        double sd = v->seeds > 1 ? sums_deviation(&s) : 0;
        p->lowest = fmin(p->lowest, sums_mean(&s) - sd);
        p->highest = fmax(p->highest, sums_mean(&s) + sd);
    }
    p->highest = fmin(100 - (100 - p->highest) * 0.96, 99.99);
    p->lowest = fmax(fmin(100 - (100 - p->lowest) * 1.04, p->highest - 0.05), 1);
}

/* Panels [MAX_PANELS], from top to bottom, a second column begun where half of the height is used. Returns how many. */
static int lay_out(const struct ladder_values *v, struct panel *panels, int *height) {
    int count = 0, total = 0, y = TOP, column = 0;
    for (const struct rung *r = rungs; r < rungs + rung_count && count < MAX_PANELS; count++) {
        struct panel *p = &panels[count];
        *p = (struct panel){.first = r};
        while (r < rungs + rung_count && r->bits == p->first->bits) r++;
        p->rows = (int)(r - p->first);
        total += HEAD + FOOT + p->rows * LINE;
        set_range(v, p);
    }
    *height = 0;
    for (struct panel *p = panels; p < panels + count; p++) {
        int size = HEAD + FOOT + p->rows * LINE;
        if (column == 0 && p > panels && y - TOP + size / 2 > total / 2) column = 1, y = TOP;
        p->column = column, p->y = y;
        y += size;
        *height = y > *height ? y : *height;
    }
    return count;
}

bool draw_ladder(const char *path, const struct ladder_values *v, struct error *err) {
    struct panel panels[MAX_PANELS];
    struct out_file out;
    int height, count = lay_out(v, panels, &height);
    if (!out_file_open(&out, path, err)) return false;
    FILE *f = out.stream;
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='11'>\n"
            "<title>The ladder: accuracy and KL divergence of every rung</title>"
            "<rect width='100%%' height='100%%' fill='white'/>\n",
            2 * COLUMN, height);
    text_at(f, LABEL, 26, " font-size='17' font-weight='bold'", "The ladder: every rung, by the bits of its weights");
    char about[512];
    snprintf(
        about, sizeof about,
        "%s%s. Line: fp32; dashed: fp32, one more epoch. Bold: the least KL of its bits, but for those that train.",
        v->about, v->seeds > 1 ? ": means; bars \xc2\xb1 one standard deviation (of KL: least to most)" : "");
    text_at(f, LABEL, 48, " font-size='12' fill='#333'", about);
    for (int i = 0; i < 3; i++) {
        fprintf(f, "<path transform='translate(%d,66)' fill='%s' d='%s'/>", LABEL + 6 + 250 * i, families[i].colour,
                families[i].marker);
        text_at(f, LABEL + 18 + 250 * i, 70, "", families[i].name);
    }
    for (int i = 0; i < count; i++) draw_panel(f, v, &panels[i]);
    fprintf(f, "</svg>\n");
    return out_file_commit(&out, err);
}
