"""rvq48, the default family: MDCT, KLT, band energies, ConvNeXt branches and RVQ at 48 kHz, and an enhancement chain."""
