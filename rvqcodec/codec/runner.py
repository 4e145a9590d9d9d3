"""The interface between window scheduling and the networks: what encodes and decodes batches of windows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.models.family import Traits

Wave = npt.NDArray[np.float32]
Context = tuple[int, int]
"""Frames of context to the left and to the right."""


class WindowRunner(Protocol):
    """Runs a model on windows; `Codec` does so at once, `Batcher` gathers the windows of several threads first."""

    @property
    def traits(self) -> Traits:
        """Properties of the model."""
        ...

    def start(self) -> Any:
        """Return the initial state of a stream (`Family.start`)."""
        ...

    def encode_windows(self, waves: Wave, n_layers: int, beam_width: int, context: Context, state: Any = None) -> Codes:
        """Return the codes, uint16 [batch, n_layers, frames], of windows of one length, without their context.

        Args:
            waves: Levelled samples, float32 [batch, channels_per_stream, n_samples].
            n_layers: Layers to code.
            beam_width: Of the quantizer search.
            context: Frames of context on either side.
            state: Of the stream, in stateful families.

        Raises:
            DeviceError: The device failed or is out of memory.
        """
        ...

    def decode_windows(
        self,
        codes: Codes,
        n_layers: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        frame_index: npt.NDArray[np.int64],
        context: Context,
        state: Any = None,
    ) -> Wave:
        """Return the samples, float32 [batch, channels_per_stream, frames * hop_length], of windows of one length, without context.

        Args:
            codes: uint16 [batch, layers, frames], context included.
            n_layers: Layers to decode in each frame, [batch, frames].
            active: False for frames without codes, which decode to zeros, [batch, frames].
            frame_index: Absolute index of each window's first frame, offset by stream (`windows.STREAM_STRIDE`), [batch].
            context: Frames of context on either side.
            state: Of the stream, in stateful families.

        Raises:
            DeviceError: The device failed or is out of memory.
        """
        ...
