"""napari's plugin: a widget in which points are clicks and a layer of labels has the masks; napari.yaml declares it."""
