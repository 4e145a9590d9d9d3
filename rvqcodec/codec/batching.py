"""Windows of several threads, of one file or of many, as one batch on a GPU. The CPU never batches: there it would change roundings."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.errors import DeviceError

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec, Wave

MAX_WINDOWS = 64

Number = TypeVar("Number", bound=np.generic)
Call = tuple[tuple[Any, ...], Future[Any]]
"""The arguments of a window, and what its caller waits for."""


class Batcher:
    """Runs what waits at the same time as one batch.

    Callers leave their window and wait for it alone. A thread takes what is there, as one batch, and while it is at that,
    the next comes together; it begins with the first window and ends when none waits, so there is nothing to shut down.

    Args:
        codec: The model.
        size: Most windows of a batch; halved for good when the device's memory is too small for it.
    """

    def __init__(self, codec: Codec, size: int = MAX_WINDOWS) -> None:
        self.size = size
        self._codec = codec
        self._waiting: dict[tuple[int, ...], list[Call]] = {}
        self._is_running = False
        self._lock = threading.Lock()

    def encode_window(self, wave: Wave, n_layers: int, n_candidates: int) -> Codes:
        """Return what `Codec.encode_window` does."""
        codes: Codes = self._call((n_layers, n_candidates), (wave,))
        return codes

    def decode_window(
        self, codes: Codes, n_layers: npt.NDArray[np.int64], sounding: npt.NDArray[np.bool_], position: int
    ) -> Wave:
        """Return what `Codec.decode_window` does."""
        wave: Wave = self._call((), (codes, n_layers, sounding, np.array(position)))
        return wave

    def _call(self, search: tuple[int, ...], arguments: tuple[Any, ...]) -> Any:
        """Leave a window to be encoded with the settings `search`, or to be decoded where there are none, and wait."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.setdefault(search, []).append((arguments, future))
            if not self._is_running:
                threading.Thread(target=self._work_off, name="batches").start()
                self._is_running = True
        return future.result()

    def _work_off(self) -> None:
        while taken := self._take():
            self._run(*taken)

    def _take(self) -> tuple[tuple[int, ...], list[Call]] | None:
        """Return the next batch; settings take turns."""
        with self._lock:
            if not self._waiting:
                self._is_running = False
                return None
            search = next(iter(self._waiting))
            calls = self._waiting.pop(search)
            if calls[self.size :]:
                self._waiting[search] = calls[self.size :]
            return search, calls[: self.size]

    def _run(self, search: tuple[int, ...], batch: list[Call]) -> None:
        """Give callers their results. A batch that fails is halved, until an error is that of one window alone."""
        try:
            results = self._compute(search, [arguments for arguments, _ in batch])
        except Exception as error:  # of whatever kind, it belongs to a caller
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            if isinstance(error, DeviceError):
                self.size = min(self.size, len(batch) // 2)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)
            return
        half = len(batch) // 2  # only here, where the error holds no tensors any more
        self._run(search, batch[:half])
        self._run(search, batch[half:])

    def _compute(self, search: tuple[int, ...], batch: list[tuple[Any, ...]]) -> list[npt.NDArray[Any]]:
        """Return the results of windows, which are padded to the longest: their context keeps what follows out."""
        columns = [_stacked(column) for column in zip(*batch, strict=True)]
        config = self._codec.config
        if not search:
            lengths = [(codes.shape[1] - 2 * config.decoder_context) * config.hop_length for codes, *_ in batch]
            waves = self._codec.decode_windows(*columns)
            return [wave[:length] for wave, length in zip(waves, lengths, strict=True)]
        lengths = [len(wave) // config.hop_length - 2 * config.encoder_context for (wave,) in batch]
        coded = self._codec.encode_windows(columns[0], *search)
        return [codes[:, :length] for codes, length in zip(coded, lengths, strict=True)]


def _stacked(arrays: Sequence[npt.NDArray[Number]]) -> npt.NDArray[Number]:
    """Return arrays as one, with zeros at the ends of those that are shorter than others."""
    shape = np.max([array.shape for array in arrays], axis=0).astype(int)
    stacked = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for row, array in enumerate(arrays):
        place: tuple[int | slice, ...] = (row, *(slice(length) for length in array.shape))
        stacked[place] = array
    return stacked
