"""Quality of rvq models, Opus and MP3 on the held-out clips."""
