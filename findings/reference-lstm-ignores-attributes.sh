#!/usr/bin/env bash
# onnx.reference of onnx 1.23.2 answers LSTM models that have clip, activations or input_forget as if they had
# not, without a word: as an oracle it makes a right runtime look wrong. onnxruntime 1.32.0 honours all three.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
random = np.random.default_rng(0)
w, r = (random.normal(size=(1, 16, n)).astype(np.float32) for n in (3, 4))
x = 3 * random.normal(size=(3, 1, 3)).astype(np.float32)


def answers(**attributes):
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=4, **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(r, "r")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    runtime = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    return ReferenceEvaluator(model).run(None, {"x": x})[-1].ravel(), runtime.ravel()


plain, runtime = answers()
assert np.allclose(plain, runtime, atol=1e-5)
for attributes in ({"clip": 0.1}, {"input_forget": 1}, {"activations": ["Relu", "Relu", "Relu"]}):
    reference, runtime = answers(**attributes)
    print(attributes, "reference", reference, "onnxruntime", runtime)
    assert np.array_equal(reference, plain), "the reference now heeds it"
    assert not np.allclose(runtime, plain, atol=1e-3)
PYTHON
