"""Plots and the HTML report: torch-free, Ray-free."""
