"""The default family: MDCT, linear path, band energies, ConvNeXt branches and RVQ at 48 kHz."""
