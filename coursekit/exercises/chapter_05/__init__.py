"""Chapter 5: what a latent responds to, what it does, and what it is made of."""
