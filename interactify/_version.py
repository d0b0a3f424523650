"""The version of the installed distribution; "0+unknown" for a checkout that was never installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("interactify")
except PackageNotFoundError:
    __version__ = "0+unknown"
