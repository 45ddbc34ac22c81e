"""A pretend cluster and cloud, for trials and training: a process of its own that keeps its state in one file."""
