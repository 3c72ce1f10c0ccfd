"""Evidence: what engines printed, what papers published, what kernels measured."""
