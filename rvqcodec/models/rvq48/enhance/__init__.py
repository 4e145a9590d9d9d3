"""The enhancement chain of the decoder: spectral post-processing where codes describe the spectrum only in part."""
