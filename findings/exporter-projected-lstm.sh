#!/usr/bin/env bash
# torch 2.15.0, torch.onnx.export(dynamo=True): an nn.LSTM with proj_size becomes an ONNX LSTM, which has no projection.
# Of 6 units projected to 3 it becomes one of 3 units, with the first half of the rows of its weights, no projection, and
# biases and a cell state of 6. The export says nothing; onnxruntime 1.32.0 refuses to run it. The exporter by TorchScript
# (dynamo=False) refuses the module by name. (The packages take some GB.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 torch==2.15.0
"$folder/venv/bin/python" - "$folder/old.onnx" <<'PYTHON'
import sys

import onnx
import onnxruntime
import torch
from torch import nn

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
layer, x = nn.LSTM(4, 6, proj_size=3).eval(), torch.randn(5, 2, 4)
model = torch.onnx.export(layer, (x,), dynamo=True, verbose=False).model_proto
(node,) = (node for node in model.graph.node if node.op_type == "LSTM")
sizes = {constant.name: list(constant.dims) for constant in model.graph.initializer}
(hidden,) = (a.i for a in node.attribute if a.name == "hidden_size")
w, r, b = (sizes[name] for name in node.input[1:4])
print(f"nn.LSTM: {list(layer.weight_ih_l0.shape)} {list(layer.weight_hh_l0.shape)}; LSTM: hidden_size {hidden}, W {w}, R {r}, B {b}")
assert (hidden, w, r, b) == (3, [1, 12, 4], [1, 12, 3], [1, 24]), "the exported layer has changed"
assert not any(op.op_type in ("MatMul", "Gemm") for op in model.graph.node), "there is a projection now"
onnx.checker.check_model(model)
try:
    onnxruntime.InferenceSession(model.SerializeToString()).run(None, {model.graph.input[0].name: x.numpy()})
except Exception as error:
    print("onnxruntime:", str(error)[:160])
else:
    raise AssertionError("onnxruntime runs it")
try:
    torch.onnx.export(layer, (x,), sys.argv[1], dynamo=False)
except torch.onnx.errors.SymbolicValueError as error:
    print("dynamo=False:", str(error)[:70])
else:
    raise AssertionError("the exporter by TorchScript takes it")
PYTHON
