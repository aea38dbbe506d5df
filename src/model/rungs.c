#include "model/rungs.h"

#include <stdio.h>
#include <string.h>

#include "lowbit/qat.h"

/* ---- makers: each writes the file ------------------------------------------------------------------------------ */

#define MAKER(name)                                                                                                    \
    static bool name(const struct rung_source *s, const struct rung *rung, const struct model_notes *notes,            \
                     const char *path, struct rung_made *made, struct error *err)

MAKER(few_bits);

static struct codec rung_codec(const struct rung *rung, int group) {
    return (struct codec){format_find(rung->format), rung->block == BLOCK_GROUP ? group : rung->block};
}

/* At 2 bits all that chooses its grid clips: one that covers the widest weight leaves most of the others at 0. */
static enum grid_rule grid_rule_of(const struct rung *rung) {
    bool clips = rung->how == METHOD_RTN_MSE || rung->how == METHOD_ADAROUND ||
        (rung->bits <= 2 && rung->how != METHOD_RTN);
    return !clips ? GRID_MINMAX : rung->make == few_bits ? GRID_MSE : GRID_MSE_SIGNED;
}

static struct coding_config coding_of(const struct rung_source *s, const struct rung *rung) {
    struct codec codec = rung_codec(rung, s->group);
    return (struct coding_config){.format = codec.format,
                                  .more_format = rung->more ? format_find(rung->more) : NULL,
                                  .block = codec.block,
                                  .method = rung->how,
                                  .rule = grid_rule_of(rung),
                                  .damping = s->damping};
}

/* Writes and frees an integer network; compared: its weights are fp32's, quantized. */
static bool write_integer(struct qmlp *q, bool compared, const struct model_notes *notes, const char *path,
                          struct rung_made *made, struct error *err) {
    bool ok = !compared || mlp_create(&q->shape, &made->effective, err);
    for (int i = 0; ok && i < made->effective.shape.layers; i++)
        qmlp_read_weights(q, i, made->effective.layer[i].weight);
    ok = ok && model_write_qmlp(path, q, notes, err);
    qmlp_free(q);
    return ok;
}

MAKER(as_trained) {
    (void)rung, (void)notes, (void)made;
    return model_write_mlp(path, s->fp32, &s->notes, err);
}

/* Trained on for as long as QAT is: what the extra epoch alone is worth. */
MAKER(longer) {
    (void)rung, (void)made;
    struct mlp mlp;
    struct train_report report;
    if (!mlp_copy(s->fp32, &mlp, err)) return false;
    bool ok = mlp_train(&mlp, &s->learn, &s->training, &report, err) && model_write_mlp(path, &mlp, notes, err);
    mlp_free(&mlp);
    return ok;
}

/* Weights in a format, decoded to fp32 when they run (bf16: as they are, where the CPU can). */
static bool write_coded(const struct rung_source *s, const struct coding_config *config,
                        const struct model_notes *notes, const char *path, struct rung_made *made, struct error *err) {
    struct weight_only coded;
    if (!mlp_create(&s->fp32->shape, &made->effective, err) ||
        !weight_only_encode(s->fp32, s->images, (size_t)s->count, config, &coded, &made->effective, err))
        return false;
    bool ok = model_write_coded(path, &coded, notes, err);
    weight_only_free(&coded);
    return ok;
}

MAKER(coded) {
    struct coding_config config = coding_of(s, rung);
    return write_coded(s, &config, notes, path, made, err);
}

/* The same, and biases that take back the shift of each layer's mean. */
MAKER(corrected) {
    struct coding_config config = coding_of(s, rung);
    config.correct_bias = true;
    return write_coded(s, &config, notes, path, made, err);
}

/* int8 with calibrated activations: the lesson's engine. */
MAKER(fixed) {
    struct convert_config config = {.per_channel = rung->block == CODEC_ROW,
                                    .symmetric_activations = s->symmetric_activations};
    struct qmlp q;
    return convert(s->fp32, s->ranges, &config, &q, &made->saturated, err) &&
        write_integer(&q, true, notes, path, made, err);
}

static bool write_dynamic(const struct rung_source *s, bool vector_wise, const struct model_notes *notes,
                          const char *path, struct error *err) {
    struct dynamic_mlp q;
    if (!dynamic_convert(s->fp32, vector_wise, (float)s->threshold, s->images, (size_t)s->count, &q, err)) return false;
    bool ok = model_write_dynamic(path, &q, notes, err);
    dynamic_free(&q);
    return ok;
}

/* int8, the ranges of the activations taken from each batch. */
MAKER(dynamic) {
    (void)rung, (void)made;
    return write_dynamic(s, false, notes, path, err);
}

MAKER(llm_int8) {
    (void)rung, (void)made;
    return write_dynamic(s, true, notes, path, err);
}

/* Codes of few bits, one grid a row, chosen by the methods of coded rungs, in the integer engine. */
MAKER(few_bits) {
    struct coding_config config = coding_of(s, rung);
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    struct qmlp q;
    bool ok = weight_only_codes(s->fp32, s->images, (size_t)s->count, &config, codes, err) &&
        convert_codes(s->fp32, codes, s->ranges, s->symmetric_activations, &q, &made->saturated, err);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) coded_matrix_free(&codes[i]);
    return ok && write_integer(&q, true, notes, path, made, err);
}

/* learn_steps: the scales too (LSQ) */
static bool train_for(const struct rung_source *s, const struct rung *rung, bool learn_steps,
                      const struct model_notes *notes, const char *path, struct rung_made *made, struct error *err) {
    int bits = format_find(rung->format)->bits;
    struct lsq steps;
    struct qat_config config = {.weight_bits = bits, .train = s->training, .steps = learn_steps ? &steps : NULL};
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct train_report report;
    struct mlp mlp;
    struct qmlp q;
    memcpy(ranges, s->ranges, sizeof ranges);
    if (!mlp_copy(s->fp32, &mlp, err)) return false;
    bool ok = (!learn_steps || lsq_create(&mlp, bits, &steps, err)) &&
        qat_train(&mlp, &s->learn, &config, ranges, &report, err) &&
        (learn_steps ? lsq_convert(&mlp, &steps, bits, ranges, &q, &made->saturated, err)
                     : qat_convert(&mlp, bits, ranges, &q, &made->saturated, err));
    if (learn_steps) lsq_free(&steps);
    mlp_free(&mlp);
    return ok && write_integer(&q, false, notes, path, made, err);
}

/* The same, trained for it. */
MAKER(qat) { return train_for(s, rung, false, notes, path, made, err); }

MAKER(lsq) { return train_for(s, rung, true, notes, path, made, err); }

/* ---- the table ------------------------------------------------------------------------------------------------- */

/* clang-format off */
const struct rung rungs[] = {
    {32, "f32",    NULL,   0,            "-",                      "none",           as_trained, METHOD_RTN},
    {32, "f32",    NULL,   0,            "one more epoch",         "longer",         longer,     METHOD_RTN},
    {16, "bf16",   NULL,   0,            "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {16, "f16",    NULL,   0,            "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {8,  "int8",   NULL,   CODEC_TENSOR, "static",                 "static",         fixed,      0},
    {8,  "int8",   NULL,   CODEC_ROW,    "static",                 "static",         fixed,      0},
    {8,  "int8",   NULL,   CODEC_ROW,    "dynamic",                "dynamic",        dynamic,    0},
    {8,  "int8",   NULL,   CODEC_ROW,    "LLM.int8()",             "llm.int8",       llm_int8,   0},
    {8,  "int8",   NULL,   CODEC_ROW,    "QAT",                    "qat",            qat,        METHOD_RTN},
    {8,  "q8_0",   NULL,   0,            "ggml",                   "rtn",            coded,      METHOD_RTN},
    {8,  "fp8_e4m3", NULL, CODEC_TENSOR, "FP8",                    "rtn",            coded,      METHOD_RTN},
    {8,  "fp8_e4m3", NULL, CODEC_ROW,    "FP8",                    "rtn",            coded,      METHOD_RTN},
    {8,  "fp8_e5m2", NULL, CODEC_TENSOR, "FP8",                    "rtn",            coded,      METHOD_RTN},
    {8,  "fp8_e5m2", NULL, CODEC_ROW,    "FP8",                    "rtn",            coded,      METHOD_RTN},
    {8,  "mxfp8_e4m3", NULL, 0,          "OCP MX",                 "rtn",            coded,      METHOD_RTN},
    {8,  "mxfp8_e5m2", NULL, 0,          "OCP MX",                 "rtn",            coded,      METHOD_RTN},
    {8,  "mxint8", NULL,   0,            "OCP MX",                 "rtn",            coded,      METHOD_RTN},
    {6,  "mxfp6_e2m3", NULL, 0,          "OCP MX",                 "rtn",            coded,      METHOD_RTN},
    {6,  "mxfp6_e3m2", NULL, 0,          "OCP MX",                 "rtn",            coded,      METHOD_RTN},
    {6,  "q6_K",   NULL,   0,            "ggml layout, our search", "rtn",            coded,      METHOD_RTN},
    {5,  "q5_K",   NULL,   0,            "ggml layout, our search", "rtn",            coded,      METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_TENSOR, "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_ROW,    "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_ROW,    "least squares grid",     "rtn-mse",        coded,      METHOD_RTN_MSE},
    {4,  "int4",   NULL,   CODEC_ROW,    "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {4,  "int4",   NULL,   CODEC_ROW,    "GPTQ, act-order",        "gptq-act-order", coded,      METHOD_GPTQ_ACT_ORDER},
    {4,  "int4",   NULL,   CODEC_ROW,    "bias correction",        "rtn-bias",       corrected,  METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_ROW,    "AdaRound",               "adaround",       coded,      METHOD_ADAROUND},
    {4,  "int4",   NULL,   CODEC_ROW,    "AWQ",                    "awq",            coded,      METHOD_AWQ},
    {4,  "int4",   NULL,   BLOCK_GROUP,  "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {4,  "int4",   NULL,   BLOCK_GROUP,  "least squares grid",     "rtn-mse",        coded,      METHOD_RTN_MSE},
    {4,  "int4",   NULL,   BLOCK_GROUP,  "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {4,  "int4",   NULL,   BLOCK_GROUP,  "GPTQ, act-order",        "gptq-act-order", coded,      METHOD_GPTQ_ACT_ORDER},
    {4,  "int4",   NULL,   BLOCK_GROUP,  "AWQ",                    "awq",            coded,      METHOD_AWQ},
    {4,  "uint4",  NULL,   BLOCK_GROUP,  "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {4,  "uint4",  NULL,   BLOCK_GROUP,  "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {4,  "uint4",  NULL,   BLOCK_GROUP,  "AWQ",                    "awq",            coded,      METHOD_AWQ},
    {4,  "hqq4",   NULL,   BLOCK_GROUP,  "HQQ",                    "rtn",            coded,      METHOD_RTN},
    {4,  "nf4",    NULL,   0,            "NF4",                    "rtn",            coded,      METHOD_RTN},
    {4,  "nf4-dq", NULL,   0,            "NF4, double quant",      "rtn",            coded,      METHOD_RTN},
    {4,  "mxfp4",  NULL,   0,            "OCP MX",                 "rtn",            coded,      METHOD_RTN},
    {4,  "nvfp4",  NULL,   0,            "NVFP4",                  "rtn",            coded,      METHOD_RTN},
    {4,  "q4_0",   NULL,   0,            "ggml",                   "rtn",            coded,      METHOD_RTN},
    {4,  "iq4_nl", NULL,   0,            "ggml",                   "rtn",            coded,      METHOD_RTN},
    {4,  "iq4_nl", NULL,   0,            "importance matrix",      "imatrix",        coded,      METHOD_IMATRIX},
    {4,  "q4_K",   NULL,   0,            "ggml layout, our search", "rtn",            coded,      METHOD_RTN},
    {4,  "q4_K",   NULL,   0,            "importance matrix",      "imatrix",        coded,      METHOD_IMATRIX},
    {4,  "q4_K",   "q6_K", 0,            "ggml Q4_K_M, our search", "rtn",            coded,      METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_ROW,    "W4A8, round to nearest", "w4a8-rtn",       few_bits,   METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_ROW,    "W4A8, GPTQ",             "w4a8-gptq",      few_bits,   METHOD_GPTQ},
    {4,  "int4",   NULL,   CODEC_ROW,    "W4A8, QAT",              "qat",            qat,        METHOD_RTN},
    {4,  "int4",   NULL,   CODEC_ROW,    "W4A8, LSQ",              "lsq",            lsq,        METHOD_RTN},
    {3,  "int3",   NULL,   CODEC_ROW,    "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {3,  "int3",   NULL,   CODEC_ROW,    "bias correction",        "rtn-bias",       corrected,  METHOD_RTN},
    {3,  "int3",   NULL,   CODEC_ROW,    "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {3,  "int3",   NULL,   BLOCK_GROUP,  "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {3,  "int3",   NULL,   BLOCK_GROUP,  "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {3,  "uint3",  NULL,   CODEC_ROW,    "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {3,  "uint3",  NULL,   BLOCK_GROUP,  "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {3,  "uint3",  NULL,   BLOCK_GROUP,  "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {3,  "q3_K",   NULL,   0,            "ggml layout, our search", "rtn",            coded,      METHOD_RTN},
    {3,  "q3_K",   NULL,   0,            "importance matrix",      "imatrix",        coded,      METHOD_IMATRIX},
    {3,  "hqq3",   NULL,   BLOCK_GROUP,  "HQQ",                    "rtn",            coded,      METHOD_RTN},
    {3,  "int3",   NULL,   CODEC_ROW,    "W3A8, QAT",              "qat",            qat,        METHOD_RTN},
    {2,  "int2-narrow", NULL, CODEC_ROW, "round to nearest, 3 of 4 codes", "rtn",    coded,      METHOD_RTN},
    {2,  "int2",   NULL,   CODEC_ROW,    "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {2,  "int2",   NULL,   CODEC_ROW,    "least squares grid",     "rtn-mse",        coded,      METHOD_RTN_MSE},
    {2,  "int2",   NULL,   CODEC_ROW,    "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {2,  "int2",   NULL,   BLOCK_GROUP,  "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {2,  "int2",   NULL,   BLOCK_GROUP,  "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {2,  "uint2",  NULL,   CODEC_ROW,    "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {2,  "uint2",  NULL,   BLOCK_GROUP,  "round to nearest",       "rtn",            coded,      METHOD_RTN},
    {2,  "uint2",  NULL,   BLOCK_GROUP,  "GPTQ",                   "gptq",           coded,      METHOD_GPTQ},
    {2,  "q2_K",   NULL,   0,            "ggml layout, our search", "rtn",            coded,      METHOD_RTN},
    {2,  "q2_K",   NULL,   0,            "importance matrix",      "imatrix",        coded,      METHOD_IMATRIX},
    {2,  "uint2",  NULL,   BLOCK_GROUP,  "bias correction",        "rtn-bias",       corrected,  METHOD_RTN},
    {2,  "uint2",  NULL,   BLOCK_GROUP,  "AdaRound",               "adaround",       coded,      METHOD_ADAROUND},
    {2,  "hqq2",   NULL,   BLOCK_GROUP,  "HQQ",                    "rtn",            coded,      METHOD_RTN},
    {2,  "int2",   NULL,   CODEC_ROW,    "W2A8, QAT",              "qat",            qat,        METHOD_RTN},
    {2,  "int2",   NULL,   CODEC_ROW,    "W2A8, LSQ",              "lsq",            lsq,        METHOD_RTN},
    {1,  "ternary", NULL,  CODEC_ROW,    "TWN",                    "rtn",            coded,      METHOD_RTN},
    {1,  "bitnet", NULL,   CODEC_TENSOR, "BitNet b1.58 absmean",   "rtn",            coded,      METHOD_RTN},
    {1,  "ternary", NULL,  CODEC_ROW,    "W1.58A8, QAT",           "qat",            qat,        METHOD_RTN},
    {1,  "binary", NULL,   CODEC_ROW,    "XNOR-Net scales",        "rtn",            coded,      METHOD_RTN},
    {1,  "binary", NULL,   CODEC_ROW,    "W1A8, QAT",              "qat",            qat,        METHOD_RTN},
};
/* clang-format on */
const int rung_count = sizeof rungs / sizeof rungs[0];

bool rung_trains(const struct rung *rung) { return rung->make == longer || rung->make == qat || rung->make == lsq; }

void rung_section(const struct rung *rung, char *text, size_t size) {
    snprintf(text, size, rung->bits == 1 ? "1 to 1.6 bits" : "%d bits", rung->bits);
}

void rung_format(const struct rung *rung, int group, char *text, size_t size) {
    codec_print(rung_codec(rung, group), text, size);
    size_t used = strlen(text);
    if (rung->more) snprintf(text + used, size - used, " + %s", rung->more);
}

static bool same_but_spaces(const char *a, const char *b) {
    for (;; a++, b++) {
        a += strspn(a, " ");
        b += strspn(b, " ");
        if (*a != *b) return false;
        if (!*a) return true;
    }
}

const struct rung *rung_find(const char *format, const char *option, int *group) {
    struct codec codec;
    char text[64];
    int wanted = codec_parse(format, &codec) && codec.block > 0 ? codec.block : *group;
    for (const struct rung *r = rungs; r < rungs + rung_count; r++) {
        if (r->block == BLOCK_GROUP && wanted <= 0) continue;
        rung_format(r, wanted, text, sizeof text);
        if (!same_but_spaces(text, format) || (option && strcmp(option, r->option) != 0)) continue;
        *group = wanted;
        return r;
    }
    return NULL;
}

bool rung_make(const struct rung_source *s, const struct rung *rung, const char *path, struct rung_made *made,
               struct error *err) {
    struct model_notes notes = s->notes;
    snprintf(notes.method, sizeof notes.method, "%s", rung->method);
    notes.weight_bits = format_find(rung->format)->bits;
    *made = (struct rung_made){0};
    return rung->make(s, rung, &notes, path, made, err);
}
