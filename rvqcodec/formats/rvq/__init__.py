"""The .rvq format (SPEC.md): sections, header, chunks, whole files."""
