"""The paper's tables 3-7 and figures 3-6 on the simulated homes, its numbers beside ours (§5)."""
