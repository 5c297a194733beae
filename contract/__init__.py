"""What gateway and workers promise each other: specs, states, keys, scripts and framing."""
