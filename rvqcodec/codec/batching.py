"""Dynamic batching: windows of several threads, from one file or many, run as one batch on a GPU.

The CPU never batches, where the shape of a batch would change the rounding.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from rvqcodec.codec.runner import Context, Wave, WindowRunner
from rvqcodec.encoded import Codes
from rvqcodec.errors import DeviceError
from rvqcodec.models.family import Traits

MAX_WINDOWS = 64

Call = tuple[tuple[npt.NDArray[Any], ...], Future[Any]]
"""The arrays of a window and the future of its result."""
Key = tuple[Any, ...]
"""Settings and shapes, which are equal for all windows of a batch."""


class Batcher:
    """Runs pending windows together, those of equal shape and settings as one batch.

    Callers queue a window and block until its result is there. A worker thread takes all pending windows as one batch, while the next
    ones gather; it starts with the first window and ends when none is pending, so there is nothing to shut down.

    Args:
        runner: The model.
        size: Largest batch; halved permanently when the device runs out of memory.
    """

    def __init__(self, runner: WindowRunner, size: int = MAX_WINDOWS) -> None:
        self.size = size
        self._runner = runner
        self._pending: dict[Key, list[Call]] = {}
        self._is_running = False
        self._lock = threading.Lock()

    @property
    def traits(self) -> Traits:
        """Properties of the model."""
        return self._runner.traits

    def start(self) -> Any:
        """Return the initial state of a stream (`WindowRunner`)."""
        return self._runner.start()

    def encode_windows(self, waves: Wave, n_layers: int, beam_width: int, context: Context, state: Any = None) -> Codes:
        """Return the codes of one window, uint16 [1, n_layers, frames] (`WindowRunner`)."""
        codes: Codes = self._call(("encode", n_layers, beam_width, context), (waves,))
        return codes

    def decode_windows(
        self,
        codes: Codes,
        n_layers: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        frame_index: npt.NDArray[np.int64],
        context: Context,
        state: Any = None,
    ) -> Wave:
        """Return the samples of one window, float32 [1, channels_per_stream, n_samples] (`WindowRunner`)."""
        wave: Wave = self._call(("decode", context), (codes, n_layers, active, frame_index))
        return wave

    def _call(self, settings: tuple[Any, ...], arrays: tuple[npt.NDArray[Any], ...]) -> Any:
        """Queue a window and return its result."""
        future: Future[Any] = Future()
        key = (*settings, *(array.shape for array in arrays))
        with self._lock:
            self._pending.setdefault(key, []).append((arrays, future))
            if not self._is_running:
                threading.Thread(target=self._run_pending, name="batches").start()
                self._is_running = True
        return future.result()

    def _run_pending(self) -> None:
        while taken := self._take():
            self._run(*taken)

    def _take(self) -> tuple[Key, list[Call]] | None:
        """Return the next batch, round-robin over settings and shapes."""
        with self._lock:
            if not self._pending:
                self._is_running = False
                return None
            key = next(iter(self._pending))
            calls = self._pending.pop(key)
            if calls[self.size :]:
                self._pending[key] = calls[self.size :]
            return key, calls[: self.size]

    def _run(self, key: Key, batch: list[Call]) -> None:
        """Deliver the results. A batch that fails is halved, until the error belongs to a single window."""
        try:
            results = self._compute(key, [arrays for arrays, _ in batch])
        except Exception as error:  # of any kind: it is raised in the caller
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            if isinstance(error, DeviceError):
                self.size = min(self.size, len(batch) // 2)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result[None])
            return
        half = len(batch) // 2  # outside the handler, whose traceback would keep the tensors alive
        self._run(key, batch[:half])
        self._run(key, batch[half:])

    def _compute(self, key: Key, batch: list[tuple[npt.NDArray[Any], ...]]) -> npt.NDArray[Any]:
        """Return the results of a batch of windows, [batch, ...]."""
        columns = [np.concatenate(column) for column in zip(*batch, strict=True)]
        if key[0] == "encode":
            _, n_layers, beam_width, context, *_ = key
            return self._runner.encode_windows(columns[0], n_layers, beam_width, context)
        codes, layers, active, frame_index = columns
        return self._runner.decode_windows(codes, layers, active, frame_index, key[1])
