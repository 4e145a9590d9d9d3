"""Reference-free quality of speech: NISQA (48 kHz) and DNSMOS (16 kHz), which hear a voice that is hoarse, metallic or buzzing.

Source: Mittag et al. 2021; Reddy et al. 2022. NISQA's weights are CC BY-NC-SA 4.0: they are read from a folder, never part of the
project.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from benchmarks.voice.audio import RATE, Wave

NISQA_NAMES = ("nisqa", "noisiness", "discontinuity", "coloration", "loudness")
DNSMOS_NAMES = {"dnsmos": "ovrl_mos", "dnsmos_signal": "sig_mos", "dnsmos_p808": "p808_mos"}
DNSMOS_RATE, DNSMOS_S = 16_000, 9.01
TOP_DB = 80.0


@dataclass(frozen=True, slots=True)
class Nisqa:
    """NISQA's network for overall quality and four dimensions.

    Args:
        library: The module NISQA_lib, which cuts spectra into segments.
        settings: The settings that the network was trained with.
        network: The network, in evaluation mode.
    """

    library: Any
    settings: dict[str, Any]
    network: torch.nn.Module

    @classmethod
    def load(cls, folder: Path) -> Nisqa:
        """Return the network of a folder with args.json and nisqa.safetensors."""
        from nisqa import NISQA_lib
        from safetensors.torch import load_file

        settings = json.loads((folder / "args.json").read_text(encoding="utf-8"))
        known = inspect.signature(NISQA_lib.NISQA_DIM.__init__).parameters
        network = NISQA_lib.NISQA_DIM(**{name: value for name, value in settings.items() if name in known})
        network.load_state_dict(load_file(folder / "nisqa.safetensors"))
        return cls(NISQA_lib, settings, network.eval())

    def scores(self, wave: Wave) -> dict[str, float]:
        """Return the five opinion scores, 1 to 5, of a wave at 48 kHz."""
        import librosa

        settings = self.settings
        spectrum = librosa.feature.melspectrogram(
            y=wave,
            sr=RATE,
            n_fft=settings["ms_n_fft"],
            hop_length=int(RATE * settings["ms_hop_length"]),
            win_length=int(RATE * settings["ms_win_length"]),
            window="hann",
            center=True,
            pad_mode="reflect",
            power=1.0,
            n_mels=settings["ms_n_mels"],
            fmin=0.0,
            fmax=settings["ms_fmax"],
            htk=False,
            norm="slaney",
        )
        levels = librosa.amplitude_to_db(spectrum, ref=1.0, amin=1e-4, top_db=TOP_DB)
        size, hop = settings["ms_seg_length"], settings["ms_seg_hop_length"]
        segments, n_segments = self.library.segment_specs("", levels, size, hop, None)
        with torch.inference_mode():
            found = self.network(segments[None].float(), torch.tensor([int(n_segments)]))[0]
        return dict(zip(NISQA_NAMES, found.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Dnsmos:
    """DNSMOS P.835 and P.808, on one thread."""

    model: Any

    @classmethod
    def load(cls) -> Dnsmos:
        """Return the networks that come with the package speechmos."""
        import onnxruntime
        from speechmos import dnsmos

        folder = Path(dnsmos.__file__).parent / "dnsmos_models"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
        model = dnsmos.DNSMOS(*paths)
        model.onnx_sess, model.p808_onnx_sess = (onnxruntime.InferenceSession(path, options) for path in paths)
        return cls(model)

    def scores(self, wave: Wave) -> dict[str, float]:
        """Return opinion scores, 1 to 5, of the first nine seconds of a wave at 48 kHz."""
        low = np.clip(soxr.resample(wave, RATE, DNSMOS_RATE), -1, 1)
        found = self.model(low[: int(DNSMOS_S * DNSMOS_RATE)], DNSMOS_RATE, False)
        return {name: float(found[theirs]) for name, theirs in DNSMOS_NAMES.items()}
