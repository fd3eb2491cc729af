"""Images as features: embedding, indexes of them, neighbours, and probes of what they tell."""
