#!/usr/bin/env bash
# tract 0.23.9 (its Python package) computes ONNX GRU and RNN without their clip, and an RNN by tanh whatever its
# activations are, and says nothing. onnxruntime 1.32.0 honours them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 tract==0.23.9
"$folder/venv/bin/python" - "$folder/model.onnx" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__, "tract", version("tract"))
random = np.random.default_rng(0)
x = 2 * random.normal(size=(4, 2, 3)).astype(np.float32)
weights = {gates: [numpy_helper.from_array(random.normal(size=(1, gates * 4, n)).astype(np.float32), name) for name, n in (("w", 3), ("r", 4))] for gates in (1, 3)}


def answers(op, gates, **attributes):
    node = helper.make_node(op, ["x", "w", "r"], ["y"], hidden_size=4, **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 1, 2, 4])], weights[gates])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, sys.argv[1])
    other = tract.onnx().load(sys.argv[1]).into_model().into_runnable().run([x])[0].to_numpy()
    return other, onnxruntime.InferenceSession(sys.argv[1]).run(None, {"x": x})[0]


for op, gates, attributes in (
    ("GRU", 3, {"clip": 0.3}),
    ("RNN", 1, {"clip": 0.3}),
    ("RNN", 1, {"activations": ["Relu"]}),
):
    other, runtime = answers(op, gates, **attributes)
    same, right = answers(op, gates)
    print(op, attributes, "onnxruntime", runtime[-1, 0, 0], "tract", other[-1, 0, 0], "without", right[-1, 0, 0])
    assert np.allclose(other, same, atol=1e-5), "tract now heeds it"
    assert np.allclose(other, right, rtol=1e-4, atol=1e-4)
    assert not np.allclose(runtime, right, atol=1e-2)
PYTHON
