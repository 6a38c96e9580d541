"""Sweeps without Ray: what is tried, what came out, and what it says (§5.1–5.5)."""
