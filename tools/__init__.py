"""Off-line Python programs: the bundled model's clips, training and evaluation."""
