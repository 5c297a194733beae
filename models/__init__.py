"""The maths: networks, objectives, priors, training, checkpoints and sampling. Knows no queue and no HTTP."""
