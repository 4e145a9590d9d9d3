"""Which static entropy tables a model or a file goes with. No torch."""

from __future__ import annotations

from rvqcodec.formats.entropy import StaticTables
from rvqcodec.formats.header import Header
from rvqcodec.weights.registry import list_models
from rvqcodec.weights.tables import read_tables


def static_tables(fingerprint: str) -> StaticTables | None:
    """Return the static entropy tables of a model, or None where it has none."""
    for found in list_models():
        if found.fingerprint == fingerprint and found.tables_path.is_file():
            return StaticTables(*read_tables(found.tables_path))
    return None


def tables_for(header: Header) -> StaticTables | None:
    """Return the static entropy tables that a file may use, or None where they aren't at hand."""
    paths = [model.tables_path for model in list_models() if model.tables_path.is_file()]
    found = [StaticTables(*read_tables(path)) for path in paths] if header.table_ids else []
    return next((tables for tables in found if tables.id in header.table_ids), None)
