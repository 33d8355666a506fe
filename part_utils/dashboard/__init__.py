"""The feature dashboard: one HTML page that shows what some latents of an autoencoder respond to and do."""
