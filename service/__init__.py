"""The gateway: HTTP in front of the records, the volume and the samplers. Never imports torch."""
