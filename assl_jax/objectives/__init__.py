"""What a network is trained on: an objective alone, and the ways to compose several."""
