"""What leaves the project: exported networks and the website."""
