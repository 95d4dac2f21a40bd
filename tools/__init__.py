"""What keeps the repository in order: generated documents."""
