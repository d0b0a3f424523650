"""The version of the installed distribution; of a checkout that was never installed, one that says so."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("interactify")
except PackageNotFoundError:
    __version__ = "0+unknown"
