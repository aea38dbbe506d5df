#include "lowbit/weight_only.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "nn/gemm.h"
#include "lowbit/adaround.h"
#include "lowbit/awq.h"
#include "lowbit/bias_correction.h"
#include "lowbit/half.h"

const char *const method_names[METHODS] = {"rtn", "imatrix", "rtn-mse", "gptq", "gptq-act-order", "awq", "adaround"};

bool weight_only_create(const struct mlp_shape *shape, const struct codec *codecs, bool with_divisor,
                        struct weight_only *out, struct error *err) {
    *out = (struct weight_only){.shape = *shape};
    struct block *b = &out->block;
    do {
        for (int i = 0; i < shape->layers; i++) {
            struct coded_layer *layer = &out->layer[i];
            size_t in = (size_t)shape->widths[i], width = (size_t)shape->widths[i + 1];
            layer->codec = codecs[i];
            layer->size = codec_bytes(codecs[i], (int)width, (int)in);
            layer->bytes = block_take(b, layer->size, 1);
            layer->bias = block_take(b, width, sizeof(float));
            layer->divisor = with_divisor && i == 0 ? block_take(b, in, sizeof(uint16_t)) : NULL;
        }
    } while (block_again(b, err));
    return b->memory != NULL;
}

void weight_only_free(struct weight_only *c) { block_free(&c->block); }

bool gram_matrix(const float *x, size_t count, int in, double *gram, struct error *err) {
    size_t n = (size_t)in * (size_t)in;
    float *part = aligned_array(n, sizeof *part, err);
    if (!part) return false;
    memset(gram, 0, n * sizeof *gram);
    for (size_t first = 0; first < count; first += 256) { /* fp32 sums stay short, double carries the rest */
        int rows = count - first < 256 ? (int)(count - first) : 256;
        const float *from = x + first * (size_t)in;
        gemm_tn(in, in, rows, from, from, part);
        for (size_t i = 0; i < n; i++) gram[i] += (double)part[i];
    }
    free(part);
    return true;
}

/* What the codes of a layer stand for, in d->weight. */
static void decode_layer(const struct coded_layer *layer, const struct dense *d) {
    size_t in = (size_t)d->in, n = in * (size_t)d->out;
    codec_decode(layer->codec, layer->bytes, d->out, d->in, d->weight);
    for (size_t i = 0; layer->divisor && i < n; i++) d->weight[i] /= float_from_half(layer->divisor[i % in]);
}

/* ---- encoding ------------------------------------------------------------------------------------------------ */

/* What encoding works on: the network as quantized so far, its activations on the calibration images. */
struct encoder {
    const struct coding_config *config;
    const uint8_t *images;
    int count;
    struct mlp now;                /* fp32 at first; layer by layer its weights become what the codes decode to */
    struct mlp_workspace ws, fp32; /* fp32: as the images ran before anything was quantized, for AdaRound */
    double *gram;                  /* [widest][widest] */
    float *magnitude;              /* [widest] mean |x_k| */
    float *scale;                  /* [layers][widest] AWQ's, of each layer's inputs; 1 for other methods */
    double *means; /* [layers + 1][widest] of the layers' inputs in the fp32 network; then of one in now */
    size_t widest;
};

static bool looks_at_images(const struct coding_config *c) {
    enum method method = c->method;
    return c->correct_bias || method == METHOD_GPTQ || method == METHOD_GPTQ_ACT_ORDER || method == METHOD_AWQ ||
        method == METHOD_ADAROUND || method == METHOD_IMATRIX;
}

static void run_images(const struct encoder *e, struct mlp_workspace *ws) {
    mlp_load_images(&e->now, e->images, e->count, ws);
    mlp_forward(&e->now, e->count, ws);
}

static bool encoder_create(const struct mlp *mlp, const uint8_t *images, size_t count,
                           const struct coding_config *config, struct encoder *e, struct error *err) {
    size_t widest = (size_t)mlp_widest(&mlp->shape), layers = (size_t)mlp->shape.layers;
    *e = (struct encoder){.config = config, .images = images, .count = (int)count, .widest = widest};
    if (!mlp_create(&mlp->shape, &e->now, err) || !(e->scale = aligned_array(layers * widest, sizeof *e->scale, err)))
        return false;
    for (size_t i = 0; i < layers * widest; i++) e->scale[i] = 1;
    memcpy(mlp_parameters(&e->now), mlp_parameters(mlp), mlp_padded_count(mlp) * sizeof(float));
    if (!looks_at_images(config)) return true;
    if (config->method == METHOD_ADAROUND) {
        if (!mlp_workspace_create(&mlp->shape, e->count, false, &e->fp32, err)) return false;
        run_images(e, &e->fp32);
    }
    return mlp_workspace_create(&mlp->shape, e->count, false, &e->ws, err) &&
        (e->gram = aligned_array(widest * widest, sizeof *e->gram, err)) &&
        (e->magnitude = aligned_array(widest, sizeof *e->magnitude, err)) &&
        (e->means = aligned_array((layers + 1) * widest, sizeof *e->means, err));
}

static void encoder_free(struct encoder *e) {
    mlp_free(&e->now);
    mlp_workspace_free(&e->ws);
    mlp_workspace_free(&e->fp32);
    free(e->gram);
    free(e->magnitude);
    free(e->scale);
    free(e->means);
}

/* The second moment and the mean size of a layer's inputs. */
static bool look_at_inputs(struct encoder *e, int l, struct error *err) {
    int in = e->now.shape.widths[l];
    const float *x = e->ws.activation[l];
    memset(e->magnitude, 0, (size_t)in * sizeof *e->magnitude);
    for (int i = 0; i < e->count; i++)
        for (int k = 0; k < in; k++) e->magnitude[k] += fabsf(x[(size_t)i * (size_t)in + (size_t)k]) / (float)e->count;
    return gram_matrix(x, (size_t)e->count, in, e->gram, err);
}

/* Room for the codes of layer l; release with coded_matrix_free, also after an error. */
static bool make_matrix(const struct encoder *e, int l, struct codec codec, struct coded_matrix *m, struct error *err) {
    const struct dense *d = &e->now.layer[l];
    bool symmetric;
    int bits = format_integer_bits(codec.format, &symmetric), block = codec.block > 0 ? codec.block : d->in;
    return coded_matrix_create(d->out, d->in, bits, symmetric, block, m, err);
}

/* AWQ: W diag(s) takes W's place, and what feeds input k is divided by s_k: the row of the layer before, or, for
 * the pixels, a divisor in fp16 (s is rounded to it first, so that both sides agree). */
static bool scale_layer(struct encoder *e, int l, struct coded_layer *layer, struct error *err) {
    const struct dense *d = &e->now.layer[l];
    float *scale = e->scale + (size_t)l * e->widest;
    struct coded_matrix m;
    double alpha;
    bool ok = make_matrix(e, l, layer->codec, &m, err) && look_at_inputs(e, l, err) &&
        awq_scales(d->weight, e->gram, e->magnitude, &m, scale, &alpha, err);
    coded_matrix_free(&m);
    for (int k = 0; ok && k < d->in; k++) {
        if (l == 0) scale[k] = float_from_half(layer->divisor[k] = half_from_float(scale[k]));
        for (int c = 0; c < d->out; c++) d->weight[(size_t)c * (size_t)d->in + (size_t)k] *= scale[k];
        if (l == 0) continue;
        const struct dense *before = &e->now.layer[l - 1];
        for (int j = 0; j < before->in; j++) before->weight[(size_t)k * (size_t)before->in + (size_t)j] /= scale[k];
        before->bias[k] /= scale[k];
    }
    return ok;
}

static bool scale_all(struct encoder *e, struct weight_only *out, struct error *err) {
    run_images(e, &e->ws); /* activations of the fp32 network, before anything is folded */
    for (int l = 0; l < e->now.shape.layers; l++)
        if (!scale_layer(e, l, &out->layer[l], err)) return false;
    return true;
}

/* The second moment of layer l's inputs once AWQ has divided them by its scales. */
static bool look_at_scaled_inputs(struct encoder *e, int l, struct error *err) {
    size_t in = (size_t)e->now.shape.widths[l];
    const float *scale = e->scale + (size_t)l * e->widest;
    if (!look_at_inputs(e, l, err)) return false; /* the images went through the fp32 network, in scale_all */
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < in; j++) e->gram[i * in + j] /= (double)scale[i] * (double)scale[j];
    return true;
}

/* Codes of a layer in an integer format, by the encoder's method. Release m with coded_matrix_free, also after an
 * error. */
static bool code_layer(struct encoder *e, int l, struct codec codec, struct coded_matrix *m, struct error *err) {
    const struct coding_config *c = e->config;
    enum grid_rule rule = c->mixed && codec.format->bits > 2 ? GRID_MINMAX : c->rule;
    struct gptq_config config = {.act_order = c->method == METHOD_GPTQ_ACT_ORDER, .rule = rule, .damping = c->damping};
    const float *w = e->now.layer[l].weight;
    if (!make_matrix(e, l, codec, m, err)) return false;
    if (c->method == METHOD_GPTQ || c->method == METHOD_GPTQ_ACT_ORDER) {
        run_images(e, &e->ws); /* through the layers as quantized so far */
        return look_at_inputs(e, l, err) && gptq_codes(w, e->gram, &config, m, err);
    }
    if (c->method == METHOD_ADAROUND) {
        run_images(e, &e->ws);
        struct adaround_layer layer = {.weight = w,
                                       .bias = e->now.layer[l].bias,
                                       .x = e->fp32.activation[l],
                                       .x_hat = e->ws.activation[l],
                                       .count = e->count,
                                       .relu = l + 1 < e->now.shape.layers};
        struct adaround_config usual = adaround_defaults(c->rule);
        return adaround_codes(&layer, &usual, m, err);
    }
    if (c->method == METHOD_AWQ) return look_at_scaled_inputs(e, l, err) && awq_codes(w, e->gram, m, err);
    rtn_codes(w, c->method == METHOD_RTN_MSE && c->rule == GRID_MINMAX ? GRID_MSE : c->rule, m);
    return true;
}

/* An importance matrix (llama.cpp, llama-imatrix): the mean square of each input, in magnitude. Like GPTQ's Hessian it
 * is damped: an input that was never active in calibration keeps its weights, at a hundredth of the mean. */
static bool weigh_inputs(struct encoder *e, int l, struct error *err) {
    size_t in = (size_t)e->now.shape.widths[l];
    double mean = 0;
    run_images(e, &e->ws);
    if (!look_at_inputs(e, l, err)) return false;
    for (size_t k = 0; k < in; k++) mean += e->gram[k * in + k] / (double)in;
    for (size_t k = 0; k < in; k++)
        e->magnitude[k] = mean > 0 ? (float)(e->gram[k * in + k] / mean + e->config->damping) : 1;
    return true;
}

/* The decoded weights of layer l as they would be without AWQ's folding: row c was divided by the scale of the next
 * layer's input c, column k multiplied by that of its own (the first layer's divisor has undone that already). */
static void unfold(const struct encoder *e, int l, const struct dense *to) {
    const struct dense *d = &e->now.layer[l];
    const float *columns = e->scale + (size_t)l * e->widest;
    const float *rows = l + 1 < e->now.shape.layers ? e->scale + (size_t)(l + 1) * e->widest : NULL;
    for (int c = 0; c < d->out; c++)
        for (int k = 0; k < d->in; k++) {
            size_t i = (size_t)c * (size_t)d->in + (size_t)k;
            to->weight[i] = d->weight[i] * (rows ? rows[c] : 1) / (l > 0 ? columns[k] : 1);
        }
}

static bool encode_layer(struct encoder *e, int l, struct coded_layer *layer, struct error *err) {
    const struct dense *d = &e->now.layer[l];
    struct coded_matrix m = {0};
    if (!all_finite(d->weight, (size_t)d->in * (size_t)d->out))
        return fail(err, "fc%d: a weight is not a finite number", l + 1);
    if (!all_finite(d->bias, (size_t)d->out)) return fail(err, "fc%d: a bias is not a finite number", l + 1);
    bool weighed = e->config->method == METHOD_IMATRIX, by_format = weighed || e->config->method == METHOD_RTN;
    bool ok = by_format ? !weighed || weigh_inputs(e, l, err) : code_layer(e, l, layer->codec, &m, err);
    if (ok && by_format)
        codec_encode(layer->codec, d->weight, weighed ? e->magnitude : NULL, d->out, d->in, layer->bytes);
    else if (ok) coded_matrix_pack(&m, layer->bytes);
    coded_matrix_free(&m);
    if (!ok) return false;
    memcpy(layer->bias, d->bias, (size_t)d->out * sizeof(float));
    decode_layer(layer, d); /* what the layers behind will see */
    return true;
}

/* Whether a mix gives a layer more bits: the output, as in nearly every mix of llama.cpp, and those layers between the
 * first and it for which its use_more_bits(i, n) is true (llama-quant.cpp; in Q4_K_M it asks for attn_v and ffn_down):
 * an eighth at either end and every third between them. A single one is among them. */
static bool has_more_bits(int layer, int layers) {
    int i = layer - 1, n = layers - 2;
    return layer + 1 == layers || (i >= 0 && (i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2));
}

/* The codec of each layer, and whether the method can be had for them. */
static bool plan_codecs(const struct mlp_shape *shape, const struct coding_config *config, struct codec *codecs,
                        struct error *err) {
    bool divides = config->block <= 0 || config->format->block, symmetric;
    for (int i = 0; i < shape->layers; i++) {
        bool more = config->more_format && has_more_bits(i, shape->layers);
        const struct format *format = more ? config->more_format : config->format;
        codecs[i] = (struct codec){config->mixed ? config->mixed[i] : format, config->block};
        if (config->block > 0 && shape->widths[i] % config->block == 0) divides = true;
        if (config->method == METHOD_IMATRIX && codecs[i].format->grid != SEARCHED_GRID)
            return fail(err, "imatrix does not apply to the format %s: it needs one of ggml's that search for scales",
                        codecs[i].format->name);
        if (config->method != METHOD_RTN && config->method != METHOD_IMATRIX &&
            !format_integer_bits(codecs[i].format, &symmetric))
            return fail(err, "%s does not apply to the format %s: it needs an integer format",
                        method_names[config->method], codecs[i].format->name);
    }
    if (config->method != METHOD_RTN && config->block == CODEC_TENSOR && !config->format->block)
        return fail(err, "%s needs a grid for each row or group, not one for the tensor", method_names[config->method]);
    if (!divides) return fail(err, "a group of %d weights divides the inputs of no layer", config->block);
    return true;
}

/* The means of the layers' inputs in the fp32 network, before anything is quantized. */
static void remember_means(struct encoder *e) {
    run_images(e, &e->ws);
    for (int l = 0; l < e->now.shape.layers; l++)
        mean_inputs(e->ws.activation[l], (size_t)e->count, e->now.shape.widths[l], e->means + (size_t)l * e->widest);
}

/* Takes back by its bias what layer l, quantized behind quantized layers, puts out differently on average. */
static void correct_layer(struct encoder *e, const struct mlp *fp32, int l, struct coded_layer *layer) {
    const struct dense *d = &e->now.layer[l];
    double *mean_x_hat = e->means + (size_t)e->now.shape.layers * e->widest;
    run_images(e, &e->ws);
    mean_inputs(e->ws.activation[l], (size_t)e->count, d->in, mean_x_hat);
    correct_bias(fp32->layer[l].weight, d->weight, e->means + (size_t)l * e->widest, mean_x_hat, d->out, d->in,
                 d->bias);
    memcpy(layer->bias, d->bias, (size_t)d->out * sizeof(float));
}

bool weight_only_encode(const struct mlp *mlp, const uint8_t *images, size_t count, const struct coding_config *config,
                        struct weight_only *out, struct mlp *effective, struct error *err) {
    struct codec codecs[MLP_MAX_LAYERS];
    struct encoder e;
    if (!plan_codecs(&mlp->shape, config, codecs, err) ||
        !weight_only_create(&mlp->shape, codecs, config->method == METHOD_AWQ, out, err))
        return false;
    bool ok = encoder_create(mlp, images, count, config, &e, err);
    ok = ok && (config->method != METHOD_AWQ || scale_all(&e, out, err));
    if (ok && config->correct_bias) remember_means(&e);
    for (int l = 0; ok && l < mlp->shape.layers; l++) {
        ok = encode_layer(&e, l, &out->layer[l], err);
        if (ok && config->correct_bias) correct_layer(&e, mlp, l, &out->layer[l]);
        if (ok && effective) unfold(&e, l, &effective->layer[l]);
    }
    encoder_free(&e);
    if (!ok) weight_only_free(out);
    return ok;
}

bool weight_only_codes(const struct mlp *mlp, const uint8_t *images, size_t count, const struct coding_config *config,
                       struct coded_matrix *codes, struct error *err) {
    struct codec codecs[MLP_MAX_LAYERS];
    struct encoder e = {0};
    bool ok = plan_codecs(&mlp->shape, config, codecs, err) && encoder_create(mlp, images, count, config, &e, err);
    for (int l = 0; ok && l < mlp->shape.layers; l++) {
        ok = code_layer(&e, l, codecs[l], &codes[l], err);
        if (ok) coded_matrix_values(&codes[l], e.now.layer[l].weight); /* what the layers behind will see */
    }
    encoder_free(&e);
    return ok;
}

/* ---- decoding ------------------------------------------------------------------------------------------------ */

bool weight_only_decode(const struct weight_only *c, struct mlp *out, struct error *err) {
    if (!mlp_create(&c->shape, out, err)) return false;
    for (int l = 0; l < c->shape.layers; l++) {
        const struct coded_layer *layer = &c->layer[l];
        const struct dense *d = &out->layer[l];
        decode_layer(layer, d);
        memcpy(d->bias, layer->bias, (size_t)d->out * sizeof(float));
        for (size_t i = 0; i < (size_t)d->in * (size_t)d->out; i++)
            if (!is_finite((double)d->weight[i])) {
                mlp_free(out);
                return fail(err, "fc%d.weight: weight %zu is not a finite number once decoded", l + 1, i);
            }
    }
    return true;
}
