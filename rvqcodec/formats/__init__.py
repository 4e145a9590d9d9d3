"""File formats: .rvq with its entropy coding, and PCM audio; no torch."""
