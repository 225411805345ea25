"""The paper's convolutions, blocks and networks, what they cost, and fast copies for scoring."""
