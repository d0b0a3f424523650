"""Masks as arrays, outlines and run lengths, and back."""
