"""One thread for every test: sums depend on how they are split, and tests share few cores."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
import torch

from lthlib.workflow import local

torch.set_num_threads(1)


class InProcess(Executor):
    """Does what it is given here and at once: a process takes seconds to import torch."""

    _processes = None

    def __init__(self, workers: int) -> None:
        pass

    def submit(self, work: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*args, **more))
        return future


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lth run` and its like, where processes are not what is tested."""
    monkeypatch.setattr(local, "worker_pool", InProcess)
