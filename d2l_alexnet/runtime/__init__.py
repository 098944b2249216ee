"""What MXNet 1.9.1 needs on today's machines."""
