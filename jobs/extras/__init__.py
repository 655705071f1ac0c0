"""What attributes, embeddings and hashes cost, beside the score that a pass is made for."""
