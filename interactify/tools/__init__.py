"""The tools in which people annotate already: napari, Label Studio and CVAT, with a network of one's own behind them.

Each is imported where it is used only: none of them is needed for the library itself.
"""
