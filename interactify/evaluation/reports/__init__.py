"""What a run found, as curves, sheets of pictures and a report."""
