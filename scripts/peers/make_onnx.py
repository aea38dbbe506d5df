#!/usr/bin/python3 -B
"""usage: make_onnx.py FP32.safetensors INT8.safetensors FOLDER

Writes our models for ONNX Runtime:
  fp32.onnx        Gemm and Relu
  int8-float.onnx  the same integer network in QDQ form, float pixels in, float logits out
  int8-byte.onnx   the same, bytes of an image in (scale 1/255, zero point 0: they are the codes), codes out
In QDQ form each quantized tensor passes a DequantizeLinear before, a QuantizeLinear after a float operator; ONNX
Runtime fuses such groups into its integer kernels. Exit status 3: python3-onnx is not installed."""
import sys

import numpy as np

try:
    from onnx import TensorProto, checker, helper, numpy_helper, save
except ImportError:
    sys.exit(3)  # onnx_peer.mjs tells which package is missing

from mnist_files import layer_count, read_safetensors

OPSET = 13  # the first with a scale for each channel


class Graph:
    """Nodes and constants as they are added; each add returns the name of what it makes."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output + "_node", **attributes))
        return output

    def model(self, inputs, outputs):
        """inputs, outputs: (name, type, width)"""
        infos = [
            [helper.make_tensor_value_info(name, type, ["batch", width]) for name, type, width in side]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "mnistq", *infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 7  # of opset 13: readers older than this library's newest understand it
        checker.check_model(model)
        return model


def fp32_model(tensors):
    g, x, layers = Graph(), "x", layer_count(tensors)
    for i in range(1, layers + 1):
        weight, bias = (g.constant(f"fc{i}.{part}", tensors[f"fc{i}.{part}"]) for part in ("weight", "bias"))
        x = g.node("Gemm", [x, weight, bias], f"z{i}", transB=1)
        if i < layers:
            x = g.node("Relu", [x], f"h{i}")
    inputs, classes = tensors["fc1.weight"].shape[1], tensors[f"fc{layers}.weight"].shape[0]
    return g.model([("x", TensorProto.FLOAT, inputs)], [(x, TensorProto.FLOAT, classes)])


def int8_model(tensors, byte_input):
    """Eq. 5 and 6 in QDQ form: weights s8 with a scale for each output (axis 0: transB), biases s32 of scale
    s_x * s_w, activations u8."""
    g, layers = Graph(), layer_count(tensors)

    def parameters(name):  # of an activation
        names = [name + "_scale", name + "_zero_point"]
        return [g.constant(each, tensors[each][0]) for each in names]

    def constant_dequantized(name, scale):
        codes = tensors[name]
        per_channel = scale.size > 1
        inputs = [
            g.constant(name, codes),
            g.constant(name + "_scale", scale if per_channel else scale[0]),
            g.constant(name + "_zero", np.zeros(scale.shape if per_channel else (), codes.dtype)),
        ]
        return g.node("DequantizeLinear", inputs, name + "_real", **({"axis": 0} if per_channel else {}))

    now = parameters("fc1.input")
    codes = "x" if byte_input else g.node("QuantizeLinear", ["x"] + now, "x_codes")
    for i in range(1, layers + 1):
        x = g.node("DequantizeLinear", [codes] + now, f"x{i}")
        weight_scale = tensors[f"fc{i}.weight_scale"]
        weight = constant_dequantized(f"fc{i}.weight", weight_scale)
        bias = constant_dequantized(f"fc{i}.bias", tensors[f"fc{i}.input_scale"] * weight_scale)
        x = g.node("Gemm", [x, weight, bias], f"z{i}", transB=1)
        if i < layers:
            x = g.node("Relu", [x], f"h{i}")
        now = parameters(f"fc{i + 1}.input" if i < layers else "output")
        codes = g.node("QuantizeLinear", [x] + now, f"codes{i}")
    inputs, classes = tensors["fc1.weight"].shape[1], tensors[f"fc{layers}.weight"].shape[0]
    if byte_input:
        return g.model([("x", TensorProto.UINT8, inputs)], [(codes, TensorProto.UINT8, classes)])
    logits = g.node("DequantizeLinear", [codes] + now, "logits")
    return g.model([("x", TensorProto.FLOAT, inputs)], [(logits, TensorProto.FLOAT, classes)])


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    fp32, int8, folder = read_safetensors(sys.argv[1]), read_safetensors(sys.argv[2]), sys.argv[3]
    save(fp32_model(fp32), folder + "/fp32.onnx")
    save(int8_model(int8, False), folder + "/int8-float.onnx")
    save(int8_model(int8, True), folder + "/int8-byte.onnx")


main()
