"""Chapter 6: modern autoencoders."""
