"""Prompts for many photos, from the files of other tools and from session logs."""
