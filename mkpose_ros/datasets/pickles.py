"""Reading pickles that strangers made: plain values and numpy arrays come through, code does not."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from mkpose_ros.errors import InputError

__all__ = ["load_pickle"]

# Globals that label pickles of the field name, under numpy < 2 (numpy.core) and >= 2 (numpy._core).
_NUMPY = {
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    "numpy.ndarray",
    "numpy.dtype",
}
_PLAIN = {
    *(f"builtins.{n}" for n in ("list", "dict", "tuple", "set", "frozenset", "bytearray", "complex", "int", "float")),
    "collections.OrderedDict",
    "_codecs.encode",  # how protocol 2 writes bytes
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)  # Python 2's name
        if f"{module}.{name}" not in _NUMPY | _PLAIN:
            raise InputError(f"names the global {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_pickle(path: Path | str) -> Any:
    """The content of a pickle made of builtins and numpy arrays, also one of Python 2.

    Raises InputError that names the file, and the global when the pickle asks for code: nothing of it is run.
    """
    try:
        with open(path, "rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from error
    except InputError as error:
        raise InputError(
            f"{path}: {error}; only plain values and numpy arrays are read, because a pickle can run any code. "
            "Do not load it by other means unless you trust its author"
        ) from None
    except Exception as error:  # a damaged pickle may raise almost anything
        raise InputError(f"{path}: not a readable pickle ({type(error).__name__}: {error}); fetch it again") from error
