#!/usr/bin/env bash
# torch 2.15.0, torch.onnx.export(dynamo=True): where one tensor is the example of two inputs, as zeros for both states of an
# nn.LSTM are, the exported graph has both inputs and reads one of them for both: here c is the initial h too, and h counts
# for nothing. Nothing is said, and with zeros, or states that are equal, answers are right. (The packages take some GB.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 torch==2.15.0
"$folder/venv/bin/python" - <<'PYTHON'
import onnxruntime
import torch
from torch import nn

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6)

    def forward(self, x, h, c):
        return self.lstm(x, (h, c))[0]


torch.manual_seed(0)
layer, x = Layer().eval(), torch.randn(5, 2, 4)
h, c = torch.randn(1, 2, 6), torch.randn(1, 2, 6)


def difference(h0, c0):
    program = torch.onnx.export(layer, (x, h0, c0), dynamo=True, verbose=False, input_names=["x", "h", "c"])
    model = program.model_proto
    print("inputs", [value.name for value in model.graph.input])
    assert [value.name for value in model.graph.input] == ["x", "h", "c"]
    answer = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy(), "h": h.numpy(), "c": c.numpy()})[0]
    with torch.no_grad():
        return [abs(layer(x, *states).numpy() - answer).max() for states in ((h, c), (c, c))]


zeros = torch.zeros(1, 2, 6)
apart = difference(zeros, zeros.clone())
print(f"two examples: {apart[0]:.1e} from the module's answer")
assert apart[0] < 1e-5 < apart[1]
once = difference(zeros, zeros)
print(f"one example twice: {once[0]:.1e} from the module's answer, {once[1]:.1e} from that with c for h")
assert once[1] < 1e-5 < once[0], "inputs are no longer merged"
PYTHON
