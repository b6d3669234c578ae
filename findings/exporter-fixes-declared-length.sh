#!/usr/bin/env bash
# torch 2.15.0, torch.onnx.export(dynamo=True): a length that is declared with torch.export.Dim becomes the number that
# the example had for an nn.RNN and for a loop over nn.LSTMCell, whose steps are written out; nothing is said. nn.LSTM and
# nn.GRU keep the name. Dim.DYNAMIC in its place raises for what cannot keep it. (The packages take some GB.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 torch==2.15.0
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import warnings

import torch
from torch import nn
from torch.export import Dim

print("torch", torch.__version__)
said = []
logging.getLogger().addHandler(handler := logging.Handler())
handler.emit = lambda record: said.append(record.getMessage())
warnings.showwarning = lambda message, *_: said.append(str(message))
warnings.simplefilter("always")


class First(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 6)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[1], 6)
        steps = []
        for t in range(x.shape[0]):
            h, c = self.cell(x[t], (h, c))
            steps.append(h)
        return torch.stack(steps)


def shape(model, length, batch):
    x = torch.randn(5, 3, 4)
    program = torch.onnx.export(model.eval(), (x,), dynamo=True, verbose=False, dynamic_shapes=({0: length, 1: batch},))
    dims = program.model_proto.graph.input[0].type.tensor_type.shape.dim
    return [dim.dim_param or dim.dim_value for dim in dims]


for name, layer, fixed in (("nn.LSTM", First(nn.LSTM(4, 6)), False), ("nn.GRU", First(nn.GRU(4, 6)), False),
                           ("nn.RNN", First(nn.RNN(4, 6)), True), ("loop of nn.LSTMCell", Loop(), True)):
    said.clear()
    found = shape(layer, Dim("seq"), Dim("batch"))
    of_it = [message for message in said if "seq" in message.lower()]
    print(f"{name}: declared ['seq', 'batch', 4], exported {found}, said of it: {of_it}")
    assert found == [5 if fixed else "seq", "batch", 4] and not of_it
    if fixed:
        try:
            shape(layer, Dim.DYNAMIC, Dim.DYNAMIC)
        except torch.onnx.OnnxExporterError as error:
            print(f"{name}: Dim.DYNAMIC raises {type(error).__name__}")
        else:
            raise AssertionError("Dim.DYNAMIC is taken")
PYTHON
