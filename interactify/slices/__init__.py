"""A network of images on a volume: slices are photos, and a correction of one is carried to its neighbours."""

from interactify.slices.loading import load_slices as load_slices
from interactify.slices.result import SlicesResult as SlicesResult
from interactify.slices.session import SliceSession as SliceSession
