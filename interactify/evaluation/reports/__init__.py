"""A run's results as curves, contact sheets and a report."""
