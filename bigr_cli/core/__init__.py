"""The binary-latent model in pure torch: no files, no console, no images."""
