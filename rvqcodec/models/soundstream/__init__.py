"""SoundStream: causal convolutions from the waveform to a latent and back, residual vector quantization between; Lyra v2 is one."""
