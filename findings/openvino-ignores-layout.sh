#!/usr/bin/env bash
# OpenVINO 2026.4.1 reads LSTM, GRU and RNN with layout=1 (batch first) as if it were layout 0, where no initial state is
# given: the items of a batch become the steps of one sequence, so that each sees those before it, and outputs have other
# shapes than ONNX states and the model declares. onnxruntime 1.32.0 refuses the layout; onnx.reference of onnx 1.23.2
# does as stated.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 openvino==2026.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "openvino", openvino.__version__)
random = np.random.default_rng(0)
batch, steps, hidden = 2, 5, 4
x = random.normal(size=(batch, steps, 3)).astype(np.float32)
for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    constants = [numpy_helper.from_array(random.normal(size=(1, gates * hidden, n)).astype(np.float32), name) for name, n in (("w", 3), ("r", hidden))]

    def model(layout, shapes):
        node = helper.make_node(op, ["x", "w", "r"], ["y", "h"], hidden_size=hidden, layout=layout)
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip("yh", shapes)]
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))], outputs, constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        onnx.checker.check_model(made, full_check=True)
        return made

    stated = [batch, steps, 1, hidden], [batch, 1, hidden]
    first = model(1, stated)
    reference = ReferenceEvaluator(first).run(None, {"x": x})
    other = ReferenceEvaluator(model(0, ([batch, 1, steps, hidden], [1, steps, hidden]))).run(None, {"x": x})
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(first.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = [compiled({"x": x})[output] for output in compiled.outputs]
    print(op, "stated", *stated, "openvino", *(list(answer.shape) for answer in answers))
    assert [list(value.shape) for value in reference] == list(stated)
    assert [a.shape for a in answers] == [o.shape for o in other], "openvino now heeds the layout"
    assert all(np.allclose(a, o, atol=1e-5) for a, o in zip(answers, other))
    assert not np.allclose(answers[0][1, 0, 0], reference[0][1, 0, 0], atol=1e-2)
PYTHON
