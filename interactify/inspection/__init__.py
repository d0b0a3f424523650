"""What a network is, found by running it once: its stem, its output, its layers, what its images look like."""
