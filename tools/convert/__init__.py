"""Original NVlabs checkpoints to a model folder in diffusers' layout (see __main__.py)."""
