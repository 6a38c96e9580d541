"""A run as a plan of content-addressed stages; plain Python, neither torch nor Ray."""
