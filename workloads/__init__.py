"""What is asked of machines: model architectures, weight formats, workloads and scenarios."""
