"""napari's plugin: a widget in which points are clicks and a layer of labels follows them; napari.yaml declares it."""
