"""A chunk's codes as payloads, layer by layer, coarsest first, and back: what each entropy mode knows, and which one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvqcodec.encoded import Codes
from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats.entropy.counts import CountModel
from rvqcodec.formats.entropy.frequencies import COST_STEPS, TOTAL, Int64, Shares, cost_steps
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
"""Stands in a header for tables that a file does without."""
ENTROPIES = ("auto", *(mode.name.lower() for mode in Mode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What was known of a model's codes beforehand, as far as it is at hand.

    Args:
        static: Frequencies of mode 1, where mode 2 starts too.
        network: Of mode 3.
        absent: Ids of tables that a file names and that aren't at hand.
    """

    static: StaticTables | None = None
    network: EntropyNetwork | None = None
    absent: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids as they stand in a header: the static tables', then the network's."""
        if self.network is not None:
            return (self.static.id if self.static else NO_TABLES, self.network.id)
        return (self.static.id,) if self.static else ()


NOTHING = Tables()


class LayerCoder:
    """Walks through the layers of one chunk, all its streams side by side; `encode` or `decode` goes to the next layer.

    Args:
        tables: What is at hand.
        codebook_sizes: Entries of each layer's codebook.
        strides: Frames that a code of each layer stands for.
        lengths: Frames with codes of each stream that has some.
        predicting: Whether a layer may have mode 3, so that the network has to follow.
    """

    def __init__(
        self,
        tables: Tables,
        codebook_sizes: Sequence[int],
        strides: Sequence[int],
        lengths: Sequence[int],
        *,
        predicting: bool,
    ) -> None:
        self.tables, self.sizes, self.strides, self.frames = tables, codebook_sizes, strides, list(lengths)
        self.layer = 0
        self.below: list[Codes | None] = [None] * len(self.frames)
        usable = predicting and len(self.frames) > 0 and all(stride == 1 for stride in strides)
        self.network = tables.network if usable else None
        self.n_predicted = 0
        if self.network is not None:
            self.n_predicted = self.network.n_fitting(codebook_sizes)
            self.starts = np.cumsum([0, *(n + PADDING for n in self.frames)])
            self.sums = self.network.start(int(self.starts[-1]))

    @property
    def codebook_size(self) -> int:
        """Entries of the next layer's codebook."""
        return self.sizes[self.layer]

    @property
    def lengths(self) -> list[int]:
        """Codes of the next layer of each stream."""
        return [n // self.strides[self.layer] for n in self.frames]

    def encode(self, codes: Sequence[Codes], entropy: str) -> list[tuple[Mode, bytes]]:
        """Return mode and payload of the next layer of each stream.

        Args:
            codes: The layer's codes of each stream, uint16 [frames].
            entropy: A mode's name, or "auto", which takes the least ideal code length, on a tie the simpler mode.

        Raises:
            ValueError: A code isn't in its codebook.
            ModelError: What the mode needs isn't there.
        """
        if any(row.size and int(row.max()) >= self.codebook_size for row in codes):
            raise ValueError(f"a code past the codebook of {self.codebook_size}")
        mode = None if entropy == "auto" else Mode[entropy.upper()]
        if mode is not None:
            self._insist(mode)
        predicted = self._predicted(codes) if self._usable(Mode.NETWORK) else None
        result = []
        for stream, row in enumerate(codes):
            shares = None if predicted is None else predicted[stream]
            chosen = self._cheapest(stream, row, shares) if mode is None else mode
            result.append((chosen, self._payload(chosen, stream, row, shares)))
        self._next(codes)
        return result

    def decode(self, payloads: Sequence[bytes], modes: Sequence[int]) -> list[Codes]:
        """Return the next layer's codes of each stream, uint16 [frames].

        Raises:
            DamageError: A payload can't be what an encoder wrote. (Most damage shows only in the layer's check.)
            ModelError: What a mode needs isn't at hand.
        """
        for mode in modes:
            self._insist(Mode(mode))
        predicted = [stream for stream, mode in enumerate(modes) if mode == Mode.NETWORK]
        codes = self._read_predicted({stream: payloads[stream] for stream in predicted})
        for stream, mode in enumerate(modes):
            if stream not in codes:
                codes[stream] = self._read(Mode(mode), payloads[stream], stream)
                self._update(stream, np.arange(self.lengths[stream]), codes[stream])
        rows = [codes[stream] for stream in range(len(modes))]
        self._next(rows)
        return rows

    def _next(self, codes: Sequence[Codes]) -> None:
        """Go to the next layer, each of whose codes lies above one of this layer's."""
        strides = self.strides[self.layer : self.layer + 2]
        self.layer += 1
        self.below = [np.repeat(row, strides[0] // strides[-1]) for row in codes]

    def _usable(self, mode: Mode) -> bool:
        """Tell whether what a mode needs is there for this layer."""
        if mode == Mode.STATIC:
            return self.tables.static is not None and self.tables.static.fit(self.layer, self.codebook_size)
        if mode == Mode.NETWORK:
            return self.layer < self.n_predicted
        return mode == Mode.RAW or not self._lacks_prior

    @property
    def _lacks_prior(self) -> bool:
        return self.tables.static is None and any(name != NO_TABLES for name in self.tables.absent[:1])

    def _insist(self, mode: Mode) -> None:
        if not self._usable(mode):
            lacking = "an entropy network that is" if mode == Mode.NETWORK else "static entropy tables that are"
            names = ", ".join(name for name in self.tables.absent if name != NO_TABLES)
            raise ModelError(
                f"entropy mode {mode.name.lower()} needs {lacking} not available"
                + (f" (the file names {names})" if names else ""),
                "upgrade rvqcodec to read it; --entropy auto writes without",
            )

    def _cheapest(self, stream: int, codes: Codes, shares: Shares | None) -> Mode:
        costs = {Mode.RAW: len(codes) * (self.codebook_size - 1).bit_length() * COST_STEPS}
        if self.tables.static is not None and self._usable(Mode.STATIC):
            costs[Mode.STATIC] = int(self.tables.static.costs[self.layer][codes].sum())
        costs[Mode.COUNTS] = self._counts(stream).cost(codes)
        if shares is not None:
            chosen = shares[np.arange(len(codes)), codes[self._order(stream)]]
            costs[Mode.NETWORK] = int(cost_steps(chosen.astype(np.int64) + 1).sum())
        return min(costs, key=lambda mode: (costs[mode], mode))

    def _payload(self, mode: Mode, stream: int, codes: Codes, shares: Shares | None) -> bytes:
        if mode == Mode.RAW or not codes.size:
            return pack_bits(codes, self.codebook_size)
        if mode == Mode.COUNTS:
            return self._counts(stream).encode(codes)
        writer = PayloadWriter()
        if mode == Mode.STATIC and self.tables.static is not None:
            writer.write_static(codes, self.tables.static.models[self.layer])
        if mode == Mode.NETWORK and shares is not None:
            writer.write(codes[self._order(stream)], shares)
        return writer.finish()

    def _read(self, mode: Mode, payload: bytes, stream: int) -> Codes:
        n_frames = self.lengths[stream]
        if not n_frames:
            if payload:
                raise DamageError("bytes where no code is")
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
        return CountModel(frequencies, self.below[stream])

    def _passes(self, stream: int) -> list[Int64]:
        if self.network is None:
            raise ModelError("there is no entropy network")
        return self.network.passes(self.layer, self.lengths[stream])

    def _order(self, stream: int) -> Int64:
        """Return the frames in the order in which mode 3 codes them."""
        return np.concatenate(self._passes(stream))

    def _predicted(self, codes: Sequence[Codes]) -> list[Shares]:
        """Return what the network says of each stream's codes [frames, codebook_size], in its order, and update it with them."""
        passes = [self._passes(stream) for stream in range(len(codes))]
        found: list[list[Shares]] = [[] for _ in codes]
        for number in range(len(passes[0])):
            parts = self._predict(number, {stream: passes[stream][number] for stream in range(len(codes))})
            for stream, part in parts.items():
                found[stream].append(part)
                frames = passes[stream][number]
                self._update(stream, frames, codes[stream][frames])
        return [np.concatenate(parts) for parts in found]

    def _read_predicted(self, payloads: dict[int, bytes]) -> dict[int, Codes]:
        """Return the codes of the streams that are coded in mode 3, decoded side by side."""
        readers = {stream: PayloadReader(payload) for stream, payload in payloads.items()}
        codes = {stream: np.zeros(self.lengths[stream], np.uint16) for stream in payloads}
        passes = {stream: self._passes(stream) for stream in payloads}
        for number in range(max(map(len, passes.values()), default=0)):
            frames = {stream: passes[stream][number] for stream in payloads}
            for stream, shares in self._predict(number, frames).items():
                codes[stream][frames[stream]] = readers[stream].read(shares)
                self._update(stream, frames[stream], codes[stream][frames[stream]])
        return codes

    def _predict(self, number: int, frames: dict[int, Int64]) -> dict[int, Shares]:
        """Return what the network says of some frames of several streams in one pass."""
        if self.network is None:
            raise ModelError("there is no entropy network")
        places = np.concatenate([self.starts[stream] + chosen for stream, chosen in frames.items()])
        shares = self.network.predict(self.sums, self.layer, number, places)
        ends = np.cumsum([len(chosen) for chosen in frames.values()])[:-1]
        return dict(zip(frames, np.split(shares, ends), strict=True))

    def _update(self, stream: int, frames: Int64, codes: Codes) -> None:
        if self.network is not None and self.layer < self.n_predicted:
            self.network.update(self.sums, self.layer, self.starts[stream] + frames, codes)
