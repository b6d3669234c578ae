#!/usr/bin/env bash
# onnxruntime 1.32.0 computes Softplus inside RNN and GRU as log(1 + exp(x)), which is infinite where
# exp overflows; its operator Softplus is right. The limit of x for large x is x itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__)


def answer(node, tensors, shape, x):
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": np.full(shape, x, np.float32)})[0].ravel()[0]


def layer(op, functions, x):
    gates = {"RNN": 1, "GRU": 3}[op]
    tensors = {"w": np.ones((1, gates, 1), np.float32), "r": np.zeros((1, gates, 1), np.float32)}
    node = helper.make_node(op, ["x", "w", "r"], ["y"], hidden_size=1, activations=functions)
    return answer(node, tensors, [1, 1, 1], x)


seen = {
    "operator at 100": answer(helper.make_node("Softplus", ["x"], ["y"]), {}, [1], 100),
    "RNN at 88": layer("RNN", ["Softplus"], 88),
    "RNN at 89": layer("RNN", ["Softplus"], 89),
    "GRU at 88": layer("GRU", ["Sigmoid", "Softplus"], 88),
    "GRU at 89": layer("GRU", ["Sigmoid", "Softplus"], 89),
}
for name, value in seen.items():
    print(f"{name}: {value}")
assert seen["operator at 100"] == 100 and seen["RNN at 88"] == 88
assert np.isposinf(seen["RNN at 89"]), "RNN no longer overflows"
assert seen["GRU at 88"] == 0 and np.isnan(seen["GRU at 89"]), "GRU no longer gives NaN"
PYTHON
