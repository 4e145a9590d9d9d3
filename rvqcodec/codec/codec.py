"""The codec: encoder, quantizer and decoder of one model, and the place where numpy and torch meet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rvqcodec.codec.batching import Batcher
from rvqcodec.codec.levelling import LevelledBlock, level_blocks, restore_block
from rvqcodec.codec.windows import code_blocks, decode_blocks
from rvqcodec.encoded import MAX_CHANNELS, CodedBlock, Encoded, Signal, gather
from rvqcodec.errors import DeviceError, ModelError
from rvqcodec.models.layers.quantizer import ResidualQuantizer
from rvqcodec.models.rvq48.config import CodecConfig, fingerprint
from rvqcodec.models.rvq48.decoder import Decoder
from rvqcodec.models.rvq48.encoder import Encoder
from rvqcodec.models.rvq48.sinusoid_search import find_tones
from rvqcodec.models.rvq48.unvoiced import pitchless

Wave = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]


class Codec(nn.Module):
    """One model: `encoder`, `quantizer`, `decoder`, and the latent of silence that fills in where nothing was coded.

    Args:
        config: The shape of the model.
        name: The name under which the model is known; it goes into the files.

    Attributes:
        batcher: Gathers windows on a GPU, or None.
    """

    silence: Tensor
    n_vectors: Tensor

    def __init__(self, config: CodecConfig, name: str = "unnamed") -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.encoder = Encoder(config)
        self.quantizer = ResidualQuantizer(config)
        self.decoder = Decoder(config)
        self.register_buffer("silence", torch.zeros(config.latent_dim))
        n_vectors = torch.tensor([config.n_vectors(n_layers) for n_layers in range(config.n_layers + 1)])
        self.register_buffer("n_vectors", n_vectors, persistent=False)
        self.batcher: Batcher | None = None
        self._fingerprint: tuple[Tensor | None, int, str] = (None, 0, "")

    @property
    def fingerprint(self) -> str:
        """What the codes mean, as 16 hex digits: a hash of the codebooks and the signal geometry."""
        codebooks = self.quantizer.codebooks
        known, version, found = self._fingerprint
        now = 0 if codebooks.is_inference() else codebooks._version  # inference tensors count no changes
        if known is not codebooks or version != now or codebooks.is_inference():  # hashing takes 25 ms
            found = fingerprint(self.config, codebooks.detach().cpu().contiguous().numpy().astype("<f4").tobytes())
            self._fingerprint = (codebooks, now, found)
        return found

    def set_silence(self) -> None:
        """Take the latent of silence from the encoder, at the middle of a window of zeros."""
        frames = 2 * self.config.encoder_context + 1
        with torch.inference_mode():
            zeros = self.silence.new_zeros(1, frames * self.config.hop_length)
            self.silence.copy_(self.encoder(zeros)[0, frames // 2])

    def encode_window(self, wave: Wave, n_layers: int, n_candidates: int) -> Codes:
        """Return the codes [n_layers, frames] of one window of one levelled stream.

        Args:
            wave: Samples [(frames + 2 * encoder_context) * hop_length]: the window with its context on both sides.
            n_layers: Layers to keep, 1 .. `config.n_layers`.
            n_candidates: Candidates of the search.

        Raises:
            DeviceError: The device failed or has no memory left.
        """
        return self.encode_windows(wave[None], n_layers, n_candidates)[0]

    def encode_windows(self, waves: Wave, n_layers: int, n_candidates: int) -> Codes:
        """Return the codes [batch, n_layers, frames] of windows of one length; `encode_window` for several."""
        context = self.config.encoder_context
        with self._running() as device:
            codes = self.codes(torch.from_numpy(waves).to(device), n_layers, n_candidates, context)
            return codes.cpu().numpy().astype(np.uint16)

    def codes(self, wave: Tensor, n_layers: int, n_candidates: int = 1, context: int = 0) -> Tensor:
        """Return the codes [batch, n_layers, frames], int64, of levelled waves.

        Args:
            wave: [batch, (frames + 2 * context) * hop_length].
            n_layers: Layers to keep, 1 .. `config.n_layers`.
            n_candidates: Candidates of the search.
            context: Frames at each end that aren't coded.
        """
        config, n_frames = self.config, wave.shape[1] // self.config.hop_length
        wanted = slice(context, n_frames - context)
        share = self._pitchless(wave)
        layers = list(self._search(wave, share, config.n_vectors(n_layers), n_candidates, wanted).unbind(1))
        if len(layers) < n_layers:
            tones = find_tones(wave, share, config.hop_length, config.sample_rate)[:, :, wanted]
            for layer, codes in zip(config.tone_layers, tones.unbind(1), strict=False):
                layers.insert(layer, codes)
        return torch.stack(layers[:n_layers], 1)

    def search(self, wave: Tensor, n_layers: int, n_candidates: int = 1) -> Tensor:
        """Return the codes of layers of vectors alone, [batch, n_layers, frames], int64, of levelled waves.

        Args:
            wave: [batch, frames * hop_length].
            n_layers: Layers of vectors, 1 .. n_codebooks.
            n_candidates: Candidates of the search.
        """
        return self._search(wave, self._pitchless(wave), n_layers, n_candidates, slice(None))

    def _pitchless(self, wave: Tensor) -> Tensor | None:
        """Return how far frames have no pitch, [batch, frames], where that matters and can be told."""
        matters = self.config.pitchless_gains or self.config.tone_layers
        return pitchless(self.decoder.pitch(wave).correlation) if matters and self.decoder.pitch.calibrated else None

    def _search(self, wave: Tensor, share: Tensor | None, n_layers: int, n_candidates: int, wanted: slice) -> Tensor:
        share = None if share is None else share[:, wanted]
        return self.quantizer.encode(self.encoder(wave)[:, wanted], n_layers, n_candidates, share)

    def decode_window(
        self, codes: Codes, n_layers: npt.NDArray[np.int64], sounding: npt.NDArray[np.bool_], position: int
    ) -> Wave:
        """Return the samples [frames * hop_length] of one window of one levelled stream.

        Args:
            codes: Codes [layers, frames + 2 * decoder_context], the window with its context on both sides.
            n_layers: Layers of each frame that count, [frames + 2 * decoder_context].
            sounding: False for frames without codes, which are silent, [frames + 2 * decoder_context].
            position: Number of the first of these frames in the audio, and of the stream (`windows.STREAM_STRIDE`).

        Raises:
            DeviceError: The device failed or has no memory left.
        """
        return self.decode_windows(codes[None], n_layers[None], sounding[None], np.array([position]))[0]

    def decode_windows(
        self,
        codes: Codes,
        n_layers: npt.NDArray[np.int64],
        sounding: npt.NDArray[np.bool_],
        positions: npt.NDArray[np.int64],
    ) -> Wave:
        """Return the samples [batch, frames * hop_length] of windows of one length; `decode_window` for several."""
        context = self.config.decoder_context * self.config.hop_length
        with self._running() as device:
            layers = torch.from_numpy(n_layers).to(device)
            audible = torch.from_numpy(sounding).to(device)
            places = torch.from_numpy(positions).to(device)
            wave = self.wave(torch.from_numpy(codes.astype(np.int64)).to(device), layers, audible, places)
            found: Wave = wave[:, context:-context].cpu().numpy()
            return found

    def wave(self, codes: Tensor, n_layers: Tensor, audible: Tensor, position: Tensor) -> Tensor:
        """Return the decoded waves [batch, frames * hop_length].

        Args:
            codes: int64 [batch, layers, frames].
            n_layers: Layers of each frame that count, int64 [batch, frames].
            audible: False for frames without codes, which are silent, bool [batch, frames].
            position: Number of each item's first frame, int64 [batch].
        """
        vectors, tones = self.split(codes, n_layers)
        n_vectors = self.n_vectors[n_layers]
        latent = torch.where(audible[..., None], self.quantizer.decode(vectors, n_vectors), self.silence)
        return self.decoder(latent, n_vectors, audible, position, tones)

    def split(self, codes: Tensor, n_layers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of the layers of vectors, and those of tones, 0 where their layer doesn't count.

        Args:
            codes: int64 [batch, layers, frames].
            n_layers: Layers of each frame that count, int64 [batch, frames].
        """
        present = [layer for layer in self.config.tone_layers if layer < codes.shape[1]]
        if not present:
            return codes, codes[:, :0]
        kept = [layer for layer in range(codes.shape[1]) if layer not in present]
        counted = n_layers[:, None] > torch.tensor(present, device=codes.device)[:, None]
        return codes[:, kept], codes[:, present] * counted

    def encode(self, wave: Wave, n_layers: int = 12, n_candidates: int = 4, n_threads: int = 1) -> Encoded:
        """Code a whole wave.

        Args:
            wave: float32 [channels, n] or [n], at `config.sample_rate`.
            n_layers: Layers to code, 1 .. `config.n_layers`.
            n_candidates: Candidates of the quantizer's search.
            n_threads: Windows that are worked on side by side.

        Raises:
            ValueError: The wave has another shape or isn't of floats, or a number is out of range.
        """
        samples = _samples(wave)
        size = self.block_size
        signal = self.signal(self.config.sample_rate, samples.shape[1], n_layers)
        cut = (samples[start : start + size] for start in range(0, len(samples), size))
        levelled = level_blocks(cut, size, signal.rotated, self.config.level_dbfs)
        return gather(signal, self.code_blocks(levelled, n_layers, n_candidates, n_threads), len(samples))

    def decode(self, encoded: Encoded, n_threads: int = 1) -> Wave:
        """Return the wave, float32 [channels, n] at `config.sample_rate`, of what `encode` or an .rvq file gave.

        Raises:
            ModelError: It was coded by another codec.
        """
        self.check(encoded.signal)
        pieces = [
            restore_block(streams, block.levels, block.angles, self.config.level_dbfs)
            for block, streams in self.decode_blocks(encoded.blocks(), n_threads)
        ]
        n_samples = -(-encoded.n_samples * self.config.sample_rate // encoded.signal.sample_rate)
        empty = np.zeros((0, encoded.signal.channels), np.float32)
        return np.ascontiguousarray(np.concatenate([*pieces, empty])[:n_samples].T)

    def code_blocks(
        self, blocks: Iterable[LevelledBlock], n_layers: int, n_candidates: int, n_threads: int
    ) -> Iterator[CodedBlock]:
        """Yield levelled blocks coded, in constant memory (`windows.code_blocks`).

        Raises:
            ValueError: `n_candidates` or `n_threads` is out of range.
        """
        if not 1 <= n_candidates <= self.config.codebook_size:
            raise ValueError(f"{n_candidates} candidates: 1 to {self.config.codebook_size} are possible")
        _check_threads(n_threads)
        return code_blocks(self, blocks, n_layers, n_candidates, n_threads)

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
        config = self.config
        own = (config.sample_rate, config.hop_length, config.frame_rate, {config.codebook_size})
        named = (signal.model_sample_rate, signal.hop_length, signal.frames_per_block, set(signal.codebook_sizes))
        if own != named or signal.n_layers > config.n_layers:
            raise ModelError(f"the description of the codes contradicts their model {self.name}")

    @property
    def block_size(self) -> int:
        """Samples of a block."""
        return self.config.frame_rate * self.config.hop_length

    def signal(self, sample_rate: int, channels: int, n_layers: int, sample_format: int = 0) -> Signal:
        """Return the description of audio coded by this codec.

        Args:
            sample_rate: Of the source, Hz.
            channels: Of the source.
            n_layers: Layers coded.
            sample_format: Of the source, as in an .rvq header; 0 is unknown.

        Raises:
            ValueError: `n_layers` is out of range.
        """
        return self.config.signal(self.name, self.fingerprint, sample_rate, channels, n_layers, sample_format)

    @contextlib.contextmanager
    def _running(self) -> Iterator[torch.device]:
        try:
            with torch.inference_mode():
                yield self.silence.device
        except RuntimeError as error:  # torch has no class for a full CPU or a failed device
            if "memory" in str(error) and "illegal memory" not in str(error):
                raise DeviceError("no memory is left for the model", "try --threads 1, or --device cpu") from error
            if self.silence.device.type != "cpu":
                raise DeviceError(f"the device failed: {error}", "try --device cpu") from error
            raise


def _samples(wave: npt.ArrayLike) -> Wave:
    """Return a wave [channels, n] or [n] as float32 [n, channels]."""
    found = np.asarray(wave)
    if found.dtype.kind != "f":
        raise ValueError(f"the wave is of {found.dtype}: floats are wanted, full scale 1")
    samples = np.atleast_2d(found.astype(np.float32, copy=False)).T
    if found.ndim not in (1, 2) or not 1 <= samples.shape[1] <= MAX_CHANNELS:
        raise ValueError(
            f"the wave has shape {found.shape}: [channels, n] or [n] is wanted, 1 to {MAX_CHANNELS} channels"
        )
    if not np.isfinite(samples).all():
        raise ValueError("the wave has samples that aren't finite numbers")
    return samples


def _check_threads(n_threads: int) -> None:
    if n_threads < 1:
        raise ValueError(f"{n_threads} threads: 1 or more are possible")
