/* The offline side of eq. 6: multipliers made from scales, in floating point. */
#include "quant/requant.h"

#include <math.h>

#include "base/finite.h"
#include "quant/qmlp.h"

bool multiplier_from_real(double real, struct multiplier *out) {
    if (!is_finite(real) || real < 0 || real >= 0x1p30) return false;
    int exponent;
    double fraction = frexp(real, &exponent); /* real = fraction * 2^exponent, fraction in [1/2, 1) */
    int64_t m = (int64_t)rint(fraction * 0x1p31);
    if (m == (int64_t)1 << 31) { /* the mantissa rounded up to 1: renormalise */
        m >>= 1;
        exponent++;
    }
    *out = exponent < -31 ? (struct multiplier){0, 1} : (struct multiplier){(int32_t)m, 31 - exponent};
    return out->right >= 1;
}

/* Of which 256 steps are a number, too: codes are read back by eq. 1. */
static bool usable_scale(float scale) { return scale > 0 && is_finite((double)(256 * scale)); }

/* M[c] = s_x * s_w[c] / s_y, eq. 6, in double: both sides of a comparison with NumPy get the same m. */
static bool make_multipliers(struct qmlp *q, int l, struct error *err) {
    for (int c = 0; c < q->layer[l].out; c++) {
        float s_w = qmlp_weight_scale(q, l, c), s_x = q->activation[l].scale, s_y = q->activation[l + 1].scale;
        if (!usable_scale(s_w))
            return fail(err, "fc%d.weight_scale[%d] is %g: expected a number > 0, 256 of which are finite", l + 1, c,
                        (double)s_w);
        double real = (double)s_x * (double)s_w / (double)s_y;
        if (!multiplier_from_real(real, &q->layer[l].multiplier[c]))
            return fail(err, "fc%d: the multiplier of output %d is %g: expected less than 2^30", l + 1, c, real);
        int32_t bias = q->layer[l].bias[c]; /* not abs(bias): that of INT32_MIN is undefined */
        if (bias < -QLINEAR_MAX_BIAS || bias > QLINEAR_MAX_BIAS)
            return fail(err, "fc%d.bias[%d] is %d: expected at most 2^30 in size", l + 1, c, bias);
    }
    return true;
}

bool qmlp_finish(struct qmlp *q, struct error *err) {
    int last = q->shape.layers;
    for (int i = 0; i <= last; i++)
        if (!usable_scale(q->activation[i].scale))
            return fail(err, "the scale of %s%.0d is %g: expected a number > 0, 256 of which are finite",
                        i == last ? "the output" : "the input of fc", i == last ? 0 : i + 1,
                        (double)q->activation[i].scale);
    for (int l = 0; l < last; l++) {
        struct qlinear *layer = &q->layer[l];
        const struct qparams *y = &q->activation[l + 1];
        layer->x_zero_point = q->activation[l].zero_point;
        layer->y_zero_point = y->zero_point;
        layer->y_min = l + 1 < last ? y->zero_point : y->qmin; /* ReLU: nothing below real 0 */
        layer->y_max = y->qmax;
        if (!make_multipliers(q, l, err)) return false;
        qlinear_fold_bias(layer);
    }
    for (int byte = 0; byte < 256; byte++)
        q->pixel_code[byte] = (uint8_t)quantize((float)byte / 255.0f, q->activation[0]);
    return qmlp_use_kernel(q, qkernel_best(), err);
}
