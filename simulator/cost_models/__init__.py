"""Cost models of papers as they were published, as pure functions: what their authors would compute."""
