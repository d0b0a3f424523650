"""One photo under one network: interactions become a problem, the problem a result."""
