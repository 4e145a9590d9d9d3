"""The engine: a model of any family behind one interface, and the place where numpy and torch meet."""

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
from rvqcodec.codec.windows import code_blocks, decode_blocks
from rvqcodec.encoded import MAX_CHANNELS, CodedBlock, Encoded, Signal, gather
from rvqcodec.errors import DeviceError, ModelError
from rvqcodec.models.family import Traits

Wave = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Context = tuple[int, int]

MAX_BEAM_WIDTH = 256


class Codec:
    """One model, ready to run.

    Args:
        model: A model of some family (`models.family.Family`), on its device.
        name: The name under which the model is known; it goes into the files.
        path: The weights file, beside which its entropy tables and networks lie; None where there is none.

    Raises:
        ModelError: Its blocks overlap, or have factors.

    Attributes:
        traits: What the engine has to know of it.
        fingerprint: What its codes mean, as 16 hex digits.
        batcher: Gathers windows on a GPU, or None.
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
        """Return the codes [batch, n_layers, frames] of windows of one length, without their context.

        Args:
            waves: Levelled samples [batch, channels_per_stream, n_samples].
            n_layers: Layers to code.
            beam_width: Of the quantizer's search.
            context: Frames of context at the left and the right end.
            state: Of the stream, where the family carries one.

        Raises:
            DeviceError: The device failed or has no memory left.
        """
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
        """Return the samples [batch, channels_per_stream, frames * hop_length] of windows of one length, without their context.

        Args:
            codes: [batch, layers, frames], the context on both sides included.
            n_layers: Layers of each frame that count, [batch, frames].
            active: False for frames without codes, which decode to zeros, [batch, frames].
            frame_index: Number of each item's first frame in the audio, and of its stream (`windows.STREAM_STRIDE`), [batch].
            context: Frames of context at the left and the right end.
            state: Of the stream, where the family carries one.

        Raises:
            DeviceError: The device failed or has no memory left.
        """
        with self._running():
            arrays = (codes.astype(np.int64), n_layers, active, frame_index)
            tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays]
            wave: Wave = self.model.decode(*tensors, context, state).cpu().numpy()
            return wave

    def encode(self, wave: Wave, n_layers: int | None = None, beam_width: int = 4, n_threads: int = 1) -> Encoded:
        """Code a whole wave.

        Args:
            wave: float32 [channels, n] or [n], at `traits.sample_rate`.
            n_layers: Layers to code, 1 .. `traits.n_layers`; the model's default when absent.
            beam_width: Of the quantizer's search.
            n_threads: Windows that are worked on side by side.

        Raises:
            ValueError: The wave has another shape or isn't of floats, or a number is out of range.
        """
        samples, traits = _samples(wave), self.traits
        n_layers = traits.default_layers if n_layers is None else n_layers
        size = traits.block_size
        signal = self.signal(traits.sample_rate, samples.shape[1], n_layers)
        cut = (samples[start : start + size] for start in range(0, len(samples), size))
        levelled = level_blocks(cut, traits, signal.rotated)
        return gather(signal, self.code_blocks(levelled, n_layers, beam_width, n_threads), len(samples))

    def decode(self, encoded: Encoded, n_threads: int = 1) -> Wave:
        """Return the wave, float32 [channels, n] at `traits.sample_rate`, of what `encode` or an .rvq file gave.

        Raises:
            ModelError: It was coded by another codec.
        """
        signal = encoded.signal
        self.check(signal)
        blocks = self.decode_blocks(encoded.blocks(), n_threads)
        pieces = [restore_block(streams, block, self.traits, signal.channels) for block, streams in blocks]
        n_samples = -(-encoded.n_samples * self.traits.sample_rate // signal.sample_rate)
        empty = np.zeros((0, signal.channels), np.float32)
        return np.ascontiguousarray(np.concatenate([*pieces, empty])[:n_samples].T)

    def code_blocks(
        self, blocks: Iterable[LevelledBlock], n_layers: int, beam_width: int, n_threads: int
    ) -> Iterator[CodedBlock]:
        """Yield levelled blocks coded, in constant memory (`windows.code_blocks`).

        Raises:
            ValueError: `beam_width` or `n_threads` is out of range.
        """
        if not 1 <= beam_width <= MAX_BEAM_WIDTH:
            raise ValueError(f"a beam width of {beam_width}: 1 to {MAX_BEAM_WIDTH} are possible")
        _check_threads(n_threads)
        return code_blocks(self, blocks, n_layers, beam_width, n_threads)

    def decode_blocks(
        self, blocks: Iterable[CodedBlock], n_threads: int, first: int = 0, first_wanted: int = 0
    ) -> Iterator[tuple[CodedBlock, Wave]]:
        """Yield coded blocks with their decoded streams at the encoder's level, in constant memory (`windows.decode_blocks`).

        Raises:
            ValueError: `n_threads` is below 1.
        """
        _check_threads(n_threads)
        return decode_blocks(self, blocks, n_threads, first, first_wanted)

    def check(self, signal: Signal) -> None:
        """Insist that this codec can decode what a file or an `Encoded` describes.

        Raises:
            ModelError: It was coded by another codec, or contradicts this one.
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
        except RuntimeError as error:  # torch has no class for a full CPU or a failed device
            if "memory" in str(error) and "illegal memory" not in str(error):
                raise DeviceError("no memory is left for the model", "try --threads 1, or --device cpu") from error
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
        raise ValueError(f"{n_threads} threads: 1 or more are possible")
