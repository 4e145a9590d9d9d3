"""Windows of several threads, of one file or of many, as one batch on a GPU. The CPU never batches: there it would change roundings."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.errors import DeviceError

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec, Context, Wave

MAX_WINDOWS = 64

Call = tuple[tuple[npt.NDArray[Any], ...], Future[Any]]
"""The arrays of a window, and what its caller waits for."""
Key = tuple[Any, ...]
"""What windows of a batch have in common: shapes and settings."""


class Batcher:
    """Runs what waits at the same time as one batch, windows of one shape and settings together.

    Callers leave their window and wait for it alone. A thread takes what is there, as one batch, and while it is at that,
    the next comes together; it begins with the first window and ends when none waits, so there is nothing to shut down.

    Args:
        codec: The model.
        size: Most windows of a batch; halved for good when the device's memory is too small for it.
    """

    def __init__(self, codec: Codec, size: int = MAX_WINDOWS) -> None:
        self.size = size
        self._codec = codec
        self._waiting: dict[Key, list[Call]] = {}
        self._is_running = False
        self._lock = threading.Lock()

    def encode_windows(
        self, waves: Wave, n_layers: int, beam_width: int, context: Context, state: None = None
    ) -> Codes:
        """Return what `Codec.encode_windows` does of one window, [1, n_layers, frames]."""
        codes: Codes = self._call(("encode", n_layers, beam_width, context), (waves,))
        return codes

    def decode_windows(
        self,
        codes: Codes,
        n_layers: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        frame_index: npt.NDArray[np.int64],
        context: Context,
        state: None = None,
    ) -> Wave:
        """Return what `Codec.decode_windows` does of one window, [1, channels_per_stream, samples]."""
        wave: Wave = self._call(("decode", context), (codes, n_layers, active, frame_index))
        return wave

    def _call(self, settings: tuple[Any, ...], arrays: tuple[npt.NDArray[Any], ...]) -> Any:
        """Leave a window to be coded or decoded and wait for it."""
        future: Future[Any] = Future()
        key = (*settings, *(array.shape for array in arrays))
        with self._lock:
            self._waiting.setdefault(key, []).append((arrays, future))
            if not self._is_running:
                threading.Thread(target=self._work_off, name="batches").start()
                self._is_running = True
        return future.result()

    def _work_off(self) -> None:
        while taken := self._take():
            self._run(*taken)

    def _take(self) -> tuple[Key, list[Call]] | None:
        """Return the next batch; settings and shapes take turns."""
        with self._lock:
            if not self._waiting:
                self._is_running = False
                return None
            key = next(iter(self._waiting))
            calls = self._waiting.pop(key)
            if calls[self.size :]:
                self._waiting[key] = calls[self.size :]
            return key, calls[: self.size]

    def _run(self, key: Key, batch: list[Call]) -> None:
        """Give callers their results. A batch that fails is halved, until an error is that of one window alone."""
        try:
            results = self._compute(key, [arrays for arrays, _ in batch])
        except Exception as error:  # of whatever kind, it belongs to a caller
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            if isinstance(error, DeviceError):
                self.size = min(self.size, len(batch) // 2)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result[None])
            return
        half = len(batch) // 2  # only here, where the error holds no tensors any more
        self._run(key, batch[:half])
        self._run(key, batch[half:])

    def _compute(self, key: Key, batch: list[tuple[npt.NDArray[Any], ...]]) -> npt.NDArray[Any]:
        """Return the results of windows, [batch, ...]."""
        columns = [np.concatenate(column) for column in zip(*batch, strict=True)]
        if key[0] == "encode":
            _, n_layers, beam_width, context, *_ = key
            return self._codec.encode_windows(columns[0], n_layers, beam_width, context)
        codes, layers, active, frame_index = columns
        return self._codec.decode_windows(codes, layers, active, frame_index, key[1])
