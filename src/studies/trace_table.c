/* Every number of a trace as rows of a table. */
#include <math.h>

#include "studies/trace.h"

const char trace_columns[] = "layer neuron step k byte x_q w_q integer running_sum real fp32";

static void begin_row(struct table *table, int l, int neuron, const char *step) {
    table_row(table, "fc%d | %d | %s", l + 1, neuron, step);
}

static void add_term(struct table *table, const struct trace *t, int l, int k, int32_t running) {
    const struct trace_layer *n = &t->layer[l];
    begin_row(table, l, n->neuron, "term");
    table_row(table, "%d", k);
    if (l == 0) table_row(table, "%d", t->pixels[k]);
    else table_row(table, " ");
    table_row(table, "%d | %d | %d | %d | %.8f | %.8f", n->x[k], n->w[k], trace_product(n, k), running,
              (double)n->s_x * (double)n->s_w * trace_product(n, k),
              n->fp32_x ? (double)n->fp32_x[k] * (double)n->fp32_w[k] : NAN);
}

/* A number of the neuron: as an integer, a real number, and what fp32 has; NAN leaves a cell empty. */
static void add_step(struct table *table, int l, const struct trace_layer *n, const char *step, bool is_integer,
                     long long integer, double real, double fp32) {
    begin_row(table, l, n->neuron, step);
    for (int i = 0; i < 4; i++) table_row(table, " ");
    if (is_integer) table_row(table, "%lld", integer);
    else table_row(table, " ");
    table_row(table, " | %.12f | %.12f", real, n->fp32_x ? fp32 : NAN);
}

static void add_neuron(struct table *table, const struct trace *t, int l) {
    const struct trace_layer *n = &t->layer[l];
    double s = (double)n->s_x * (double)n->s_w;
    int32_t running = 0;
    add_step(table, l, n, "s_x", false, 0, (double)n->s_x, NAN);
    add_step(table, l, n, "z_x", true, n->z_x, NAN, NAN);
    add_step(table, l, n, "s_w", false, 0, (double)n->s_w, NAN);
    for (int k = 0; k < n->in; k++)
        if (trace_product(n, k) != 0) add_term(table, t, l, k, running += trace_product(n, k));
    add_step(table, l, n, "sum", true, n->sum, s * n->sum, n->fp32_sum);
    add_step(table, l, n, "b_q", true, n->bias, s * n->bias, n->fp32_bias);
    add_step(table, l, n, "acc", true, n->acc, s * n->acc, n->fp32_sum + n->fp32_bias);
    add_step(table, l, n, "sum w_q", true, n->weight_sum, NAN, NAN);
    add_step(table, l, n, "folded bias", true, n->folded, NAN, NAN);
    add_step(table, l, n, "sum x_q w_q", true, n->raw, NAN, NAN);
    add_step(table, l, n, "s_y", false, 0, (double)n->s_y, NAN);
    add_step(table, l, n, "M", false, 0, s / (double)n->s_y, NAN);
    add_step(table, l, n, "m", true, n->by.m, NAN, NAN);
    add_step(table, l, n, "right", true, n->by.right, NAN, NAN);
    add_step(table, l, n, "shift", true, 31 - n->by.right, NAN, NAN);
    add_step(table, l, n, "acc m", true, n->product, ldexp((double)n->product, -n->by.right), NAN);
    add_step(table, l, n, "half", true, (int64_t)1 << (n->by.right - 1), NAN, NAN);
    add_step(table, l, n, "rounded", true, n->rounded, NAN, NAN);
    add_step(table, l, n, "z_y", true, n->z_y, NAN, NAN);
    add_step(table, l, n, "y_min", true, n->y_min, NAN, NAN);
    add_step(table, l, n, "y_max", true, n->y_max, NAN, NAN);
    add_step(table, l, n, "y_q", true, n->code, trace_output(n), n->fp32_y);
}

void fill_trace(struct table *table, const struct trace *t) {
    int last = t->q->shape.layers;
    for (int l = 0; l < last; l++) add_neuron(table, t, l);
    for (int j = 0; j < t->q->shape.widths[last]; j++) {
        begin_row(table, last - 1, j, j == t->predicted ? "logit, predicted" : "logit");
        for (int i = 0; i < 4; i++) table_row(table, " ");
        table_row(table, "%d |  | %.8f | %.8f", t->codes[last][j],
                  (double)dequantize(t->codes[last][j], t->q->activation[last]),
                  t->fp32 ? (double)t->fp32_ws.activation[last][j] : NAN);
    }
    table_note(table,
               "Image %zu, a %d, predicted %d. term: the inputs whose product is not 0; integer: (x_q - z_x) w_q, "
               "its running sum is int32 (eq. 5). M = s_x s_w / s_y = m / 2^right, shift = 31 - right; rounded = "
               "(acc m + half) >> right in 64 bits; y_q = clamp(z_y + rounded) to [y_min, y_max] (eq. 6). real: the "
               "integer times its scale (of acc m: before rounding). fp32: the same quantity in the fp32 network.",
               t->image, t->label, t->predicted);
}
