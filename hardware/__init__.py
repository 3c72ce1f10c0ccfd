"""What machines are: devices, systems, engines and how their descriptions are read."""
