"""Volumes on the page: one slice at a time is shown, and clicked on as a photo.

paths.py         which paths are volumes
files.py         how large they are, before they are read
sessions.py      sessions as the queue, the journal and the saver ask for them
planes.py        how a volume is cut and drawn: upright, in the proportions of its spacing
shown_volume.py  a volume's slices as grey pictures, between two values that are black and white
open_volume.py   a session on a volume as the page uses it
in_space.py      under a network of volumes
in_slices.py     under a network of images, slice by slice
"""
