#!/usr/bin/env bash
# The reference evaluator of onnx 1.23.2 divides by the plain sum in LpNormalization with p = 1, not by the sum of
# magnitudes that a norm has: signs make it wrong, here by a factor of 3. onnxruntime 1.32.0 is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
graph = helper.make_graph(
    [helper.make_node("LpNormalization", ["x"], ["y"], p=1, axis=0)], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
x = np.array([1, -2, 3], np.float32)
(reference,) = ReferenceEvaluator(model).run(None, {"x": x})
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(runtime,) = session.run(None, {"x": x})
print("reference", reference, "onnxruntime", runtime, "exactly", x / np.abs(x).sum())
assert np.allclose(runtime, x / 6)
assert np.allclose(reference, x / 2), "the reference no longer divides by the plain sum"
PYTHON
