"""Training of the bundled checkpoint `home`, one stage a module; `stages.py` gives the order.

No Ray in here: `jobs/pretrain_home.py` runs the stages as Ray tasks or in process.
"""
