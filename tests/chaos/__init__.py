"""The service with its real servers as processes, killed under a seed; what must hold then."""
