"""The recordings that the documents' commands are run on, cut from real ones."""

from __future__ import annotations

import pytest
import soundfile as sf
from blocks import AUDIO


def cut(name, target, start_s, seconds, **tags):
    """Write a part of a recording, with tags where the container takes them."""
    info = sf.info(AUDIO / name)
    wave, rate = sf.read(AUDIO / name, start=int(start_s * info.samplerate), frames=int(seconds * info.samplerate))
    target.parent.mkdir(parents=True, exist_ok=True)
    with sf.SoundFile(target, "w", rate, info.channels, "PCM_16") as file:
        for key, value in tags.items():
            setattr(file, key, value)
        file.write(wave)


@pytest.fixture
def desk(tmp_path):
    """A folder with talk.wav and the tree `archive`."""
    cut("speech.flac", tmp_path / "talk.wav", 0, 5, title="Greeting", artist="Allison Smith")
    cut("speech.flac", tmp_path / "archive" / "2019" / "interview.flac", 5, 3)
    cut("speech.flac", tmp_path / "archive" / "2020" / "lecture.wav", 9, 2)
    cut("music.ogg", tmp_path / "archive" / "song.wav", 1, 3)
    return tmp_path
