"""KV-cache schemes: one file each; the folder is the registry."""
