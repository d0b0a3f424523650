"""Volumes: sessions of clicks (x, y, z) with networks of 3-D convolutions, over the same core as sessions on photos."""

from interactify.volumes.block import Block as Block
from interactify.volumes.files import read_volume as read_volume
from interactify.volumes.inference import InferenceSession as InferenceSession
from interactify.volumes.loading import load_session as load_session
from interactify.volumes.opening import open_volume as open_volume
from interactify.volumes.result import VolumeResult as VolumeResult
from interactify.volumes.session import VolumeSession as VolumeSession
from interactify.volumes.volume import Volume as Volume
from interactify.volumes.writing import save_masks as save_masks
