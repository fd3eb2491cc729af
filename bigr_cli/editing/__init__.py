"""Images of any size through a model of one size: every zero-shot task as calls of the one sampler."""
