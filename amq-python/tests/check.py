"""Checks the installed package on the shipped model; the last line printed is the digest of the stream's scores.

    python check.py FOLDER TOKEN...
"""

import pickle
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np

import amq


def raises(kind, text, call):
    try:
        call()
    except kind as error:
        assert text in str(error), error
        return
    raise AssertionError(f"nothing was raised where {text!r} should have been")


def digest(hash_, scores):
    for byte in scores.astype("<f4").tobytes():
        hash_ = ((hash_ ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return hash_


folder, tokens = Path(sys.argv[1]), [int(token) for token in sys.argv[2:]]
path = folder / "model.amq"
data = path.read_bytes()
model = amq.Model(path)

# What a model tells of itself.
assert [port.name for port in model.inputs] == ["tokens", "h0", "c0"]
assert [port.name for port in model.outputs] == ["logits", "hn", "cn"]
assert model.inputs[0].shape == ("seq", "batch") and model.inputs[0].dtype == "int64"
assert model.inputs[1].shape == (1, "batch", 128) and model.inputs[1].state == "hn"
assert model.outputs[0].state is None and model.outputs[2].state == "c0"
assert amq.Model(data).data == data and amq.Model(str(path)).data == data

# The stream, step by step, and at once.
session = amq.Session(model)
steps = []
for token in tokens:
    outputs = session.step({"tokens": np.array([[token]])})
    assert list(outputs) == ["logits"]
    steps.append(outputs["logits"])
whole = amq.Session(model).run({"tokens": np.array(tokens).reshape(-1, 1)})
assert np.array_equal(whole["logits"], np.concatenate(steps))

# States: as the outputs that give them, as inputs, saved, pickled.
states = session.states()
assert sorted(states) == ["c0", "h0"]
assert np.array_equal(states["h0"], whole["hn"]) and np.array_equal(states["c0"], whole["cn"])
following = {"tokens": np.array([[7]])}
by_run = session.run({**following, **states})["logits"]
saved = session.save()
copies = [pickle.loads(pickle.dumps(session)), amq.Session(model, saved), amq.Session(amq.Model(data))]
copies[2].restore(saved)
for stream in [*copies, session]:
    assert np.array_equal(stream.step(following)["logits"], by_run)
session.reset()
assert session.states() == {}
assert np.array_equal(session.step({"tokens": np.array([[tokens[0]]])})["logits"], steps[0])

# Arrays that do not lie as the model reads them.
table = np.zeros((5, 4), dtype=np.int64)
table[::2, 1] = tokens[:3]
strided = amq.Session(model).run({"tokens": table[::2, 1:2]})["logits"]
fortran = amq.Session(model).run({"tokens": np.asfortranarray(table[:, :2])})["logits"]
unaligned = np.zeros(8 * 3 + 1, dtype=np.uint8)[1:].view(np.int64).reshape(3, 1)
unaligned[:] = table[::2, 1:2]
assert np.array_equal(strided, np.concatenate(steps[:3]))
assert np.array_equal(amq.Session(model).run({"tokens": unaligned})["logits"], strided)
assert np.array_equal(fortran, amq.Session(model).run({"tokens": table[:, :2].copy()})["logits"])

# Threads share a model.
found = [None] * 4


def stream_of(i):
    found[i] = amq.Session(model).run({"tokens": np.array(tokens).reshape(-1, 1)})["logits"]


threads = [threading.Thread(target=stream_of, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert all(np.array_equal(one, whole["logits"]) for one in found)

# Bad arguments.
step = session.step
raises(OSError, "nothing.amq", lambda: amq.Model("nothing.amq"))
for cut in [0, 1, 63, 64, 1000, len(data) - 1]:
    raises(amq.Error, "", lambda: amq.Model(data[:cut]))
raises(TypeError, "", lambda: amq.Model(None))
raises(TypeError, "", lambda: amq.Session(data))
raises(TypeError, "must be a NumPy array", lambda: step({"tokens": [[1]]}))
raises(TypeError, "names of inputs", lambda: step({1: np.array([[1]])}))
raises(TypeError, "", lambda: step(None))
raises(amq.Error, "is f32, it must be i64", lambda: step({"tokens": np.zeros((1, 1), np.float32)}))
raises(TypeError, "float64", lambda: step({"tokens": np.zeros((1, 1))}))
raises(TypeError, "i8", lambda: step({"tokens": np.zeros((1, 1), ">i8")}))
raises(amq.Error, "the model takes", lambda: step({"tokens": np.array([1])}))
raises(amq.Error, "there is no input token", lambda: step({"token": np.array([[1]])}))
raises(amq.Error, "tokens", lambda: step({}))
raises(amq.Error, "2000", lambda: step({"tokens": np.array([[2000]])}))
raises(amq.Error, "reset the session", lambda: step({"tokens": np.array([[1, 2]])}))
raises(amq.Error, "damaged", lambda: session.restore(b"amqstat1"))
raises(amq.Error, "damaged", lambda: amq.Session(model, b""))

# Converting: of a path and of bytes, with data, and what cannot be.
conversion = amq.convert(folder / "model.onnx", bits=2)
assert [layer["bits"] for layer in conversion.report["layers"]] == [2] * 4
again = amq.convert((folder / "model.onnx").read_bytes(), bits=2, activations="int8")
assert amq.Session(amq.Model(again.data)).step(following)["logits"].shape == (1, 1, 2000)
assert len(again.data) < 200_000
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    images = np.load(folder / "../digits/images.npz")["images"][:64]
    name = amq.Model(amq.convert(folder / "../digits/model.onnx").data).inputs[0].name
    fitted = amq.convert(folder / "../digits/model.onnx", bits=3, calib={name: images})
assert any(layer.get("method") == "calibrated" for layer in fitted.report["layers"]), fitted.report
raises(amq.Error, "model.onnx", lambda: amq.convert(b"no model"))
raises(amq.Error, "--bits", lambda: amq.convert(folder / "model.onnx", bits=9))
raises(amq.Error, "--nothing", lambda: amq.convert(folder / "model.onnx", nothing=1))
with tempfile.TemporaryDirectory() as place:
    raises(amq.Error, "missing.onnx", lambda: amq.convert(Path(place) / "missing.onnx"))

hash_ = 0xCBF29CE484222325
for scores in steps:
    hash_ = digest(hash_, scores)
print(f"digest {hash_:016x}")
