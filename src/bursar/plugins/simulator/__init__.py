"""The simulator: a pretend cluster and cloud for trials and training, and the plugin that provisions on it."""
