"""joblib, and what is built on it, on any compute backend.

::

    register_lithops()
    with joblib.parallel_config(backend="lithops", n_jobs=-1):
        joblib.Parallel()(joblib.delayed(function)(x) for x in data)

    Parallel ─► LithopsBackend ─► Run ─► Packer: batch as bytes, arrays ─► storage, once
                 backend.py      run.py   packing.py                          │
                                  └─► FunctionExecutor.call_async ──► worker.run
"""

from __future__ import annotations

from functools import partial
from typing import Any

from lithops.exceptions import BackendNotInstalled

__all__ = ["register_lithops"]


def register_lithops(name: str = "lithops", **options: Any) -> None:
    """Make this library known to joblib as the backend `name`.

    `options` are those of `lithops.FunctionExecutor`; `joblib.parallel_config(backend=name, ...)` takes them as well,
    but for `backend`, which is joblib's there. Raises `BackendNotInstalled` where joblib is missing or too old.
    """
    try:
        import joblib
    except ModuleNotFoundError as error:
        if error.name != "joblib":
            raise
        raise BackendNotInstalled(
            "lithops.util.joblib needs the package 'joblib', which is not installed; "
            "run: pip install 'lithops[joblib]'"
        ) from error
    if not hasattr(joblib, "parallel_config"):
        raise BackendNotInstalled(
            f"lithops.util.joblib needs joblib 1.3 or later, and this is {joblib.__version__}; "
            "run: pip install 'lithops[joblib]'"
        )
    from lithops.util.joblib.backend import LithopsBackend

    joblib.register_parallel_backend(name, partial(LithopsBackend, **options))
