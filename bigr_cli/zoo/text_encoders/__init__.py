"""What reads the texts of a model: encoders by name, and their features on disk."""
