"""Runs only the part of a network that a click changes; see README.md beside this file."""
