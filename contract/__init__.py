"""The contract between gateway and workers: specs, states, keys, scripts and framing."""
