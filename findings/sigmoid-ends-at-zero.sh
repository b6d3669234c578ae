#!/usr/bin/env bash
# onnxruntime 1.32.0 computes Sigmoid by a rational function of a clamped argument: absolute errors are small, but
# small values are wrong in their first digit (17% at -15), and all below about -18.5 are 0, where 1 / (1 + exp(-x))
# is 9e-9. Detectors end in such values, so outputs seem to differ much from those of an exact one.
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
x = np.array([-5, -15, -20, -40], np.float32)
graph = helper.make_graph(
    [helper.make_node("Sigmoid", ["x"], ["y"])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(y,) = session.run(None, {"x": x})
exact = 1 / (1 + np.exp(-x.astype(np.float64)))
for row in zip(x, y, exact):
    print("sigmoid(%g) = %g, exactly %g" % row)
assert abs(y[0] / exact[0] - 1) < 1e-4
assert abs(y[1] / exact[1] - 1) > 0.1, "small values are right now"
assert y[2] == 0 and y[3] == 0, "it no longer ends at 0"
PYTHON
