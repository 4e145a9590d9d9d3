"""Which tests are slow: they have the marker `slow`, and `make quick` leaves them out. Those of a folder, of a file, or one by one."""

from __future__ import annotations

SLOW = (
    # Ray, an S3 server, processes that are killed, a wheel, a browser
    "tests/batch/test_ray_engine.py",
    "tests/batch/test_workers.py",
    "tests/cli/test_cli_faults.py",
    "tests/cli/test_cli_folders.py",
    "tests/cli/test_cli_remote.py",
    "tests/cli/test_cli_signals.py",
    "tests/cli/test_cli_stored_folders.py",
    "tests/conformance/test_architecture.py",
    "tests/docs/",
    # other programs, and the model in full size
    "tests/conformance/test_programs.py",
    "tests/cli/test_cli_coding.py",
    "tests/cli/test_cli_transcode.py",
    "tests/cli/test_cli_models.py::test_lyra_codes_and_decodes_its_vector",
    "tests/batch/test_together.py::test_files_in_common_batches_are_as_files_alone",
    "tests/vectors/test_codes_vectors.py::test_every_machine_gives_the_same",
    "tests/vectors/test_codes_vectors.py::test_products_of_shipped_networks_are_exact",
    # thorough
    "tests/cli/test_cli_errors.py::test_light_commands_import_no_torch",
    "tests/hostile/test_damage.py::test_every_flipped_byte",
    "tests/hostile/test_damage.py::test_a_lying_length",
    "tests/hostile/test_damage.py::test_a_small_file_keeps_no_reader_busy",
    "tests/hostile/test_damage.py::test_rubbish",
    "tests/hostile/test_fuzz.py",
    "tests/properties/test_codec.py",
    "tests/unit/test_audio.py::test_mp3_that_tells_no_length_is_read_whole",
    "tests/unit/test_batching.py::test_files_side_by_side_are_as_files_alone",
    "tests/unit/test_edges.py::test_threads_and_chunks_have_no_ends",
    "tests/unit/test_edges.py::test_waves_are_those_of_the_mirrored_codes",
    "tests/unit/test_network.py::test_the_compiled_loop_gives_the_same_integers",
    "tests/unit/test_pipeline.py::test_a_part_is_the_slice_of_the_whole_from_files_and_pipes",
    "tests/unit/test_recover.py::test_a_file_full_of_landmarks_is_gone_through_in_seconds",
    "tests/unit/test_session.py",
    "tests/unit/test_trainer.py",
    "tests/unit/test_training_entropy.py",
    "tests/unit/test_training_export.py",
    "tests/unit/test_windows.py::test_decoding_may_start_at_any_block",
    "tests/unit/test_windows.py::test_threads_change_neither_codes_nor_waves",
)


def is_slow(nodeid: str) -> bool:
    """Tell whether a test is one of those, or in one of their files or folders."""
    return nodeid.startswith(SLOW)
