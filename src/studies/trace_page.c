/* The page that follows one image through the integer engine, and its worksheet. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "studies/trace.h"

struct page {
    const struct trace *t;
    FILE *out, *key; /* key: NULL, or where the answers to the blanks go */
    int blanks;
};

/* A number, or, where it is asked and this is a worksheet, a numbered blank. Up to 8 are valid at a time. Not twice
 * among the arguments of one call: the blanks would be numbered in any order. */
static const char *answer(struct page *p, bool asked, const char *format, ...) PRINTF_LIKE(3, 4);
static const char *answer(struct page *p, bool asked, const char *format, ...) {
    static char text[8][64];
    static int turn;
    char *to = text[turn = (turn + 1) % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(to, sizeof text[0], format, args);
    va_end(args);
    if (!p->key || !asked) return to;
    p->blanks++;
    fprintf(p->key, "%s(%d) %s", p->blanks % 6 == 1 ? "" : "   ", p->blanks, to);
    if (p->blanks % 6 == 0) fputc('\n', p->key);
    snprintf(to, sizeof text[0], "(%d)____", p->blanks);
    return to;
}

/* ---- the terms of a neuron -------------------------------------------------------------------------------------- */

static int32_t group_sum(const struct trace_layer *n, int first, int count, int *active) {
    int32_t sum = 0;
    *active = 0;
    for (int k = first; k < first + count && k < n->in; k++) {
        sum += trace_product(n, k);
        *active += n->x[k] != n->z_x;
    }
    return sum;
}

/* Where the group begins that is shown in full: with the input that the path comes from, or the pixel row that adds
 * most. */
static int chosen_group(const struct trace *t, int l, int row) {
    const struct trace_layer *n = &t->layer[l];
    int group = trace_group(t, l), best = 0, active, most = -1;
    if (l > 0) return t->layer[l - 1].neuron / group * group;
    if (row >= 0) return row * group;
    for (int first = 0; first < n->in; first += group) {
        int size = abs(group_sum(n, first, group, &active));
        if (active && size > most) best = first, most = size;
    }
    return best;
}

static void print_term(struct page *p, int l, int k, int32_t running) {
    const struct trace_layer *n = &p->t->layer[l];
    bool from_path = l > 0 && k == p->t->layer[l - 1].neuron, asked = l == 0 || from_path;
    double real = (double)n->s_x * (double)n->s_w * trace_product(n, k);
    if (l == 0) fprintf(p->out, "  %5d %5d", k % p->t->cols, p->t->pixels[k]);
    else fprintf(p->out, "  %5d      ", k);
    fprintf(p->out, " %9s %5d", answer(p, from_path, "%d", n->x[k]), n->w[k]);
    fprintf(p->out, " %11s", answer(p, asked, "%d", trace_product(n, k)));
    fprintf(p->out, " %11s   ", answer(p, l == 0, "%d", running));
    if (p->key && asked) fprintf(p->out, "%10s", "");
    else fprintf(p->out, "%10.5f", real);
    if (n->fp32_x) fprintf(p->out, " %10.5f", (double)n->fp32_x[k] * (double)n->fp32_w[k]);
    fprintf(p->out, "%s\n", from_path ? "  <- from above" : "");
}

static void print_terms(struct page *p, int l, int first) {
    const struct trace_layer *n = &p->t->layer[l];
    int group = trace_group(p->t, l), active;
    int32_t running = group_sum(n, 0, first, &active), before = running;
    if (l == 0)
        fprintf(p->out, "\n  a. Pixel row %d, pixel by pixel; a pixel without ink adds nothing.\n", first / group);
    else
        fprintf(p->out, "\n  a. Inputs %d to %d; one that is 0 (code %d) adds nothing.\n", first,
                (first + group < n->in ? first + group : n->in) - 1, n->z_x);
    fprintf(p->out, "  %5s %5s %9s %5s %11s %11s   %10s%s\n", l ? "input" : "col", l ? "" : "byte", "x_q", "w_q",
            n->z_x ? "(x_q-z_x)w_q" : "x_q w_q", "running sum", "real x w", n->fp32_x ? "   fp32 x w" : "");
    if (before) fprintf(p->out, "  %-39s %11d\n", l ? "the inputs before" : "the rows above", before);
    for (int k = first; k < first + group && k < n->in; k++)
        if (n->x[k] != n->z_x) print_term(p, l, k, running += trace_product(n, k));
}

static void print_ink(struct page *p, int first) {
    static const char ramp[] = " .:-=+*#%@";
    if (p->t->cols > 64) return;
    fputs("  |", p->out);
    for (int k = first; k < first + p->t->cols; k++) fputc(ramp[p->t->pixels[k] * 9 / 255], p->out);
    fputc('|', p->out);
}

static void print_group(struct page *p, int l, int first, bool chosen, bool after_chosen, int32_t *running) {
    const struct trace_layer *n = &p->t->layer[l];
    int group = trace_group(p->t, l), active;
    int32_t sum = group_sum(n, first, group, &active);
    bool asked = chosen && l == 0;
    *running += sum;
    if (!active) return;
    if (l == 0) {
        fprintf(p->out, "  %5d ", first / group);
        print_ink(p, first);
    } else {
        fprintf(p->out, "  %5d to %5d", first, (first + group < n->in ? first + group : n->in) - 1);
    }
    fprintf(p->out, " %4d %11s", active, answer(p, asked, "%d", sum));
    if (p->key && l == 0 && after_chosen) fprintf(p->out, "\n"); /* its running sum would give the answer away */
    else fprintf(p->out, " %11s%s\n", answer(p, asked, "%d", *running), chosen ? "  <- a." : "");
}

static void print_groups(struct page *p, int l, int chosen) {
    const struct trace_layer *n = &p->t->layer[l];
    int group = trace_group(p->t, l);
    int32_t running = 0;
    if (l == 0)
        fprintf(p->out,
                "\n  b. Every pixel row with ink: how many pixels, what they add together.\n"
                "  %5s %*s %4s %11s %11s\n",
                "row", p->t->cols > 64 ? 0 : p->t->cols + 3, "", "ink", "sum", "running sum");
    else
        fprintf(p->out, "\n  b. All %d inputs: how many are not 0, what they add together.\n  %14s %4s %11s %11s\n",
                n->in, "inputs", "on", "sum", "running sum");
    for (int first = 0; first < n->in; first += group)
        print_group(p, l, first, first == chosen, first > chosen, &running);
}

/* ---- from the sum to the code ----------------------------------------------------------------------------------- */

/* "  NAME   integer   real   fp32   NOTE": an empty text and a NAN leave their column empty. */
static void print_step(struct page *p, const char *name, const char *integer, const char *real, double fp32,
                       const char *note) {
    fprintf(p->out, "  %-36s %20s %13s", name, integer, real);
    if (p->t->fp32 && !isnan(fp32)) fprintf(p->out, " %12.6f", fp32);
    fprintf(p->out, "%s%s\n", *note ? "   " : "", note);
}

static void print_step_head(struct page *p, const char *real) {
    fprintf(p->out, "  %-36s %20s %13s%s\n", "", "integer", real, p->t->fp32 ? "         fp32" : "");
}

/* The real value of an accumulator, left out where it would tell an answer. */
static const char *real_of(struct page *p, const struct trace_layer *n, int32_t acc, bool asked) {
    return asked && p->key ? "" : answer(p, false, "%.6f", (double)n->s_x * (double)n->s_w * acc);
}

/* The other way to the same acc, which the engine takes. */
static void print_folding(struct page *p, const struct trace_layer *n) {
    char text[64];
    if (n->z_x == 0) {
        fprintf(p->out,
                "  (z_x is 0: no zero point is there to be folded into the bias; the engine starts from b_q "
                "itself.)\n");
        return;
    }
    fprintf(p->out,
            "  The engine does not subtract z_x from each x_q: it starts from a folded bias, and comes to the "
            "same acc.\n");
    snprintf(text, sizeof text, "= %d - %d * %d", n->bias, n->z_x, n->weight_sum);
    print_step(p, "folded bias b_q - z_x sum w_q", answer(p, true, "%d", n->folded), "", NAN, text);
    print_step(p, "+ sum of x_q w_q", answer(p, false, "%d", n->raw), "", NAN, "");
    print_step(p, "= acc", p->key ? "the same" : answer(p, false, "%d", n->folded + n->raw), "", NAN, "");
}

static void print_sums(struct page *p, const struct trace_layer *n) {
    fprintf(p->out, "\n  c. The sum and the bias: eq. 5, int32.\n");
    print_step_head(p, "x s_x s_w");
    print_step(p, "sum of products", answer(p, true, "%d", n->sum), real_of(p, n, n->sum, true), n->fp32_sum, "");
    print_step(p, "+ bias b_q = round(b / (s_x s_w))", answer(p, false, "%d", n->bias), real_of(p, n, n->bias, false),
               n->fp32_bias, "");
    print_step(p, "= acc", answer(p, true, "%d", n->acc), real_of(p, n, n->acc, true), n->fp32_sum + n->fp32_bias, "");
    print_folding(p, n);
}

static void print_requantize(struct page *p, const struct trace_layer *n, bool last) {
    char exact[64], clamp[64];
    double y = trace_output(n);
    snprintf(exact, sizeof exact, "from %.6f", ldexp((double)n->product, -n->by.right));
    snprintf(clamp, sizeof clamp, "= y_q, clamped to [%d, %d]%s", n->y_min, n->y_max, last ? "" : ": ReLU");
    fprintf(p->out, "\n  d. Back to 8 bits: eq. 6, y_q = clamp(z_y + round(acc M)), M = s_x s_w / s_y = %.9g.\n",
            (double)n->s_x * (double)n->s_w / (double)n->s_y);
    fprintf(p->out, "     In integers M = m / 2^right, m = %d, right = %d (eq. 6: shift = 31 - right = %d).\n", n->by.m,
            n->by.right, 31 - n->by.right);
    print_step_head(p, "s_y (y_q-z_y)");
    print_step(p, "acc m, 64 bits", answer(p, true, "%lld", (long long)n->product), "", NAN, "");
    print_step(p, "+ half: 2^(right - 1)", answer(p, false, "%lld", (long long)1 << (n->by.right - 1)), "", NAN, "");
    print_step(p, ">> right: rounded once, ties up", answer(p, true, "%lld", (long long)n->rounded), "", NAN,
               p->key ? "" : exact);
    print_step(p, "+ z_y", answer(p, false, "%d", n->z_y), "", NAN, "");
    const char *code = answer(p, true, "%d", n->code), *real = answer(p, true, "%.6f", y);
    print_step(p, clamp, code, real, n->fp32_y, n->rounded + n->z_y != n->code && !p->key ? "cut off" : "");
    if (n->fp32_x && !p->key)
        fprintf(p->out, "  What int8 is off by here: %+.6f, %.2f steps of s_y.\n", y - n->fp32_y,
                fabs(y - n->fp32_y) / (double)n->s_y);
}

static void print_layer(struct page *p, int l, int row) {
    const struct trace_layer *n = &p->t->layer[l];
    int chosen = chosen_group(p->t, l, row);
    bool last = l + 1 == p->t->q->shape.layers;
    fprintf(p->out, "\n==== fc%d, %s %d: %d inputs, one number ====\n", l + 1, last ? "logit" : "neuron", n->neuron,
            n->in);
    fprintf(p->out, "  x = s_x (x_q - z_x)   s_x = %.9g, z_x = %d%s\n", (double)n->s_x, n->z_x,
            l == 0 && n->s_x == 1.0f / 255 && n->z_x == 0 ? "   (1/255: the code of a pixel is its byte)" : "");
    fprintf(p->out, "  w = s_w w_q           s_w = %.9g\n", (double)n->s_w);
    fprintf(p->out, "  y = s_y (y_q - z_y)   s_y = %.9g, z_y = %d\n", (double)n->s_y, n->z_y);
    print_terms(p, l, chosen);
    print_groups(p, l, chosen);
    print_sums(p, n);
    print_requantize(p, n, last);
}

/* ---- the whole page --------------------------------------------------------------------------------------------- */

static void print_logits(struct page *p) {
    const struct trace *t = p->t;
    int last = t->q->shape.layers, neuron = t->layer[last - 1].neuron;
    fprintf(p->out, "\n==== all logits ====\n");
    fprintf(p->out, "  %5s %9s %12s%s\n", "class", "y_q", "real", t->fp32 ? "         fp32" : "");
    for (int j = 0; j < t->q->shape.widths[last]; j++) {
        double real = (double)dequantize(t->codes[last][j], t->q->activation[last]);
        fprintf(p->out, "  %5d %9s %12s", j, answer(p, j == neuron, "%d", t->codes[last][j]),
                p->key && j == neuron ? "" : answer(p, false, "%.6f", real));
        if (t->fp32) fprintf(p->out, " %12.6f", (double)t->fp32_ws.activation[last][j]);
        fprintf(p->out, "%s\n", !p->key && j == t->predicted ? "  <- the highest" : "");
    }
    fprintf(p->out, "  predicted: %s", answer(p, true, "%d", t->predicted));
    if (!p->key) fprintf(p->out, "   label: %d   %s", t->label, t->predicted == t->label ? "right" : "wrong");
    fprintf(p->out, "\n");
    if (t->ties && !p->key)
        fprintf(p->out, "  Two or more classes share the highest code: the lowest class is taken (eq. 7).\n");
}

void trace_print(const struct trace *t, const struct trace_page *page, FILE *out, FILE *key) {
    struct page p = {t, out, key, 0};
    int last = t->q->shape.layers;
    fprintf(out, "%s: test image %zu of %s", page->model, t->image, page->data);
    if (!key) fprintf(out, ", a %d", t->label); /* a worksheet does not give its answer away */
    fprintf(out, "\n");
    fprintf(out, "The path:  pixels");
    for (int l = 0; l < last; l++)
        fprintf(out, "  ->  fc%d %s %d", l + 1, l + 1 < last ? "neuron" : "logit", t->layer[l].neuron);
    fprintf(out, "\n");
    if (page->fp32) fprintf(out, "fp32: the same quantities in %s\n", page->fp32);
    if (key)
        fprintf(out,
                "Fill in the numbered blanks; a calculator helps. Every number is an integer unless it has a point.\n");
    if (key) fprintf(key, "Key to the worksheet of %s, test image %zu of %s\n", page->model, t->image, page->data);
    for (int l = 0; l < last; l++) print_layer(&p, l, page->row);
    print_logits(&p);
    if (key) fprintf(key, "%s\nMade by: %s\n", p.blanks % 6 ? "\n" : "", page->command);
    else fprintf(out, "\nEvery code on this page is the one of the integer engine (qmlp_forward_ref), checked.\n");
    fprintf(out, "%sMade by: %s\n", key ? "\n" : "", page->command);
}
