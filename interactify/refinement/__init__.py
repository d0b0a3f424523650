"""A photo under a network: from interactions to the next result."""
