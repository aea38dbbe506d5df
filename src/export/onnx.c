/* A model as ONNX, opset 13: Gemm and Relu in fp32; an integer model in the QDQ form (each quantized tensor passes a
 * DequantizeLinear before, a QuantizeLinear after a float operator), which ONNX Runtime fuses into integer kernels;
 * fp16 and bf16 weights as such, through a Cast. x: [batch][inputs] pixels / 255, logits: [batch][classes]. Through
 * protobuf-c from ONNX's own schema, which onnx.mk makes where both are there. */
#include "export/export.h"

#ifndef HAVE_ONNX

bool export_onnx(const struct export_source *source, FILE *to, struct table *t, struct error *err) {
    (void)source, (void)to, (void)t;
    return fail(err, "this mnistq was built without ONNX: run sh scripts/install_deps.sh --onnx, then make");
}

#else

#include <stdlib.h>
#include <string.h>

#include "lowbit/half.h"
#include "model/contents.h"
#include "onnx.pb-c.h"

enum { OPSET = 13, IR_VERSION = 7, NODES = 8 * MLP_MAX_LAYERS + 8, TENSORS = 10 * MLP_MAX_LAYERS + 8, INPUTS = 3 };

/* A graph as it is added to: the messages, and the texts and numbers that they point to. */
struct graph {
    size_t nodes, tensors, used, owned;
    Onnx__NodeProto node[NODES], *node_at[NODES];
    char *input[NODES][INPUTS], *output[NODES];
    Onnx__AttributeProto attribute[NODES], *attribute_at[NODES];
    Onnx__TensorProto tensor[TENSORS], *tensor_at[TENSORS];
    int64_t dims[TENSORS][2];
    char text[1 << 16];
    void *memory[TENSORS];
    bool short_of_memory;
};

static char *keep(struct graph *g, const char *prefix, int layer, const char *part) {
    char *text = g->text + g->used;
    int length = layer < 0 ? snprintf(text, ST_NAME, "%s%s", prefix, part)
                           : snprintf(text, ST_NAME, "%s%d%s", prefix, layer + 1, part);
    g->used += (size_t)length + 1;
    return text;
}

/* Zeroed memory that the graph frees; NULL when there is none. */
static uint8_t *reserve(struct graph *g, size_t bytes) {
    uint8_t *memory = calloc(bytes, 1);
    g->short_of_memory |= !memory;
    return g->memory[g->owned++] = memory;
}

/* rows 0: a scalar; cols 0: one dimension; data in the order of files. */
static char *constant(struct graph *g, char *name, int type, size_t rows, size_t cols, const void *data, size_t bytes) {
    size_t i = g->tensors++;
    Onnx__TensorProto *t = g->tensor_at[i] = &g->tensor[i];
    onnx__tensor_proto__init(t);
    g->dims[i][0] = (int64_t)rows, g->dims[i][1] = (int64_t)cols;
    t->n_dims = cols ? 2 : rows ? 1 : 0;
    t->dims = g->dims[i];
    t->has_data_type = true, t->data_type = type;
    t->name = name;
    t->has_raw_data = true, t->raw_data = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)data};
    return name;
}

/* attribute may be NULL: none, else one whole number; returns output. */
static char *node(struct graph *g, const char *kind, char *const *inputs, size_t count, char *output,
                  const char *attribute, int64_t value) {
    size_t i = g->nodes++;
    Onnx__NodeProto *n = g->node_at[i] = &g->node[i];
    onnx__node_proto__init(n);
    memcpy(g->input[i], inputs, count * sizeof *inputs);
    n->n_input = count, n->input = g->input[i];
    g->output[i] = output;
    n->n_output = 1, n->output = &g->output[i];
    n->name = output;
    n->op_type = (char *)(uintptr_t)kind;
    if (!attribute) return output;
    Onnx__AttributeProto *a = g->attribute_at[i] = &g->attribute[i];
    onnx__attribute_proto__init(a);
    a->name = (char *)(uintptr_t)attribute;
    a->has_type = true, a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->has_i = true, a->i = value;
    n->n_attribute = 1, n->attribute = &g->attribute_at[i];
    return output;
}

enum { FLOAT = 1, U8 = 2, S8 = 3, S32 = 6, HALF = 10, BFLOAT = 16 }; /* ONNX's own numbers of types */

/* Relu, but behind the last layer. */
static char *rectified(struct graph *g, const struct mlp_shape *shape, int l, char *z) {
    return l + 1 == shape->layers ? z : node(g, "Relu", &z, 1, keep(g, "h", l, ""), NULL, 0);
}

/* A tensor of the file as it is; 16-bit floats through a Cast. */
static char *float_tensor(struct graph *g, const struct st_file *file, int l, const char *part) {
    char name[ST_NAME];
    const struct st_tensor *t = st_find(file, layer_tensor(name, l, part));
    int type = t->dtype == ST_F16 ? HALF : t->dtype == ST_BF16 ? BFLOAT : FLOAT;
    char *made = constant(g, keep(g, name, -1, ""), type, t->shape[0], t->dimensions == 2 ? t->shape[1] : 0, t->data,
                          t->bytes);
    return type == FLOAT ? made : node(g, "Cast", &made, 1, keep(g, name, -1, "_float"), "to", FLOAT);
}

static char *float_layers(struct graph *g, const struct export_source *source) {
    const struct mlp_shape *shape = &source->model->shape;
    char *x = keep(g, "x", -1, "");
    for (int l = 0; l < shape->layers; l++) {
        char *weight = float_tensor(g, source->file, l, "weight"), *bias = float_tensor(g, source->file, l, "bias");
        char *z = l + 1 == shape->layers ? keep(g, "logits", -1, "") : keep(g, "z", l, "");
        x = rectified(g, shape, l, node(g, "Gemm", (char *[]){x, weight, bias}, 3, z, "transB", 1));
    }
    return x;
}

/* The scale and zero point of activation l, as inputs behind the tensor itself. */
static void activation(struct graph *g, const struct qmlp *q, int l, char *inputs[INPUTS]) {
    uint8_t *scale = reserve(g, 4), *zero = reserve(g, 1);
    if (!scale || !zero) return;
    float_write(q->activation[l].scale, scale);
    *zero = (uint8_t)q->activation[l].zero_point;
    inputs[1] = constant(g, keep(g, "codes", l, "_scale"), FLOAT, 0, 0, scale, 4);
    inputs[2] = constant(g, keep(g, "codes", l, "_zero_point"), U8, 0, 0, zero, 1);
}

/* Codes of layer l's weights (cols > 0) or biases, dequantized: a scale for each output, axis 0, or one for all. */
static char *dequantized(struct graph *g, const struct qmlp *q, int l, const char *part, int type, size_t rows,
                         size_t cols, const void *codes) {
    char name[ST_NAME], *inputs[INPUTS];
    size_t width = type == S8 ? 1 : 4, scales = q->per_channel ? rows : 1;
    uint8_t *scale = reserve(g, 4 * scales), *zeros = reserve(g, width * scales);
    if (g->short_of_memory) return NULL;
    for (size_t i = 0; i < scales; i++)
        float_write(q->weight_scale[l][i] * (type == S32 ? q->activation[l].scale : 1), scale + 4 * i);
    layer_tensor(name, l, part);
    size_t of = q->per_channel ? scales : 0;
    inputs[0] = constant(g, keep(g, name, -1, ""), type, rows, cols, codes, rows * (cols ? cols : 1) * width);
    inputs[1] = constant(g, keep(g, name, -1, "_scale"), FLOAT, of, 0, scale, 4 * scales);
    inputs[2] = constant(g, keep(g, name, -1, "_zero_point"), type, of, 0, zeros, width * scales);
    return node(g, "DequantizeLinear", inputs, 3, keep(g, name, -1, "_real"), q->per_channel ? "axis" : NULL, 0);
}

/* Equations 5 and 6: biases are int32 of scale s_x * s_w, as the file has them. */
static char *integer_layers(struct graph *g, const struct export_source *source) {
    const struct mlp_shape *shape = &source->model->shape;
    const struct qmlp *q = &source->model->qmlp;
    char *inputs[INPUTS] = {keep(g, "x", -1, "")}, name[ST_NAME];
    activation(g, q, 0, inputs);
    for (int l = 0; l < shape->layers && !g->short_of_memory; l++) {
        size_t rows = (size_t)shape->widths[l + 1], cols = (size_t)shape->widths[l];
        inputs[0] = node(g, "QuantizeLinear", inputs, 3, keep(g, "codes", l, ""), NULL, 0);
        char *x = node(g, "DequantizeLinear", inputs, 3, keep(g, "x", l, ""), NULL, 0);
        char *weight = dequantized(g, q, l, "weight", S8, rows, cols, q->layer[l].weight);
        char *bias = dequantized(g, q, l, "bias", S32, rows, 0,
                                 st_find(source->file, layer_tensor(name, l, "bias"))->data);
        char *z = node(g, "Gemm", (char *[]){x, weight, bias}, 3, keep(g, "z", l, ""), "transB", 1);
        inputs[0] = rectified(g, shape, l, z);
        activation(g, q, l + 1, inputs);
    }
    if (g->short_of_memory) return NULL;
    inputs[0] = node(g, "QuantizeLinear", inputs, 3, keep(g, "codes", shape->layers, ""), NULL, 0);
    return node(g, "DequantizeLinear", inputs, 3, keep(g, "logits", -1, ""), NULL, 0);
}

/* What a graph takes or gives: floats [batch][width]. */
struct value {
    Onnx__ValueInfoProto info, *at;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor;
    Onnx__TensorShapeProto shape;
    Onnx__TensorShapeProto__Dimension dimension[2], *dimension_at[2];
};

static void describe(struct value *v, char *name, int width) {
    onnx__value_info_proto__init(v->at = &v->info);
    onnx__type_proto__init(&v->type);
    onnx__type_proto__tensor__init(&v->tensor);
    onnx__tensor_shape_proto__init(&v->shape);
    for (int i = 0; i < 2; i++) onnx__tensor_shape_proto__dimension__init(v->dimension_at[i] = &v->dimension[i]);
    v->dimension[0].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    v->dimension[0].dim_param = "batch";
    v->dimension[1].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    v->dimension[1].dim_value = width;
    v->shape.n_dim = 2, v->shape.dim = v->dimension_at;
    v->tensor.has_elem_type = true, v->tensor.elem_type = FLOAT, v->tensor.shape = &v->shape;
    v->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE, v->type.tensor_type = &v->tensor;
    v->info.name = name, v->info.type = &v->type;
}

static bool write_model(struct graph *g, const struct mlp_shape *shape, char *logits, FILE *to, struct error *err) {
    struct value in, out;
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opset_at = &opset;
    describe(&in, "x", shape->widths[0]);
    describe(&out, logits, shape->widths[shape->layers]);
    graph.name = "mnistq";
    graph.n_node = g->nodes, graph.node = g->node_at;
    graph.n_initializer = g->tensors, graph.initializer = g->tensor_at;
    graph.n_input = graph.n_output = 1, graph.input = &in.at, graph.output = &out.at;
    opset.domain = "", opset.has_version = true, opset.version = OPSET;
    model.has_ir_version = true, model.ir_version = IR_VERSION;
    model.producer_name = "mnistq";
    model.n_opset_import = 1, model.opset_import = &opset_at;
    model.graph = &graph;
    size_t size = onnx__model_proto__get_packed_size(&model);
    uint8_t *bytes = malloc(size);
    if (!bytes) return fail(err, "out of memory");
    fwrite(bytes, 1, onnx__model_proto__pack(&model, bytes), to);
    free(bytes);
    return true;
}

/* Every weight as a float that ONNX has. */
static bool has_float_weights(const struct export_source *source) {
    char name[ST_NAME];
    if (source->model->kind != MODEL_FP32 && source->model->kind != MODEL_WEIGHT_ONLY) return false;
    if (st_find(source->file, "fc1.input_divisor")) return false;
    for (int l = 0; l < source->model->shape.layers; l++) {
        enum st_dtype dtype = st_find(source->file, layer_tensor(name, l, "weight"))->dtype;
        if (dtype != ST_F32 && dtype != ST_F16 && dtype != ST_BF16) return false;
    }
    return true;
}

bool export_onnx(const struct export_source *source, FILE *to, struct table *t, struct error *err) {
    bool integers = source->model->kind == MODEL_INT8;
    if (!integers && !has_float_weights(source))
        return fail(err, "ONNX export takes fp32, f16, bf16 and models in integer arithmetic: this is another");
    struct graph *g = calloc(1, sizeof *g);
    if (!g) return fail(err, "out of memory");
    char *logits = (integers ? integer_layers : float_layers)(g, source);
    bool ok = (!g->short_of_memory || fail(err, "out of memory")) &&
        write_model(g, &source->model->shape, logits, to, err);
    for (size_t i = 0; ok && i < g->nodes; i++) table_row(t, "%s | %s", g->node[i].op_type, g->output[i]);
    if (ok) table_note(t, "Opset %d; x: pixels / 255, as floats; %zu constants.", OPSET, g->tensors);
    for (size_t i = 0; i < g->owned; i++) free(g->memory[i]);
    free(g);
    return ok;
}

#endif
