"""torch and diffusers on the same work as longtake-bench, for comparison (see __main__.py)."""
