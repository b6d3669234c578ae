#!/usr/bin/env bash
# onnxruntime 1.32.0: where a tensor begins with NaN, Unique takes everything in it for one element. Comparisons with
# NaN are false, so that it seems equal to all. numpy, and the specification's reference, give NaN once and the rest.
# NonZero of a scalar has shape [1, N] there, where the specification says [0, N].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

print("onnxruntime", onnxruntime.__version__)


def run(op, outputs, x):
    info = helper.make_tensor_value_info
    node = helper.make_node(op, ["x"], outputs)
    given = [info(name, TensorProto.FLOAT if name == "y" else TensorProto.INT64, None) for name in outputs]
    graph = helper.make_graph([node], "g", [info("x", TensorProto.FLOAT, x.shape)], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


x = np.array([np.nan, 1, np.nan, 0, 1], np.float32)
different, counts = run("Unique", ["y"], x)[0], np.unique(x)
print("Unique of", x, "is", different, "with numpy", counts)
places = run("NonZero", ["places"], np.array(1, np.float32))[0]
print("NonZero of a scalar has shape", places.shape)
assert len(different) == 1 and len(counts) == 3 and places.shape == (1, 1)
PYTHON
