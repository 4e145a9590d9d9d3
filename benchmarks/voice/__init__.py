"""Does a decoded voice sound like a voice: reference-free quality, fidelity, and the fine structure that band energies don't show."""
