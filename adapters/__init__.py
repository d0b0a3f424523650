"""What is known of a family of networks: one small file for each, imported as `interactify.adapters`."""
