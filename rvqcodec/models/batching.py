"""Windows of several threads, of one file or of many, as one batch on a GPU. The CPU never batches: there it would change roundings."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Hashable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.errors import DeviceError

if TYPE_CHECKING:
    from rvqcodec.models.codec import Codec, Wave

MAX_WINDOWS = 64


class Batcher:
    """Runs what waits at the same time as one batch.

    There is no thread of its own: a caller leaves its window, takes the device when it is free, and then works for all
    whose windows have the same shape and settings; those find theirs done.

    Args:
        codec: The model.
        size: Most windows of a batch; halved for good when the device's memory is too small for it.
    """

    def __init__(self, codec: Codec, size: int = MAX_WINDOWS) -> None:
        self.size = size
        self._codec = codec
        self._waiting: dict[Hashable, deque[tuple[tuple[Any, ...], Future[Any]]]] = defaultdict(deque)
        self._device = threading.Lock()

    def encode_window(self, wave: Wave, n_layers: int, n_candidates: int) -> Codes:
        """Return what `Codec.encode_window` does."""
        codes: Codes = self._call(("encode", wave.shape, n_layers, n_candidates), (wave,))
        return codes

    def decode_window(
        self, codes: Codes, n_layers: npt.NDArray[np.int64], sounding: npt.NDArray[np.bool_], position: int
    ) -> Wave:
        """Return what `Codec.decode_window` does."""
        wave: Wave = self._call(("decode", codes.shape), (codes, n_layers, sounding, position))
        return wave

    def _call(self, key: tuple[Any, ...], arguments: tuple[Any, ...]) -> Any:
        future: Future[Any] = Future()
        self._waiting[key].append((arguments, future))  # a deque's ends are safe between threads
        while not future.done():
            with self._device:
                if not future.done():
                    self._run(key)
        return future.result()

    def _run(self, key: tuple[Any, ...]) -> None:
        """Work on the first windows that wait under a key; who waits for them gets the result or the error."""
        waiting = self._waiting[key]
        batch = [waiting.popleft() for _ in range(min(self.size, len(waiting)))]
        try:
            results = self._compute(key, [arguments for arguments, _ in batch])
        except DeviceError as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                self.size = len(batch) // 2
                waiting.extendleft(reversed(batch))
            return
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            raise
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _compute(self, key: tuple[Any, ...], batch: list[tuple[Any, ...]]) -> npt.NDArray[Any]:
        columns = [np.stack(column) for column in zip(*batch, strict=True)]
        if key[0] == "encode":
            return self._codec.encode_windows(columns[0], key[2], key[3])
        return self._codec.decode_windows(*columns)
