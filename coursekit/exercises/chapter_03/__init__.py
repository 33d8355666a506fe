"""Chapter 3: neuron resampling."""
