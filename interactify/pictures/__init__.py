"""Photos of any kind and size as tensors, and how a part of one lies in a network's input."""
