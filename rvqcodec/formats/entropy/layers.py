"""Entropy mode decision: codes the layers of a chunk, coarsest first, each in the mode of the smallest ideal code length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvqcodec.encoded import Codes
from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats.entropy.counts import CountModel
from rvqcodec.formats.entropy.frequencies import COST_STEPS, TOTAL, FrequenciesMinusOne, Int64, cost_steps
from rvqcodec.formats.entropy.network import PADDING, EntropyNetwork
from rvqcodec.formats.entropy.payload import (
    Frequencies,
    Mode,
    PayloadReader,
    PayloadWriter,
    StaticTables,
    pack_bits,
    unpack_bits,
)

NO_TABLES = "0" * 8
"""Id in a header for absent tables."""
ENTROPIES = ("auto", *(mode.name.lower() for mode in Mode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Entropy tables and network of a model, as far as available.

    Args:
        static: Frequencies of mode 1, also the prior of mode 2.
        network: Of mode 3.
        absent: Ids of the tables that a file names and that aren't available.
    """

    static: StaticTables | None = None
    network: EntropyNetwork | None = None
    absent: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids as stored in a header: of the static tables, then of the network."""
        if self.network is not None:
            return (self.static.id if self.static else NO_TABLES, self.network.id)
        return (self.static.id,) if self.static else ()


EMPTY_TABLES = Tables()


class LayerCoder:
    """Codes the layers of a chunk, all its streams in parallel; each call of `encode` or `decode` advances to the next layer.

    Args:
        tables: Entropy tables and network.
        codebook_sizes: Of each layer.
        strides: Frames per code of each layer.
        lengths: Active frames of each active stream.
        use_network: Whether a layer may have mode 3, so that the network's context must be kept up to date.
    """

    def __init__(
        self,
        tables: Tables,
        codebook_sizes: Sequence[int],
        strides: Sequence[int],
        lengths: Sequence[int],
        *,
        use_network: bool,
    ) -> None:
        self.tables, self.sizes, self.strides, self.frames = tables, codebook_sizes, strides, list(lengths)
        self.layer = 0
        self.lower: list[Codes | None] = [None] * len(self.frames)
        usable = use_network and len(self.frames) > 0 and all(stride == 1 for stride in strides)
        self.network = tables.network if usable else None
        self.n_predicted = 0
        if self.network is not None:
            self.n_predicted = self.network.n_fitting(codebook_sizes)
            self.starts = np.cumsum([0, *(n + PADDING for n in self.frames)])
            self.sums = self.network.start(int(self.starts[-1]))

    @property
    def codebook_size(self) -> int:
        """Codebook size of the next layer."""
        return self.sizes[self.layer]

    @property
    def lengths(self) -> list[int]:
        """Number of codes of the next layer in each stream."""
        return [n // self.strides[self.layer] for n in self.frames]

    def encode(self, codes: Sequence[Codes], entropy: str) -> list[tuple[Mode, bytes]]:
        """Return mode and payload of the next layer of each stream.

        Args:
            codes: The layer's codes in each stream, uint16 [n_codes].
            entropy: Name of a mode, or "auto": the smallest ideal code length, on a tie the simpler mode.

        Raises:
            ValueError: A code is outside its codebook.
            ModelError: The tables of the mode aren't available.
        """
        if any(row.size and int(row.max()) >= self.codebook_size for row in codes):
            raise ValueError(f"a code is outside its codebook of {self.codebook_size}")
        mode = None if entropy == "auto" else Mode[entropy.upper()]
        if mode is not None:
            self._require(mode)
        predicted = self._encode_predictions(codes) if self._usable(Mode.NETWORK) else None
        result = []
        for stream, row in enumerate(codes):
            frequencies_minus_one = None if predicted is None else predicted[stream]
            chosen = self._cheapest(stream, row, frequencies_minus_one) if mode is None else mode
            result.append((chosen, self._payload(chosen, stream, row, frequencies_minus_one)))
        self._advance(codes)
        return result

    def decode(self, payloads: Sequence[bytes], modes: Sequence[int]) -> list[Codes]:
        """Return the next layer's codes in each stream, uint16 [n_codes].

        Args:
            payloads: One per stream.
            modes: Their entropy modes.

        Raises:
            DamageError: No encoder writes such a payload. (Most damage is detected only by the layer's check.)
            ModelError: The tables of a mode aren't available.
        """
        for mode in modes:
            self._require(Mode(mode))
        predicted = [stream for stream, mode in enumerate(modes) if mode == Mode.NETWORK]
        codes = self._decode_with_network({stream: payloads[stream] for stream in predicted})
        for stream, mode in enumerate(modes):
            if stream not in codes:
                codes[stream] = self._decode_one(Mode(mode), payloads[stream], stream)
                self._update(stream, np.arange(self.lengths[stream]), codes[stream])
        rows = [codes[stream] for stream in range(len(modes))]
        self._advance(rows)
        return rows

    def _advance(self, codes: Sequence[Codes]) -> None:
        """Advance to the next layer and align this layer's codes to its rate."""
        strides = self.strides[self.layer : self.layer + 2]
        self.layer += 1
        self.lower = [np.repeat(row, strides[0] // strides[-1]) for row in codes]

    def _usable(self, mode: Mode) -> bool:
        """Return whether the tables that a mode needs for this layer are available."""
        if mode == Mode.STATIC:
            return self.tables.static is not None and self.tables.static.fit(self.layer, self.codebook_size)
        if mode == Mode.NETWORK:
            return self.layer < self.n_predicted
        return mode == Mode.RAW or not self._lacks_prior

    @property
    def _lacks_prior(self) -> bool:
        return self.tables.static is None and any(name != NO_TABLES for name in self.tables.absent[:1])

    def _require(self, mode: Mode) -> None:
        if not self._usable(mode):
            lacking = "an entropy network that is" if mode == Mode.NETWORK else "static entropy tables that are"
            names = ", ".join(name for name in self.tables.absent if name != NO_TABLES)
            raise ModelError(
                f"entropy mode {mode.name.lower()} needs {lacking} not available"
                + (f" (the file names {names})" if names else ""),
                "upgrade rvqcodec to read it; --entropy auto does without",
            )

    def _cheapest(self, stream: int, codes: Codes, frequencies_minus_one: FrequenciesMinusOne | None) -> Mode:
        costs = {Mode.RAW: len(codes) * (self.codebook_size - 1).bit_length() * COST_STEPS}
        if self.tables.static is not None and self._usable(Mode.STATIC):
            costs[Mode.STATIC] = int(self.tables.static.costs[self.layer][codes].sum())
        costs[Mode.COUNTS] = self._counts(stream).cost(codes)
        if frequencies_minus_one is not None:
            chosen = frequencies_minus_one[np.arange(len(codes)), codes[self._order(stream)]]
            costs[Mode.NETWORK] = int(cost_steps(chosen.astype(np.int64) + 1).sum())
        return min(costs, key=lambda mode: (costs[mode], mode))

    def _payload(
        self, mode: Mode, stream: int, codes: Codes, frequencies_minus_one: FrequenciesMinusOne | None
    ) -> bytes:
        if mode == Mode.RAW or not codes.size:
            return pack_bits(codes, self.codebook_size)
        if mode == Mode.COUNTS:
            return self._counts(stream).encode(codes)
        writer = PayloadWriter()
        if mode == Mode.STATIC and self.tables.static is not None:
            writer.write_static(codes, self.tables.static.models[self.layer])
        if mode == Mode.NETWORK and frequencies_minus_one is not None:
            writer.write(codes[self._order(stream)], frequencies_minus_one)
        return writer.finish()

    def _decode_one(self, mode: Mode, payload: bytes, stream: int) -> Codes:
        n_frames = self.lengths[stream]
        if not n_frames:
            if payload:
                raise DamageError("a payload without codes isn't empty")
            return np.zeros(0, np.uint16)
        if mode == Mode.RAW:
            return unpack_bits(payload, n_frames, self.codebook_size)
        if mode == Mode.STATIC and self.tables.static is not None:
            return PayloadReader(payload).read_static(n_frames, self.tables.static.models[self.layer])
        return self._counts(stream).decode(payload, n_frames)

    def _counts(self, stream: int) -> CountModel:
        static = self.tables.static
        if static is not None and static.fit(self.layer, self.codebook_size):
            frequencies: Frequencies = static.frequencies[self.layer]
        else:
            frequencies = np.full(self.codebook_size, TOTAL // self.codebook_size, np.uint32)
        return CountModel(frequencies, self.lower[stream])

    def _passes(self, stream: int) -> list[Int64]:
        if self.network is None:
            raise ModelError("there's no entropy network")
        return self.network.passes(self.layer, self.lengths[stream])

    def _order(self, stream: int) -> Int64:
        """Return the frame indices in the coding order of mode 3."""
        return np.concatenate(self._passes(stream))

    def _encode_predictions(self, codes: Sequence[Codes]) -> list[FrequenciesMinusOne]:
        """Return frequencies minus one of each stream's codes, [n_codes, codebook_size], in coding order; update the context with them."""
        passes = [self._passes(stream) for stream in range(len(codes))]
        found: list[list[FrequenciesMinusOne]] = [[] for _ in codes]
        for number in range(len(passes[0])):
            parts = self._predict(number, {stream: passes[stream][number] for stream in range(len(codes))})
            for stream, part in parts.items():
                found[stream].append(part)
                frames = passes[stream][number]
                self._update(stream, frames, codes[stream][frames])
        return [np.concatenate(parts) for parts in found]

    def _decode_with_network(self, payloads: dict[int, bytes]) -> dict[int, Codes]:
        """Return the codes of the streams in mode 3, decoded in parallel."""
        readers = {stream: PayloadReader(payload) for stream, payload in payloads.items()}
        codes = {stream: np.zeros(self.lengths[stream], np.uint16) for stream in payloads}
        passes = {stream: self._passes(stream) for stream in payloads}
        for number in range(max(map(len, passes.values()), default=0)):
            frames = {stream: passes[stream][number] for stream in payloads}
            for stream, frequencies_minus_one in self._predict(number, frames).items():
                codes[stream][frames[stream]] = readers[stream].read(frequencies_minus_one)
                self._update(stream, frames[stream], codes[stream][frames[stream]])
        return codes

    def _predict(self, number: int, frames: dict[int, Int64]) -> dict[int, FrequenciesMinusOne]:
        """Return frequencies minus one of some frames of several streams in one pass."""
        if self.network is None:
            raise ModelError("there's no entropy network")
        indices = np.concatenate([self.starts[stream] + chosen for stream, chosen in frames.items()])
        frequencies_minus_one = self.network.predict(self.sums, self.layer, number, indices)
        ends = np.cumsum([len(chosen) for chosen in frames.values()])[:-1]
        return dict(zip(frames, np.split(frequencies_minus_one, ends), strict=True))

    def _update(self, stream: int, frames: Int64, codes: Codes) -> None:
        if self.network is not None and self.layer < self.n_predicted:
            self.network.update(self.sums, self.layer, self.starts[stream] + frames, codes)
