"""`rvq models`: which models are at hand; read without torch."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from rvqcodec.cli.report import Report
from rvqcodec.cli.text import format_size, format_table
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_model
from rvqcodec.weights.registry import list_models as found_models


def list_models(report: Report) -> int:
    """Print the embedded models, the default marked, and return the exit status."""
    models = [_about(model) for model in found_models()]
    for model in models:
        report.record(model)
    rows = [("", "NAME", "FINGERPRINT", "KBPS PER CHANNEL", "SIZE")]
    report.result(format_table([*rows, *(_row(model) for model in models)]))
    return 0


def show_model(name: str, report: Report) -> int:
    """Print a model's configuration and card, and return the exit status.

    Raises:
        ModelError: There is no such model.
    """
    model = find_model(name)
    config = CodecConfig.from_json(model.config)
    card = model.card_path.read_text("utf-8") if model.card_path.is_file() else ""
    about = _about(model)
    report.record({**about, "config": json.loads(config.to_json()), "card": card})
    rows = [
        ("name", f"{model.name} (the default)" if about["default"] else model.name),
        ("fingerprint", model.fingerprint),
        ("bitrate", f"{_range(about)} kbps per channel, {config.n_layers} layers"),
        ("weights", format_size(about["size_bytes"])),
        ("entropy tables", ", ".join(["static"] * about["tables"] + about["networks"]) or "none"),
        *((field.name, str(getattr(config, field.name))) for field in dataclasses.fields(config)),
    ]
    report.result("\n\n".join(part for part in (format_table(rows), card.strip()) if part))
    return 0


def _about(model: ModelFile) -> dict[str, Any]:
    config = CodecConfig.from_json(model.config)
    per_layer = (config.codebook_size - 1).bit_length() * config.frame_rate / 1000
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "default": model.name == DEFAULT_MODEL,
        "sample_rate": config.sample_rate,
        "n_layers": config.n_layers,
        "min_kbps": per_layer,
        "max_kbps": per_layer * config.n_layers,
        "size_bytes": model.path.stat().st_size,
        "tables": model.tables_path.is_file(),
        "networks": [path.stem.rpartition(".")[2] for path in model.network_paths],
    }


def _range(about: dict[str, Any]) -> str:
    return f"{about['min_kbps']:g} to {about['max_kbps']:g}"


def _row(about: dict[str, Any]) -> tuple[str, ...]:
    mark = "*" if about["default"] else ""
    return mark, about["name"], about["fingerprint"], _range(about), format_size(about["size_bytes"])
