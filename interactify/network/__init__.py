"""The user's network as the library runs it: from an image and variables to the logits of a class."""
