"""The simulated home: rooms, a dog, a camera; the public world and the private homes.

Nothing here imports MuJoCo until a :class:`~spinml.home.renderer.Renderer` is made (extra
``[home]``); the shipped photos are read without it.
"""
