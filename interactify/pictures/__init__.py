"""Photos of any kind and size as tensors, and their views in a network's input."""
