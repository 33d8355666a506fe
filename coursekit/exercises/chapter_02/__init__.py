"""Chapter 2: a sparse autoencoder on the toy model."""
