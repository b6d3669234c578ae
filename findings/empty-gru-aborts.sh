#!/usr/bin/env bash
# onnxruntime 1.32.0: a GRU over a sequence of length 0 ends the process ("terminate called without an active
# exception"). An LSTM gives an empty Y, and zeros as last states.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cat > "$folder/run.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

op, gates = {"GRU": ("GRU", 3), "LSTM": ("LSTM", 4)}[sys.argv[1]]
info = helper.make_tensor_value_info
random = np.random.default_rng(0)
weights = [numpy_helper.from_array(random.normal(size=(1, gates * 4, n)).astype(np.float32), name)
           for name, n in (("w", 3), ("r", 4))]
node = helper.make_node(op, ["x", "w", "r"], ["y", "h"], hidden_size=4)
graph = helper.make_graph([node], "g", [info("x", TensorProto.FLOAT, ["t", 2, 3])],
                          [info("y", TensorProto.FLOAT, None), info("h", TensorProto.FLOAT, None)], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=10)
y, h = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.zeros((0, 2, 3), np.float32)})
print(op, y.shape, h.ravel())
PYTHON
"$folder/venv/bin/python" "$folder/run.py" LSTM
if "$folder/venv/bin/python" "$folder/run.py" GRU; then
    echo "the GRU runs now"
    exit 1
fi
