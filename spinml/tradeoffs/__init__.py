"""Privacy-utility trade-offs (§5.3): sweeps on Ray, with the device played on a home's photos."""
