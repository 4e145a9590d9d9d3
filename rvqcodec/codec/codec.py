"""Codec: a model of any family behind one interface, from waves to codes and back; the boundary between numpy and torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rvqcodec.codec.batching import Batcher
from rvqcodec.codec.levelling import LevelledBlock, level_blocks, restore_block
from rvqcodec.codec.runner import Context, Wave
from rvqcodec.codec.windows import decode_blocks, encode_blocks
from rvqcodec.encoded import CodedBlock, Codes, Encoded, gather
from rvqcodec.errors import DeviceError, ModelError
from rvqcodec.models.family import Traits
from rvqcodec.signal import MAX_CHANNELS, Signal

MAX_BEAM_WIDTH = 256


class Codec:
    """One model, ready to run.

    Args:
        model: A model of some family (`models.family.Family`), on its device.
        name: The model's name, which is stored in files.
        path: The weights file, beside which its entropy tables and networks are; None if there is none.

    Raises:
        ModelError: Its blocks overlap or have factors, which no runner supports.

    Attributes:
        traits: Properties of the model.
        fingerprint: Identifies the codec: 16 hex digits.
        batcher: Batches windows on a GPU, or None.
    """

    def __init__(self, model: Any, name: str = "unnamed", path: Path | None = None) -> None:
        traits: Traits = model.traits
        if traits.levels == "factor" or traits.block_step != traits.block_size:
            raise ModelError(
                f"{name} has blocks that overlap or factors: files of it are read, but no model of that kind runs"
            )
        self.model = model
        self.name = name
        self.path = path
        self.traits = traits
        self.fingerprint: str = model.fingerprint
        self.device: torch.device = next(iter(model.state_dict().values())).device
        batched = self.device.type != "cpu" and not self.traits.stateful
        self.batcher = Batcher(self) if batched else None

    def encode_windows(self, waves: Wave, n_layers: int, beam_width: int, context: Context, state: Any = None) -> Codes:
        """Return the codes of windows (`WindowRunner.encode_windows`)."""
        with self._running():
            wave = torch.from_numpy(np.ascontiguousarray(waves)).to(self.device)
            codes: Codes = self.model.encode(wave, n_layers, beam_width, context, state).cpu().numpy()
            return codes.astype(np.uint16)

    def decode_windows(
        self,
        codes: Codes,
        n_layers: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        frame_index: npt.NDArray[np.int64],
        context: Context,
        state: Any = None,
    ) -> Wave:
        """Return the samples of windows (`WindowRunner.decode_windows`)."""
        with self._running():
            arrays = (codes.astype(np.int64), n_layers, active, frame_index)
            tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays]
            wave: Wave = self.model.decode(*tensors, context, state).cpu().numpy()
            return wave

    def start(self) -> Any:
        """Return the initial state of a stream (`Family.start`)."""
        return self.model.start()

    def encode(self, wave: Wave, n_layers: int | None = None, beam_width: int = 4, n_threads: int = 1) -> Encoded:
        """Encode a whole wave.

        Args:
            wave: Floating point, full scale 1, [channels, n] or [n], at `traits.sample_rate`.
            n_layers: Layers to code, 1 to `traits.n_layers`; the model's default when absent.
            beam_width: Of the quantizer search, 1 to `MAX_BEAM_WIDTH`.
            n_threads: Windows in flight, at least 1.

        Raises:
            ValueError: The wave has another shape or type or isn't finite, or a number is out of range.
            DeviceError: The device failed or is out of memory.
        """
        samples, traits = _samples(wave), self.traits
        n_layers = traits.default_layers if n_layers is None else n_layers
        size = traits.block_size
        signal = self.signal(traits.sample_rate, samples.shape[1], n_layers)
        cut = (samples[start : start + size] for start in range(0, len(samples), size))
        levelled = level_blocks(cut, traits, signal.rotated)
        return gather(signal, self.encode_blocks(levelled, n_layers, beam_width, n_threads), len(samples))

    def decode(self, encoded: Encoded, n_threads: int = 1) -> Wave:
        """Return the decoded wave, float32 [channels, n] at `traits.sample_rate`.

        Args:
            encoded: From `encode` or an .rvq file.
            n_threads: Windows in flight, at least 1.

        Raises:
            ModelError: It was coded by another codec.
            ValueError: `n_threads` is below 1.
            DeviceError: The device failed or is out of memory.
        """
        signal = encoded.signal
        self.check(signal)
        blocks = self.decode_blocks(encoded.blocks(), n_threads)
        pieces = [restore_block(streams, block, self.traits, signal.channels) for block, streams in blocks]
        n_samples = -(-encoded.n_samples * self.traits.sample_rate // signal.sample_rate)
        empty = np.zeros((0, signal.channels), np.float32)
        return np.ascontiguousarray(np.concatenate([*pieces, empty])[:n_samples].T)

    def encode_blocks(
        self, blocks: Iterable[LevelledBlock], n_layers: int, beam_width: int, n_threads: int
    ) -> Iterator[CodedBlock]:
        """Yield the coded blocks of levelled blocks, in constant memory (`windows.encode_blocks`).

        Raises:
            ValueError: `beam_width` or `n_threads` is out of range.
        """
        if not 1 <= beam_width <= MAX_BEAM_WIDTH:
            raise ValueError(f"a beam width of {beam_width}: expected 1 to {MAX_BEAM_WIDTH}")
        _check_threads(n_threads)
        return encode_blocks(self.batcher or self, blocks, n_layers, beam_width, n_threads)

    def decode_blocks(
        self, blocks: Iterable[CodedBlock], n_threads: int, first: int = 0, first_output: int = 0
    ) -> Iterator[tuple[CodedBlock, Wave]]:
        """Yield coded blocks with their decoded streams, still at the model's level, in constant memory (`windows.decode_blocks`).

        Raises:
            ValueError: `n_threads` is below 1.
        """
        _check_threads(n_threads)
        return decode_blocks(self.batcher or self, blocks, n_threads, first, first_output)

    def check(self, signal: Signal) -> None:
        """Check that this codec can decode a signal.

        Raises:
            ModelError: It was coded by another codec, or contradicts its traits.
        """
        if signal.fingerprint != self.fingerprint:
            raise ModelError(
                f"the codes need the model {signal.model} ({signal.fingerprint}), not {self.name} ({self.fingerprint})"
            )
        if signal.n_layers <= self.traits.n_layers:
            args = (signal.sample_rate, signal.channels, signal.n_layers, signal.sample_format)
            if signal == self.traits.signal(signal.model, signal.fingerprint, *args):
                return
        raise ModelError(f"the description of the codes contradicts their model {self.name}")

    def signal(self, sample_rate: int, channels: int, n_layers: int, sample_format: int = 0) -> Signal:
        """Return the description of audio coded by this codec (`Traits.signal`)."""
        return self.traits.signal(self.name, self.fingerprint, sample_rate, channels, n_layers, sample_format)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        try:
            with torch.inference_mode():
                yield
        except RuntimeError as error:  # torch has no class for memory exhausted on a CPU or for a failed device
            if "memory" in str(error) and "illegal memory" not in str(error):
                raise DeviceError("out of memory", "try --threads 1, or --device cpu") from error
            if self.device.type != "cpu":
                raise DeviceError(f"the device failed: {error}", "try --device cpu") from error
            raise


def _samples(wave: npt.ArrayLike) -> Wave:
    """Return a wave [channels, n] or [n] as float32 [n, channels]."""
    found = np.asarray(wave)
    if found.dtype.kind != "f":
        raise ValueError(f"the wave is of {found.dtype}: expected floats, full scale 1")
    samples = np.atleast_2d(found.astype(np.float32, copy=False)).T
    if found.ndim not in (1, 2) or not 1 <= samples.shape[1] <= MAX_CHANNELS:
        raise ValueError(
            f"the wave has shape {found.shape}: expected [channels, n] or [n], 1 to {MAX_CHANNELS} channels"
        )
    if not np.isfinite(samples).all():
        raise ValueError("the wave has samples that aren't finite numbers")
    return samples


def _check_threads(n_threads: int) -> None:
    if n_threads < 1:
        raise ValueError(f"{n_threads} threads: expected 1 or more")
