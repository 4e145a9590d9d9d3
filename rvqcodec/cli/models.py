"""`rvq models`: the available models, read without torch; importing, removing and verifying them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rvqcodec.cli.report import Report
from rvqcodec.cli.text import format_size, format_table
from rvqcodec.weights import manage
from rvqcodec.weights.importers import RECIPES
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_model
from rvqcodec.weights.registry import list_models as found_models


def list_models(report: Report) -> int:
    """Print the models at hand, the default marked, and return the exit status."""
    models = [_about(model) for model in found_models()]
    for model in models:
        report.record(model)
    rows = [("", "NAME", "FAMILY", "RATE", "KBPS PER CHANNEL", "SIZE", "FROM", "FINGERPRINT")]
    report.result(format_table([*rows, *(_row(model) for model in models)]))
    return 0


def show_model(name: str, report: Report) -> int:
    """Print a model's configuration and card, and return the exit status.

    Raises:
        ModelError: There is no such model.
    """
    model = find_model(name)
    card = model.card_path.read_text("utf-8") if model.card_path.is_file() else ""
    about = _about(model)
    report.record({**about, "config": json.loads(model.config), "card": card})
    rows = [
        ("name", f"{model.name} (the default)" if about["default"] else model.name),
        ("family", model.kind),
        ("fingerprint", model.fingerprint),
        (
            "bitrate",
            f"{_range(about)} kbps per channel, {about['n_layers']} layers, {about['default_layers']} by default",
        ),
        ("weights", format_size(about["size_bytes"])),
        ("entropy tables", ", ".join(["static"] * about["tables"] + about["networks"]) or "none"),
        ("file", str(model.path)),
        *((key, json.dumps(value)) for key, value in json.loads(model.config).items()),
    ]
    report.result("\n\n".join(part for part in (format_table(rows), card.strip()) if part))
    return 0


def import_model(source: str, name: str, report: Report, *, overwrite: bool) -> int:
    """Import a model, say under which name, and return the exit status.

    Raises:
        ModelError: The source is no model, or the name is taken.
        OutputError: The folder of models can't be written.
    """
    model = manage.import_model(Path(source), name, overwrite=overwrite)
    report.record(_about(model))
    licence = f", licence of its weights: {RECIPES[name].licence}" if name in RECIPES else ""
    report.result(f"{source} -> {model.path}: rvq encode --model {model.name}{licence}")
    return 0


def remove_model(name: str, report: Report) -> int:
    """Remove an imported model and return the exit status.

    Raises:
        ModelError: There is no such model, or it is part of the package.
        OutputError: It can't be deleted.
    """
    model = manage.remove_model(name)
    report.record({"name": model.name, "removed": True})
    report.result(f"removed {model.name}")
    return 0


def verify_model(name: str, report: Report) -> int:
    """Load a model as a whole, check it against its fingerprint, and return the exit status.

    Raises:
        ModelError: It is damaged.
    """
    model = find_model(name)
    manage.verify_model(model)
    report.record({"name": model.name, "fingerprint": model.fingerprint, "status": "ok"})
    report.result(f"{model.name}: ok  {model.fingerprint}")
    return 0


def _about(model: ModelFile) -> dict[str, Any]:
    traits = model.traits
    rates = [traits.signal("", "", traits.sample_rate, 1, n).nominal_bitrate / 1000 for n in (1, traits.n_layers)]
    return {
        "name": model.name,
        "family": model.kind,
        "fingerprint": model.fingerprint,
        "default": model.name == DEFAULT_MODEL,
        "embedded": model.is_embedded,
        "sample_rate": traits.sample_rate,
        "n_layers": traits.n_layers,
        "default_layers": traits.default_layers,
        "min_kbps": rates[0],
        "max_kbps": rates[1],
        "size_bytes": model.path.stat().st_size,
        "tables": model.tables_path.is_file(),
        "networks": [path.stem.rpartition(".")[2] for path in model.network_paths],
    }


def _range(about: dict[str, Any]) -> str:
    return f"{about['min_kbps']:g} to {about['max_kbps']:g}"


def _row(about: dict[str, Any]) -> tuple[str, ...]:
    mark, source = "*" if about["default"] else "", "package" if about["embedded"] else "import"
    rate, size = f"{about['sample_rate'] / 1000:g} kHz", format_size(about["size_bytes"])
    return mark, about["name"], about["family"], rate, _range(about), size, source, about["fingerprint"]
