"""Small random-weight model folders and reference tensors made by diffusers and transformers (see __main__.py)."""
