"""What must not be lost: the journal on disk, and how what was decided comes to it."""
