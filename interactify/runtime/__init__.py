"""Running only what a click changes; see README.md beside this file."""
