"""SoundStream: a causal convolutional autoencoder with residual vector quantization; Lyra v2 is one."""
