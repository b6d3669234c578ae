"""Converting, by the command amqc in a process of its own: it can be interrupted, and its memory goes with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np

from ._amq import Error

Arrays = Mapping[str, np.ndarray]


class Conversion(NamedTuple):
    """What a conversion gave."""

    data: bytes
    """The .amq file, for `Model` or to be written."""
    report: dict[str, Any]
    """What was done, as `amqc convert --json` tells it: `layers` has an entry for each matrix."""


def convert(
    model: Union[str, os.PathLike[str], bytes],
    *,
    bits: Union[int, str, None] = None,
    activations: Union[int, str, None] = None,
    calib: Union[str, os.PathLike[str], Arrays, Sequence[Arrays], None] = None,
    **options: Any,
) -> Conversion:
    """Converts an ONNX model, given by its path or its bytes.

    `bits` is 1 to 8 or "f32", `activations` "int8", "int16", "f32" or 1 to 4 codes. `calib` is data to fit to:
    what `--calib` takes, or arrays by names of inputs, samples along the first axis, or a list of such.
    Any other flag of `amqc convert` is a keyword: `target_bits=2.5` is `--target-bits 2.5`, a sequence repeats
    the flag, True gives it without a value. Warnings are Python's.

    Raises `Error` where the model, the data or the options cannot be taken, and where there is no command `amqc`.
    """
    with tempfile.TemporaryDirectory(prefix="amq-") as folder:
        at = Path(folder)
        if isinstance(model, bytes):
            (at / "model.onnx").write_bytes(model)
            model = at / "model.onnx"
        if isinstance(calib, Mapping):
            calib = [calib]
        if calib is not None and not isinstance(calib, (str, os.PathLike)):
            (at / "calib").mkdir()
            for number, arrays in enumerate(calib):
                np.savez(at / "calib" / f"{number:06}.npz", **arrays)
            calib = at / "calib"
        output = at / "model.amq"
        # `=` keeps a value that begins with - apart from the flags.
        flags = [f"--output={output}", "--json"]
        for name, value in {"bits": bits, "activations": activations, "calib": calib, **options}.items():
            flag = "--" + name.replace("_", "-")
            if value is True:
                flags.append(flag)
            elif value is not None and value is not False:
                several = isinstance(value, Sequence) and not isinstance(value, str)
                flags += [f"{flag}={one}" for one in (value if several else [value])]
        command = [_program(), "convert", *flags, "--", os.fspath(model)]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "NO_COLOR": "1"})
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode != 0:
            raise Error(said.removeprefix("error: ") or f"amqc ended with code {done.returncode}")
        for line in said.splitlines():
            if line.startswith("warning: "):
                warnings.warn(line.removeprefix("warning: "), stacklevel=2)
        return Conversion(output.read_bytes(), json.loads(done.stdout))


def _program() -> str:
    """The command amqc: that of this environment, or what a terminal would find."""
    found = shutil.which("amqc", path=sysconfig.get_path("scripts")) or shutil.which("amqc")
    if found is None:
        raise Error("there is no command amqc, which converts: pip install 'amq[convert]'")
    return found
