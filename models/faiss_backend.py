"""The one import site of FAISS, so that `faiss-cpu` and `faiss-gpu` are interchangeable.

Never fork a process after importing this module: OpenMP hangs in the child. Spawn.
"""

from typing import Any

import faiss as _faiss

faiss: Any = _faiss
"""The module, untyped: its stubs do not know the keyword arguments that its Python layer adds."""

__all__ = ["faiss"]
