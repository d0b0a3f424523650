"""What a network is, found by running it once: its stem, its output, its layers, the images it expects."""
