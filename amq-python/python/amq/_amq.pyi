import os
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

__version__: str

class Error(ValueError):
    """What was found, and what is expected."""

class Port:
    """An input or output of a model."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str:
        """The name of NumPy's type, such as float32."""
    @property
    def shape(self) -> tuple[Union[int, str], ...]:
        """Sizes, outermost first; text where calls decide: a name, or an expression of names."""
    @property
    def state(self) -> Optional[str]:
        """Of a state, the name of the output with this input's next value, or of the input that takes this output."""

class Model:
    """A model: a path, or the bytes of a file. It never changes and is shared by threads."""

    def __init__(self, source: Union[str, os.PathLike[str], bytes]) -> None: ...
    @property
    def inputs(self) -> list[Port]: ...
    @property
    def outputs(self) -> list[Port]: ...
    @property
    def data(self) -> bytes:
        """The bytes of the file."""
    @property
    def isa(self) -> str:
        """The instruction set that it runs on. Results do not depend on it."""

class Session:
    """One stream of calls to a model; `state` is one that `save` gave."""

    def __init__(self, model: Model, state: Optional[bytes] = None) -> None: ...
    @property
    def model(self) -> Model: ...
    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs. States are inputs, which may be absent; the session's own are not used."""
    def step(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The outputs that are no states. States come from the step before and go to the next."""
    def states(self) -> dict[str, npt.NDArray[Any]]:
        """The states by names of the inputs that take them; none before the first step."""
    def reset(self) -> None:
        """Forgets the state."""
    def save(self) -> bytes:
        """The state as bytes, the same on every machine."""
    def restore(self, state: bytes) -> None:
        """Continues from a state that was saved in a session of the same file."""
