#include "studies/trace.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "base/text.h"

enum { PER_LINE = 4, WIDTH = 80 }; /* answers of a key; columns */

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
    fprintf(p->key, "%s(%d) %s", p->blanks % PER_LINE == 1 ? "" : "   ", p->blanks, to);
    if (p->blanks % PER_LINE == 0) fputc('\n', p->key);
    snprintf(to, sizeof text[0], "(%d)____", p->blanks);
    return to;
}

static double real_of(const struct page *p, int l, const char *name) { return trace_find(p->t, l, name)->real; }
static long long integer_of(const struct page *p, int l, const char *name) {
    return trace_find(p->t, l, name)->integer;
}
static int neuron_of(const struct page *p, int l) { return p->t->steps[p->t->first[l]].neuron; }
static int inputs_of(const struct page *p, int l) { return p->t->q->shape.widths[l]; }

/* ---- the terms of a neuron, in groups --------------------------------------------------------------------------- */

/* Terms that belong together: a pixel row of the image in layer 1, else a run of neighbouring inputs. */
static int group_size(const struct page *p, int l) {
    int size = 16;
    while (inputs_of(p, l) > 32 * size) size *= 2; /* at most 32 lines a layer */
    return l == 0 ? p->t->cols : size;
}

struct group {
    int end;                        /* its last input; the last group of a layer may be shorter */
    const struct trace_step *terms; /* [count] whose input is not 0 */
    int count;
    long long sum, before; /* of the terms, of all terms before them */
};

static struct group find_group(const struct page *p, int l, int first) {
    const struct trace_step *step = trace_find(p->t, l, "s_w") + 1, *sum = trace_find(p->t, l, "sum");
    int end = first + group_size(p, l);
    struct group g = {.end = (end < inputs_of(p, l) ? end : inputs_of(p, l)) - 1};
    for (; step < sum && step->k < first; step++) g.before = step->running;
    for (g.terms = step; step < sum && step->k <= g.end; step++, g.count++) g.sum += step->integer;
    return g;
}

/* Where the group begins that is shown in full: with the input that the path comes from, or the pixel row that adds
 * most. */
static int chosen_group(const struct page *p, int l, int row) {
    int size = group_size(p, l), best = 0;
    long long most = -1;
    if (l > 0) return neuron_of(p, l - 1) / size * size;
    if (row >= 0) return row * size;
    for (int first = 0; first < inputs_of(p, l); first += size) {
        struct group g = find_group(p, l, first);
        if (g.count && llabs(g.sum) > most) best = first, most = llabs(g.sum);
    }
    return best;
}

static void print_term(struct page *p, int l, const struct trace_step *s) {
    bool from_path = l > 0 && s->k == neuron_of(p, l - 1), asked = l == 0 || from_path;
    if (l == 0) fprintf(p->out, "  %5d %5d", s->k % p->t->cols, p->t->pixels[s->k]);
    else fprintf(p->out, "  %5d      ", s->k);
    fprintf(p->out, " %9s %5d", answer(p, from_path, "%d", s->x_q), s->w_q);
    fprintf(p->out, " %11s", answer(p, asked, "%lld", s->integer));
    fprintf(p->out, " %11s  ", answer(p, l == 0, "%d", s->running));
    if (p->key && asked) fprintf(p->out, "%10s", "");
    else fprintf(p->out, "%10.5f", s->real);
    if (p->t->has_fp32) fprintf(p->out, " %10.5f", s->fp32);
    fprintf(p->out, "%s\n", from_path ? "  <-" : "");
}

static void print_terms(struct page *p, int l, int first) {
    struct group g = find_group(p, l, first);
    long long z_x = integer_of(p, l, "z_x");
    if (l == 0)
        fprintf(p->out, "\n  a. Pixel row %d, pixel by pixel; a pixel without ink adds nothing.\n",
                first / group_size(p, l));
    else
        fprintf(p->out, "\n  a. Inputs %d to %d; one that is 0 (code %lld) adds nothing. <-: from above.\n", first,
                g.end, z_x);
    fprintf(p->out, "  %5s %5s %9s %5s %11s %11s  %10s%s\n", l ? "input" : "col", l ? "" : "byte", "x_q", "w_q",
            z_x ? "(x_q-z_x)w_q" : "x_q w_q", "running sum", "real x w", p->t->has_fp32 ? "   fp32 x w" : "");
    if (g.before) fprintf(p->out, "  %-39s %11lld\n", l ? "the inputs before" : "the rows above", g.before);
    for (int i = 0; i < g.count; i++) print_term(p, l, &g.terms[i]);
}

static void print_ink(struct page *p, int first) {
    static const char ramp[] = " .:-=+*#%@";
    if (p->t->cols > 64) return;
    fputs("  |", p->out);
    for (int k = first; k < first + p->t->cols; k++) fputc(ramp[p->t->pixels[k] * 9 / 255], p->out);
    fputc('|', p->out);
}

static void print_groups(struct page *p, int l, int chosen) {
    int size = group_size(p, l);
    if (l == 0)
        fprintf(p->out,
                "\n  b. Every pixel row with ink: how many pixels, what they add together.\n"
                "  %5s %*s %4s %11s %11s\n",
                "row", p->t->cols > 64 ? 0 : p->t->cols + 3, "", "ink", "sum", "running sum");
    else
        fprintf(p->out, "\n  b. All %d inputs: how many are not 0, what they add together.\n  %14s %4s %11s %11s\n",
                inputs_of(p, l), "inputs", "on", "sum", "running sum");
    for (int first = 0; first < inputs_of(p, l); first += size) {
        struct group g = find_group(p, l, first);
        bool asked = first == chosen && l == 0;
        if (!g.count) continue;
        if (l == 0) {
            fprintf(p->out, "  %5d ", first / size);
            print_ink(p, first);
        } else {
            fprintf(p->out, "  %5d to %5d", first, g.end);
        }
        fprintf(p->out, " %4d %11s", g.count, answer(p, asked, "%lld", g.sum));
        if (p->key && l == 0 && first > chosen) fprintf(p->out, "\n"); /* its running sum would give the answer away */
        else fprintf(p->out, " %11s%s\n", answer(p, asked, "%lld", g.before + g.sum), first == chosen ? "  <- a." : "");
    }
}

/* ---- from the sum to the code ----------------------------------------------------------------------------------- */

static void print_head(struct page *p, const char *real) {
    fprintf(p->out, "  %-33s %17s %13s%s\n", "", "integer", real, p->t->has_fp32 ? "        fp32" : "");
}

/* Of a layer's steps from one name to another those that have a line: "  NAME   integer   real   fp32   NOTE". A
 * worksheet leaves out the real value where it would tell an answer. */
static void print_steps(struct page *p, int l, const char *first, const char *last) {
    for (const struct trace_step *s = trace_find(p->t, l, first); s <= trace_find(p->t, l, last); s++) {
        if (!*s->says) continue;
        bool asked = s->page & TRACE_ASKED, asks_real = s->page & TRACE_ASKS_REAL;
        bool shows_real = s->page & TRACE_SHOWS_REAL && (!p->key || !asked || asks_real);
        const char *integer = answer(p, asked, "%lld", s->integer);
        fprintf(p->out, "  %-33s %17s", s->says, integer);
        if (shows_real || !is_nan(s->fp32))
            fprintf(p->out, " %13s", shows_real ? answer(p, asks_real, "%.6f", s->real) : "");
        if (!is_nan(s->fp32)) fprintf(p->out, " %11.6f", s->fp32);
        if (*s->note && !(p->key && s->page & TRACE_NOTE_TELLS)) fprintf(p->out, "   %s", s->note);
        fprintf(p->out, "\n");
    }
}

/* Eq. 5, and the other way to the same acc, which the engine takes. */
static void print_sums(struct page *p, int l) {
    fprintf(p->out, "\n  c. The sum and the bias: eq. 5, int32.\n");
    print_head(p, "x s_x s_w");
    print_steps(p, l, "sum", "acc");
    if (integer_of(p, l, "z_x") == 0) {
        fprintf(
            p->out,
            "  (z_x is 0: no zero point is there to be folded into the bias; the engine\n  starts from b_q itself.)\n");
        return;
    }
    fprintf(p->out,
            "  The engine does not subtract z_x from each x_q: it starts from a folded bias,\n  and comes to the same "
            "acc.\n");
    print_steps(p, l, "folded bias", "sum x_q w_q");
    fprintf(p->out, "  %-33s %17s\n", "= acc", p->key ? "the same" : answer(p, false, "%lld", integer_of(p, l, "acc")));
}

static void print_requantize(struct page *p, int l) {
    const struct trace_step *code = trace_find(p->t, l, "y_q");
    fprintf(p->out, "\n  d. Back to 8 bits: eq. 6, y_q = clamp(z_y + round(acc M)).\n     M = s_x s_w / s_y = %.9g.\n",
            real_of(p, l, "M"));
    fprintf(p->out,
            "     In integers M = m / 2^right, m = %lld, right = %lld\n     (eq. 6: shift = 31 - right = %lld).\n",
            integer_of(p, l, "m"), integer_of(p, l, "right"), integer_of(p, l, "shift"));
    print_head(p, "s_y (y_q-z_y)");
    print_steps(p, l, "acc m", "y_q");
    if (p->t->has_fp32 && !p->key)
        fprintf(p->out, "  What int8 is off by here: %+.6f, %.2f steps of s_y.\n", code->real - code->fp32,
                fabs(code->real - code->fp32) / real_of(p, l, "s_y"));
}

static void print_layer(struct page *p, int l, int row) {
    int chosen = chosen_group(p, l, row);
    bool last = l + 1 == p->t->q->shape.layers;
    double s_x = real_of(p, l, "s_x");
    long long z_x = integer_of(p, l, "z_x");
    fprintf(p->out, "\n==== fc%d, %s %d: %d inputs, one number ====\n", l + 1, last ? "logit" : "neuron",
            neuron_of(p, l), inputs_of(p, l));
    fprintf(p->out, "  x = s_x (x_q - z_x)   s_x = %.9g, z_x = %lld%s\n", s_x, z_x,
            l == 0 && s_x == (double)(1.0f / 255) && z_x == 0
                ? "\n                        (1/255: the code of a pixel is its byte)"
                : "");
    fprintf(p->out, "  w = s_w w_q           s_w = %.9g\n", real_of(p, l, "s_w"));
    fprintf(p->out, "  y = s_y (y_q - z_y)   s_y = %.9g, z_y = %lld\n", real_of(p, l, "s_y"), integer_of(p, l, "z_y"));
    print_terms(p, l, chosen);
    print_groups(p, l, chosen);
    print_sums(p, l);
    print_requantize(p, l);
}

/* ---- the whole page --------------------------------------------------------------------------------------------- */

static void print_logits(struct page *p) {
    const struct trace *t = p->t;
    int layers = t->q->shape.layers, neuron = neuron_of(p, layers - 1);
    fprintf(p->out, "\n==== all logits ====\n  %5s %9s %12s%s\n", "class", "y_q", "real",
            t->has_fp32 ? "         fp32" : "");
    for (const struct trace_step *s = t->steps + t->first[layers]; s < t->steps + t->first[layers + 1]; s++) {
        bool asked = s->neuron == neuron;
        fprintf(p->out, "  %5d %9s %12s", s->neuron, answer(p, asked, "%lld", s->integer),
                p->key && asked ? "" : answer(p, false, "%.6f", s->real));
        if (t->has_fp32) fprintf(p->out, " %12.6f", s->fp32);
        fprintf(p->out, "%s\n", !p->key && s->neuron == t->predicted ? "  <- the highest" : "");
    }
    fprintf(p->out, "  predicted: %s", answer(p, true, "%d", t->predicted));
    if (!p->key) fprintf(p->out, "   label: %d   %s", t->label, t->predicted == t->label ? "right" : "wrong");
    fprintf(p->out, "\n");
    if (t->ties && !p->key)
        fprintf(p->out, "  Two or more classes share the highest code: the lowest class is taken (eq. 7).\n");
}

/* A line that names files, wrapped. */
static void print_line(FILE *to, const char *format, ...) PRINTF_LIKE(2, 3);
static void print_line(FILE *to, const char *format, ...) {
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mask_control_characters(text);
    print_wrapped(to, text, 0, WIDTH);
}

void trace_print(const struct trace *t, const struct trace_page *page, FILE *out, FILE *key) {
    struct page p = {t, out, key, 0};
    int last = t->q->shape.layers;
    if (key) print_line(out, "%s: test image %zu of %s", page->model, t->image, page->data);
    else print_line(out, "%s: test image %zu of %s, a %d", page->model, t->image, page->data, t->label);
    /* a worksheet does not give its answer away */
    fprintf(out, "The path:  pixels");
    for (int l = 0; l < last; l++)
        fprintf(out, "  ->  fc%d %s %d", l + 1, l + 1 < last ? "neuron" : "logit", neuron_of(&p, l));
    fprintf(out, "\n");
    if (page->fp32) print_line(out, "fp32: the same quantities in %s", page->fp32);
    if (key) {
        fprintf(
            out,
            "Fill in the numbered blanks; a calculator helps. Every number is an integer\nunless it has a point.\n");
        print_line(key, "Key to the worksheet of %s, test image %zu of %s", page->model, t->image, page->data);
    }
    for (int l = 0; l < last; l++) print_layer(&p, l, page->row);
    print_logits(&p);
    if (key) {
        fputs(p.blanks % PER_LINE ? "\n\n" : "\n", key);
        print_line(key, "Made by: %s", page->command);
    } else fprintf(out, "\nEvery code here is the one of the integer engine (qmlp_forward_ref), checked.\n");
    if (key) fputc('\n', out);
    print_line(out, "Made by: %s", page->command);
}
