"""Simulated devices against a service whose stages do no work: does it hold, and how fast is it.

For operators and :mod:`jobs.benchmark`; nothing here is needed to serve or to be a device.
"""
