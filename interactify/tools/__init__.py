"""The network of the user in annotation tools: napari, Label Studio and CVAT.

Each is imported only where it is used: the library itself needs none of them.
"""
